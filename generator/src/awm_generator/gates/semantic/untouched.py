"""Nothing is not rewarded."""

from collections.abc import Iterator

from awm_generator.awm_files import untouched
from awm_generator.gates import judging, protocol, states

_NOTHING = states.shown({})
_ODD = frozenset({"complete_on_untouched", "verifier_fails"})


def find(seen: judging.Seen) -> Iterator[protocol.Found]:
    """A defect per verifier that rewards doing nothing, that can judge nothing, or that sees nothing."""
    for each in seen.tasks:
        yield from _evidence(each)
        for judged in each.of("untouched", "reading"):
            for finding in untouched.of_reply(each.task.id, judged.reply()):
                # One that raises may look for the row that the task is to make: that is noted.
                severity: protocol.Severity = "warn" if _only_raises(finding.kind, finding.action) else "fail"
                yield protocol.Found(each.task.id, finding.detail, judged.evidence(), severity)


def _evidence(seen: judging.TaskSeen) -> Iterator[protocol.Found]:
    """What is wrong with a sql mode verifier: it fails, or a judge could not tell by it what was done from nothing."""
    solved = next((each for each in seen.evidence if each.trial.kind == "oracle" and each.trial.diff != _NOTHING), None)
    for each in seen.evidence:
        if each.failure is not None:
            severity: protocol.Severity = "warn" if each.failure in ("crashed", "unavailable") else "fail"
            detail = f"no evidence where {each.trial.what}: {each.failure}: {each.detail}"
            yield protocol.Found(seen.task.id, detail, each.evidence(), severity)
        elif solved is not None and each.trial.kind != "oracle" and each.result == solved.result:
            detail = f"its evidence is the same where {each.trial.what} as where the task was done"
            yield protocol.Found(seen.task.id, detail, solved.evidence())


def _only_raises(kind: str, action: str) -> bool:
    return kind not in _ODD or (kind == "verifier_fails" and action == "noted")


GATE = protocol.Gate(
    id="semantic.untouched",
    severity="fail",
    checks="A verifier does not say complete where nothing was done, or where tools were called that only read; the "
    "evidence of a sql mode verifier is another there than where the oracle changed something.",
    example="2: it says complete on the untouched database, so that doing nothing is rewarded",
    mend="Check for the change that the task asks for, against the initial database, not for a state that is there.",
    find=find,
)
