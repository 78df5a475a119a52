"""Episodes do not see each other."""

from collections.abc import Iterator

from awm_generator.gates import observing, protocol, walking


def find(seen: observing.Observed) -> Iterator[protocol.Found]:
    """A defect per episode that went another way because another one ran beside it."""
    for alone, together in zip(seen.walks.alone, seen.walks.interleaved, strict=True):
        difference = walking.first_difference(alone, together)
        if difference is not None:
            number, mine, other = difference
            evidence = {"request": mine.request(), "alone": mine.reply(), "beside another": other.reply()}
            yield protocol.Found(mine.tool, f"call {number} answers otherwise beside another episode", evidence)
        elif alone.state != together.state:
            yield protocol.Found("episode", "its database is another when it runs beside another episode")


GATE = protocol.Gate(
    id="runtime.interleaving",
    severity="quarantine",
    checks="Two episodes whose calls alternate get the same replies and databases as each by itself.",
    example='list_cart: alone: []; beside another: [{"id": 1}]',
    mend="Keep no state in the module; or say `isolation: process` in scenario.json.",
    find=find,
)
