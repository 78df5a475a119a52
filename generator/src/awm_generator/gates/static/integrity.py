"""The seed is sound: SQLite's own checks, and foreign keys that lead to rows."""

import contextlib
import sqlite3
from collections.abc import Iterator

from awm_generator.gates import protocol, subjects

_SHOWN = 5


def find(subject: subjects.Subject) -> Iterator[protocol.Found]:
    """A defect per damage, and per table with rows that refer to nothing."""
    for violation in subject.built.violations:
        if violation.parent:
            detail = f"{violation.rows} row(s) refer to rows of {violation.parent} that are not there"
        else:
            detail = "a foreign key leads to no key of its parent, so that it cannot be checked"
        yield protocol.Found(violation.table, detail, {"parent": violation.parent or "unknown"})
    with contextlib.closing(sqlite3.connect(f"{subject.seed.as_uri()}?mode=ro", uri=True)) as connection:
        for (said,) in connection.execute(f"PRAGMA integrity_check({_SHOWN})"):
            if said != "ok":
                yield protocol.Found("seed", " ".join(said.split()))


GATE = protocol.Gate(
    id="static.integrity",
    severity="quarantine",
    checks="The built seed passes SQLite's integrity check, and every foreign key leads to a row.",
    example="loans: 2 row(s) refer to rows of copies that are not there",
    mend="Insert the rows that are referred to, or correct the ids; with foreign keys off nothing else tells.",
    find=find,
)
