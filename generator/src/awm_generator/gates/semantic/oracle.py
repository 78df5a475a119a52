"""Every task has an oracle, and its verifier gives it everything."""

from collections.abc import Iterator

from awm_generator.gates import judging, protocol


def find(seen: judging.Seen) -> Iterator[protocol.Found]:
    """A defect per task without an oracle, with one that cannot be played, or with one that is not complete."""
    for each in seen.tasks:
        if each.unplayable is not None:
            yield protocol.Found(each.task.id, f"its oracle: {each.unplayable.why}", each.unplayable.evidence)
        elif each.task.oracle is None:
            yield protocol.Found(each.task.id, "it has no oracle: nothing shows that it can be solved")
        elif not each.judged:
            yield protocol.Found(each.task.id, "no code mode verifier judges it")
        for judged in each.of("oracle"):
            score = (judged.result or {}).get("score", 1)
            if not judged.complete or score < 1:
                yield protocol.Found(each.task.id, "its oracle is not judged complete", judged.evidence())


GATE = protocol.Gate(
    id="semantic.oracle",
    severity="fail",
    checks="Every task has an oracle; played in a real episode, the task's verifier says complete, with full score.",
    example='pay-fine: its oracle is not judged complete: checks {"fine_paid": false}',
    mend="Play the calls by hand (`awm demo NAME --task ID`) and see who is wrong: calls, verifier, task or code.",
    find=find,
)
