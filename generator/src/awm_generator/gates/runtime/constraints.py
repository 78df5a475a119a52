"""The database stays sound after every call."""

from collections.abc import Iterator

from awm_generator.gates import observing, protocol, seeds

_SHOWN = 3


def find(seen: observing.Observed) -> Iterator[protocol.Found]:
    """A defect per tool that left rows which break a constraint: its first such call."""
    shown: set[str] = set()
    of_the_seed = last = frozenset(seeds.broken(seen.subject.seed))
    for call in seen.calls():
        new = [each for each in call.broken if each not in last]
        if call.changed:
            last = of_the_seed | frozenset(call.broken)
        if new and call.tool not in shown:
            shown.add(call.tool)
            yield protocol.Found(call.tool, "; ".join(new[:_SHOWN]), call.evidence())


GATE = protocol.Gate(
    id="runtime.constraints",
    severity="fail",
    checks="After every call foreign keys lead to rows, and CHECK and NOT NULL constraints hold.",
    example='delete_customer {"customer_id": 3}: row 7 of orders refers to a row of customers that is not there',
    mend="Refuse to remove what is referred to, or remove what refers to it in the same transaction.",
    find=find,
)
