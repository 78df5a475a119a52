"""The seed is sound: SQLite's own checks, and foreign keys that lead to rows."""

from collections.abc import Iterator

from awm_generator.gates import protocol, seeds, subjects


def find(subject: subjects.Subject) -> Iterator[protocol.Found]:
    """A defect per damage, and per table with rows that refer to nothing."""
    for violation in subject.built.violations:
        if violation.parent:
            detail = f"{violation.rows} row(s) refer to rows of {violation.parent} that are not there"
        else:
            detail = "a foreign key leads to no key of its parent, so that it cannot be checked"
        yield protocol.Found(violation.table, detail, {"parent": violation.parent or "unknown"})
    for said in seeds.broken(subject.seed):
        if not said.startswith("row "):  # rows that refer to nothing are counted above
            yield protocol.Found("seed", said)


GATE = protocol.Gate(
    id="static.integrity",
    severity="quarantine",
    checks="The built seed passes SQLite's integrity check, and every foreign key leads to a row.",
    example="loans: 2 row(s) refer to rows of copies that are not there",
    mend="Insert the rows that are referred to, or correct the ids; with foreign keys off nothing else tells.",
    find=find,
)
