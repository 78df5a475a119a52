"""No call makes the code fail."""

from collections.abc import Iterator

from awm_generator.gates import observing, protocol


def find(seen: observing.Observed) -> Iterator[protocol.Found]:
    """A defect per tool that answered with 5xx or not in time: its first such call."""
    for call in seen.firsts(lambda call: call.blame in ("environment", "infrastructure")):
        said = f"it answered {call.status}" if call.status else f"it gave no answer: {call.text}"
        yield protocol.Found(call.tool, said, call.evidence())


GATE = protocol.Gate(
    id="runtime.server-errors",
    severity="fail",
    checks="No call comes to a 5xx, or to no answer in time: with what exists, with what does not, with garbage.",
    example='cancel_order {"order_id": 999999} -> 500',
    mend="Look rows up before using them and raise HTTPException(404, ...); turn business errors into 4xx.",
    find=find,
)
