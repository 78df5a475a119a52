"""A failed call changes nothing."""

from collections.abc import Iterator

from awm_generator.gates import observing, protocol


def find(seen: observing.Observed) -> Iterator[protocol.Found]:
    """A defect per tool that committed changes and then failed: its first such call."""
    for call in seen.firsts(lambda call: call.failed and call.changed):
        yield protocol.Found(call.tool, "it failed, and the database is another than before", call.evidence())


GATE = protocol.Gate(
    id="runtime.failed-calls",
    severity="fail",
    checks="A call that comes to an error leaves the database as it was.",
    example='transfer {"amount": 9000}: refused with 409 after the first account was changed',
    mend="Check everything before the first change, and commit once, at the end.",
    find=find,
)
