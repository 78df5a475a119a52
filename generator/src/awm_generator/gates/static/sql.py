"""Every statement of the bundle's SQL succeeds."""

from collections.abc import Iterator

from awm_generator.gates import protocol, subjects


def find(subject: subjects.Subject) -> Iterator[protocol.Found]:
    """A defect per statement that fails."""
    for failure in subject.built.failures:
        evidence = {"statement": failure.statement, "error": failure.error}
        place = f"{failure.part}.sql: statement {failure.index}" + (f" ({failure.table})" if failure.table else "")
        yield protocol.Found(place, failure.error, evidence)
    if not subject.built.tables and not subject.built.failures:
        yield protocol.Found("schema.sql", "it makes no table")


GATE = protocol.Gate(
    id="static.sql",
    severity="quarantine",
    checks="All statements of schema.sql and seed.sql run, in this order, under the bundle's clock.",
    example="INSERT INTO loans (member) VALUES (1): table loans has no column named member",
    mend="Correct the statement; one that fails in seed.sql often means that schema.sql was changed after it.",
    find=find,
)
