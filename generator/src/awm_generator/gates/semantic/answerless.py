"""A question is not answered by silence, nor a deed by words."""

from collections.abc import Iterator

from awm_generator.gates import judging, protocol


def find(seen: judging.Seen) -> Iterator[protocol.Found]:
    """A defect per verifier that rewards a run without its answer, or an answer without its deeds."""
    for each in seen.tasks:
        # A task may have an answer that is only a courtesy: only one that states it must be given.
        for judged in each.of("answerless"):
            silent = judged.trial.answer is None
            if judged.complete and (each.task.answer is not None or not silent):
                yield protocol.Found(each.task.id, f"complete, though {judged.trial.what}", judged.evidence())


GATE = protocol.Gate(
    id="semantic.answerless",
    severity="fail",
    checks="A task that states its answer is not complete without it, nor one that asks for a change by words alone.",
    example="next-due: complete, though all calls were made, and no answer was given",
    mend="Look at final_answer in the verifier, and let None be wrong.",
    find=find,
)
