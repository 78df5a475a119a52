"""A bundle's database: built from its SQL, its logical dump, the hash of that, and what differs between two of them.

Dump, hash and difference depend neither on the version of SQLite nor on page layouts or the order of writing.
"""

import contextlib
import hashlib
import marshal
import math
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from awm_runtime.bundle import statements

Part = Literal["schema", "seed"]
Row = tuple[Any, ...]

_TABLES = r"SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name"


@dataclass(frozen=True)
class Failure:
    """A statement that SQLite refused. `index` counts the statements of its part from 0."""

    part: Part
    index: int
    table: str | None
    statement: str
    error: str


@dataclass(frozen=True)
class Violation:
    """Rows of `table` whose foreign key names no row of `parent`; no parent where the key itself is wrong."""

    table: str
    parent: str
    rows: int


@dataclass(frozen=True)
class BuildReport:
    """What came of building a database.

    Attributes:
        tables: Rows by table.
    """

    tables: dict[str, int]
    failures: tuple[Failure, ...]
    violations: tuple[Violation, ...]

    @property
    def rows(self) -> int:
        """All rows of all tables."""
        return sum(self.tables.values())


def build(
    schema_sql: str, seed_sql: str, clock: datetime, path: Path, foreign_keys: Literal["on", "off"]
) -> BuildReport:
    """Builds the database file `path`, in place of one that is there, and reports what failed.

    A failing statement does not stop the others. The file is in rollback mode, complete in itself, and the same for
    the same SQL, clock and version of SQLite.
    """
    parts: tuple[tuple[Part, str], ...] = (("schema", schema_sql), ("seed", seed_sql))
    with statements.memory(clock, foreign_keys) as connection:
        failures = [
            Failure(part, index, statements.table_of(statement), statement, error)
            for part, text in parts
            for index, statement in enumerate(statements.split(text))
            if (error := statements.run(connection, statement)) is not None
        ]
        report = inspect(connection, tuple(failures))
        _save(connection, path)
    return report


@dataclass(frozen=True)
class _Table:
    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]


def _save(connection: sqlite3.Connection, path: Path) -> None:
    # Not serialize(): it fails for empty databases and for some with virtual tables.
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(unfinished, isolation_level=None)) as file:
        file.execute("PRAGMA journal_mode = OFF")
        file.execute("PRAGMA synchronous = OFF")
        connection.backup(file)
    unfinished.replace(path)


def inspect(connection: sqlite3.Connection, failures: tuple[Failure, ...] = ()) -> BuildReport:
    """Counts the rows of a database and finds foreign keys that lead nowhere."""
    counts = {
        name: connection.execute(f"SELECT count(*) FROM {statements.quoted(name)}").fetchone()[0]  # noqa: S608 - quoted
        for (name,) in connection.execute(_TABLES).fetchall()
    }
    return BuildReport(counts, failures, tuple(_violations(connection, counts)))


def _violations(connection: sqlite3.Connection, counts: dict[str, int]) -> Iterator[Violation]:
    for name, count in counts.items():
        try:
            rows = connection.execute(f"PRAGMA foreign_key_check({statements.quoted(name)})").fetchall()
        except sqlite3.OperationalError:
            # The key names columns that its parent does not have, or that are not unique; SQLite can't check it.
            yield Violation(name, "", count)
            continue
        parents = [parent for _, _, parent, _ in rows]
        yield from (Violation(name, parent, parents.count(parent)) for parent in sorted(set(parents)))


