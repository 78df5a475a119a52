"""Near misses fail."""

from collections.abc import Iterator

from awm_generator.gates import judging, protocol

KILL_RATE = 0.95
_SHOWN = 10


def find(seen: judging.Seen) -> Iterator[protocol.Found]:
    """A defect per mutant that a verifier lets pass; of little weight where nearly all mutants are caught."""
    tried = [judged for each in seen.tasks for judged in each.of("mutant")]
    survivors = [judged for judged in tried if judged.complete]
    if not survivors:
        return
    rate = 1 - len(survivors) / len(tried)
    severity: protocol.Severity = "warn" if rate >= KILL_RATE else "fail"
    said = f"{len(tried) - len(survivors)} of {len(tried)} mutants are caught"
    for judged in survivors[:_SHOWN]:
        detail = f"complete, though {judged.trial.what} ({said})"
        yield protocol.Found(judged.trial.task, detail, judged.evidence(), severity)
    if len(survivors) > _SHOWN:
        yield protocol.Found("others", f"{len(survivors) - _SHOWN} more mutants survive", severity=severity)


GATE = protocol.Gate(
    id="semantic.mutants",
    severity="fail",
    checks="Of an oracle with a write left out, made twice or on another row, with another value or swapped arguments, "
    f"with one more write, or with another answer, at least {KILL_RATE:.0%} are not complete; survivors are named.",
    example="renew: complete, though call 2 (renew_loan): loan_id is 4 in place of 1",
    mend="Let the verifier compare everything that changed with exactly what the task asks for.",
    find=find,
)
