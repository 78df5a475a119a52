"""A reading tool changes nothing."""

from collections.abc import Iterator

from awm_generator.gates import observing, protocol


def find(seen: observing.Observed) -> Iterator[protocol.Found]:
    """A defect per tool that says it only reads and wrote: its first such call."""
    reading = seen.reading()
    for call in seen.firsts(lambda call: call.changed and call.tool in reading):
        yield protocol.Found(call.tool, "it says that it only reads, and it changed the database", call.evidence())


GATE = protocol.Gate(
    id="runtime.read-only",
    severity="fail",
    checks="A tool whose readOnlyHint is true (a GET) commits nothing.",
    example='get_article {"article_id": 1}: views is 18 afterwards',
    mend="Leave counters of views and last readings out, or make a POST of it.",
    find=find,
)
