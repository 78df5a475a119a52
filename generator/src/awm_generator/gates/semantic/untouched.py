"""Nothing is not rewarded."""

from collections.abc import Iterator

from awm_generator.awm_files import untouched
from awm_generator.gates import judging, protocol

_ODD = frozenset({"complete_on_untouched", "verifier_fails"})


def find(seen: judging.Seen) -> Iterator[protocol.Found]:
    """A defect per verifier that rewards doing nothing, or that can judge nothing."""
    for each in seen.tasks:
        for judged in each.of("untouched", "reading"):
            for finding in untouched.of_reply(each.task.id, judged.reply()):
                # One that raises may look for the row that the task is to make: that is noted.
                severity: protocol.Severity = "warn" if _only_raises(finding.kind, finding.action) else "fail"
                yield protocol.Found(each.task.id, finding.detail, judged.evidence(), severity)


def _only_raises(kind: str, action: str) -> bool:
    return kind not in _ODD or (kind == "verifier_fails" and action == "noted")


GATE = protocol.Gate(
    id="semantic.untouched",
    severity="fail",
    checks="A verifier does not say complete where nothing was done, or where tools were called that only read.",
    example="2: it says complete on the untouched database, so that doing nothing is rewarded",
    mend="Check for the change that the task asks for, against the initial database, not for a state that is there.",
    find=find,
)
