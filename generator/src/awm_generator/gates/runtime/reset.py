"""A reset is exact."""

from collections.abc import Iterator

from awm_generator.gates import observing, protocol, walking
from awm_runtime.bundle import database


def find(seen: observing.Observed) -> Iterator[protocol.Found]:
    """A defect where a reset leaves another state, or where the same calls come to something else after one."""
    walks = seen.walks
    if walks.reset_state != database.state_hash(seen.subject.seed):
        yield protocol.Found("reset", "the database after a reset is not the seed")
    difference = walking.first_difference(walks.alone[0], walks.after_reset)
    if difference is not None:
        number, fresh, after = difference
        evidence = {"request": fresh.request(), "fresh": fresh.reply(), "after a reset": after.reply()}
        yield protocol.Found(fresh.tool, f"call {number} of a walk answers otherwise after a reset", evidence)
    elif walks.alone[0].state != walks.after_reset.state:
        yield protocol.Found("reset", "the same calls after a reset lead to another database than in a fresh episode")


GATE = protocol.Gate(
    id="runtime.reset",
    severity="fail",
    checks="After a reset the database is the seed, and the same calls get the same replies as in a fresh episode.",
    example='create_order: fresh: {"number": 1}; after a reset: {"number": 8}',
    mend="Keep nothing outside the database: no counters, caches or sessions in the module.",
    find=find,
)