def dump(connection: sqlite3.Connection) -> Iterator[str]:
    """The database as lines of text: the schema, then each table's rows, by primary key or else by all columns.

    `AUTOINCREMENT` counters are part of it, because they decide what ids come next.
    """
    with _lossless_text(connection):
        for (text,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type, name"):
            yield f"{text};"
        for table in _tables(connection, counters=True):
            columns = ", ".join(map(statements.quoted, table.columns))
            lines = (f"{table.name}({columns}): {', '.join(map(_literal, row))}" for row in _rows(connection, table))
            yield from lines if table.key else sorted(lines)


def state_hash(source: Path | sqlite3.Connection) -> str:
    """The hash of a database's logical dump, as `sha256:...`."""
    if isinstance(source, Path):
        with _opened(source) as connection:
            return state_hash(connection)
    digest = hashlib.sha256()
    for line in dump(source):
        digest.update(line.encode(errors="surrogateescape") + b"\n")
    return f"sha256:{digest.hexdigest()}"


def changes(initial: Path, final: Path) -> dict[str, Any]:
    """What differs between two databases, by table and key; tables without a difference are left out.

    Rows of a table without a primary key have no identity: a changed one is removed and added.
    """
    return difference(contents(initial), contents(final))


@dataclass(frozen=True)
class _Stored:
    """A table and its rows."""

    table: _Table
    rows: list[Row]

    @cached_property
    def packed(self) -> bytes:
        """The rows as bytes, to be compared whole: as values, 1 == 1.0."""
        return marshal.dumps(self.rows, 2)

    def records(self) -> list[dict[str, Any]]:
        return [dict(zip(self.table.columns, map(_plain, row), strict=True)) for row in self.rows]


Contents = Mapping[str, _Stored]
"""What is in a database, by table."""


def contents(path: Path) -> Contents:
    """Reads a database that is to be compared with several others; for two there is `changes`."""
    with _opened(path) as connection:
        tables = list(_tables(connection))
        return {table.name: _Stored(table, list(_rows(connection, table))) for table in tables}


def difference(before: Contents, after: Contents) -> dict[str, Any]:
    """What differs between two databases that were read; as `changes` says it."""
    found = {}
    for name in sorted(before.keys() | after.keys()):
        was, now = before.get(name), after.get(name)
        # Most tables are as they were.
        if was is None or now is None or was.table != now.table or was.packed != now.packed:
            table = now.table if now is not None else before[name].table
            found[name] = _difference(table, was.records() if was else [], now.records() if now else [])
    return {name: each for name, each in found.items() if any(each.values())}


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    with contextlib.closing(connection), _lossless_text(connection):
        yield connection


@contextlib.contextmanager
def _lossless_text(connection: sqlite3.Connection) -> Iterator[None]:
    """Lets texts that are not UTF-8 be read, and rows come as tuples."""
    text_factory, row_factory = connection.text_factory, connection.row_factory
    connection.text_factory = lambda raw: raw.decode(errors="surrogateescape")
    connection.row_factory = None
    try:
        yield
    finally:
        connection.text_factory, connection.row_factory = text_factory, row_factory


def _tables(connection: sqlite3.Connection, *, counters: bool = False) -> Iterator[_Table]:
    """The tables by name, without those that SQLite or a virtual table keeps for itself."""
    found = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    virtual = tuple(f"{name}_" for name, text in found if (text or "").upper().startswith("CREATE VIRTUAL"))
    for name, _ in found:
        counter = counters and name == "sqlite_sequence"
        if counter or not name.startswith(("sqlite_", *virtual)):
            yield _table(connection, name)


def _table(connection: sqlite3.Connection, name: str) -> _Table:
    info = connection.execute(f"PRAGMA table_xinfo({statements.quoted(name)})").fetchall()
    stored = [(column, key) for _, column, _, _, _, key, hidden in info if hidden == 0]
    keys = sorted((key, column) for column, key in stored if key)
    return _Table(name, tuple(column for column, _ in stored), tuple(column for _, column in keys))


def _rows(connection: sqlite3.Connection, table: _Table) -> Iterator[Row]:
    # The collation of a key's column may hold different values for equal, in a table of another version of SQLite.
    rest = [column for column in table.columns if column not in table.key]
    order = [f"{statements.quoted(column)} COLLATE BINARY" for column in (*table.key, *rest)]
    columns = ", ".join(map(statements.quoted, table.columns))
    query = f"SELECT {columns} FROM {statements.quoted(table.name)}"  # noqa: S608 - quoted
    yield from connection.execute(f"{query} ORDER BY {', '.join(order)}" if table.key else query)


def _difference(table: _Table, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> dict[str, Any]:
    old, new = _by_key(table.key, before), _by_key(table.key, after)
    if old is None or new is None:
        return _multiset_difference(before, after)
    return {
        "added": [record for key, record in new.items() if key not in old],
        "removed": [record for key, record in old.items() if key not in new],
        "changed": [
            {"key": dict(zip(table.key, key, strict=True)), "columns": columns}
            for key, record in old.items()
            if key in new and (columns := _changed_columns(record, new[key]))
        ],
    }


def _by_key(key: Sequence[str], records: list[dict[str, Any]]) -> dict[Row, dict[str, Any]] | None:
    """The records by primary key, or None where that does not tell them apart: none, or several NULLs."""
    if not key or any(column not in record for record in records for column in key):
        return None
    by_key = {tuple(record[column] for column in key): record for record in records}
    return by_key if len(by_key) == len(records) else None


def _multiset_difference(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> dict[str, Any]:
    old, new = (Counter(tuple(record.items()) for record in records) for records in (before, after))
    return {
        "added": [dict(record) for record in (new - old).elements()],
        "removed": [dict(record) for record in (old - new).elements()],
        "changed": [],
    }


def _changed_columns(old: dict[str, Any], new: dict[str, Any]) -> dict[str, list[Any]]:
    return {
        column: [old.get(column), new.get(column)]
        for column in {**old, **new}
        if (old.get(column), type(old.get(column))) != (new.get(column), type(new.get(column)))
    }


def _plain(value: Any) -> Any:
    """`value` as JSON can hold it: blobs, infinities and broken texts as SQL literals."""
    unfit = isinstance(value, bytes) or (isinstance(value, float) and not math.isfinite(value))
    if unfit or (isinstance(value, str) and not _is_utf8(value)):
        return _literal(value)
    return value


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"X'{value.hex().upper()}'"
    if isinstance(value, float) and math.isinf(value):
        return "9e999" if value > 0 else "-9e999"
    if not isinstance(value, str):
        return repr(value)
    if "\0" in value or not _is_utf8(value):
        return f"CAST(X'{value.encode(errors='surrogateescape').hex().upper()}' AS TEXT)"
    return "'" + value.replace("'", "''") + "'"


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
