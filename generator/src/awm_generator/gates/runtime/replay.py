"""The same calls give the same replies and the same database."""

from collections.abc import Iterator

from awm_generator.gates import observing, protocol, walking


def find(seen: observing.Observed) -> Iterator[protocol.Found]:
    """A defect where a replayed call log comes to something else."""
    walks = seen.walks
    difference = walking.first_difference(walks.first, walks.replayed)
    if difference is not None:
        number, first, again = difference
        evidence = {"request": first.request(), "first": first.reply(), "replayed": again.reply()}
        yield protocol.Found(first.tool, f"call {number} of a log answers otherwise when it is replayed", evidence)
    elif walks.first.state != walks.replayed.state:
        yield protocol.Found("replay", "the database after a replayed log is another than after the log itself")


GATE = protocol.Gate(
    id="runtime.replay",
    severity="fail",
    checks="A replayed call log gives the same replies and the same database, to the byte of every row.",
    example='create_order: first: {"token": "a1"}; replayed: {"token": "7f"}',
    mend="Draw time and chance from datetime, random, uuid and secrets only, and order what comes out of sets.",
    find=find,
)
