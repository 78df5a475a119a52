"""A verifier says the same every time, within its limits."""

from collections.abc import Iterator

from awm_generator.gates import judging, protocol

_LIMITS = frozenset({"timeout", "missing_function"})
_SHOWN = 3


def find(seen: judging.Seen) -> Iterator[protocol.Found]:
    """A defect per verifier that contradicts itself, or that does not end."""
    for each in seen.tasks:
        failed = next((judged for judged in each.judged if judged.failure in _LIMITS), None)
        if failed is not None:
            yield protocol.Found(each.task.id, f"its verifier: {failed.failure}: {failed.detail}", failed.evidence())
        if len(each.runs) > 1:
            said = {f"run {number}": text for number, text in enumerate(sorted(each.runs)[:_SHOWN], start=1)}
            yield protocol.Found(
                each.task.id, f"its verifier says different things of one state in {judging.RUNS} runs", said
            )


GATE = protocol.Gate(
    id="semantic.steadiness",
    severity="fail",
    checks=f"A verifier says the same of one state in {judging.RUNS} runs, and ends within {judging.DEADLINE_S:g} s.",
    example="pay-fine: its verifier says different things of one state in 20 runs",
    mend="Use no randomness and no clock in a verifier, and order what comes out of sets.",
    find=find,
)
