"""What is in a built seed, as gates ask for it: tables, columns, rows, the values that CHECK constraints allow."""

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from awm_runtime.bundle import statements

_CHOICES = re.compile(
    r"""["`\[]?(?P<column>\w+)["`\]]?\s+IN\s*\((?P<values>(?:\s*'(?:[^']|'')*'\s*,?)+)\)""", re.IGNORECASE
)
_VALUE = re.compile(r"'((?:[^']|'')*)'")
_SHOWN = 100
_IRREGULAR = {
    "people": "person",
    "children": "child",
    "staff": "staff",
    "series": "series",
    "news": "news",
    "movies": "movie",
    "cookies": "cookie",
    "calories": "calorie",
}


@dataclass(frozen=True)
class Column:
    """A column: its place in the primary key from 1, or 0; the table that it refers to, or None."""

    name: str
    type: str
    key: int
    refers_to: str | None = None


@dataclass(frozen=True)
class Table:
    """A table of the seed.

    Attributes:
        rows: All rows, by column, in the order of their keys.
        choices: The values that a CHECK constraint allows, by column.
    """

    name: str
    columns: tuple[Column, ...]
    rows: tuple[dict[str, Any], ...]
    choices: dict[str, frozenset[str]] = field(default_factory=dict)

    @property
    def key(self) -> str | None:
        """The one column of the primary key; None where there is none or several."""
        keys = [column.name for column in self.columns if column.key]
        return keys[0] if len(keys) == 1 else None


@dataclass(frozen=True)
class Seed:
    """A built seed."""

    tables: dict[str, Table]

    @cached_property
    def texts(self) -> frozenset[str]:
        """Every text in it, in lower case."""
        return frozenset(
            value.casefold()
            for table in self.tables.values()
            for row in table.rows
            for value in row.values()
            if isinstance(value, str)
        )

    def of_entity(self, word: str) -> Table | None:
        """The table whose rows are called `word`: `loan` -> `loans`; also where its name only ends so."""
        word = singular(word.casefold())
        named = {singular(name.casefold()): table for name, table in self.tables.items()}
        ending = [table for name, table in named.items() if name.endswith(f"_{word}")]
        return named.get(word) or (ending[0] if len(ending) == 1 else None)

    def values(self, argument: str, kind: type) -> list[Any]:
        """The values that an argument of this name may mean: keys for `loan_id`, else what columns of the name hold."""
        if argument.endswith("_id"):
            table = self.of_entity(argument.removesuffix("_id"))
            if table is not None and table.key is not None:
                return [row[table.key] for row in table.rows if isinstance(row[table.key], kind)]
        found = (
            row[argument]
            for table in self.tables.values()
            for row in table.rows
            if isinstance(row.get(argument), kind) and not isinstance(row[argument], bool)
        )
        return list(dict.fromkeys(found))


def read(path: Path) -> Seed:
    """Reads a built seed."""
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        connection.text_factory = lambda raw: raw.decode(errors="replace")
        found = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        ).fetchall()
        return Seed({name: _table(connection, name, sql or "") for name, sql in sorted(found)})


def broken(path: Path) -> tuple[str, ...]:
    """What of a database breaks CHECK or NOT NULL constraints or foreign keys, or is damaged: the first few."""
    # Not read-only: SQLite forgets the CHECK constraints of a database that it cannot write
    # (sqlite3AddCheckConstraint in its build.c).
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as connection:
        checked = [" ".join(row[0].split()) for row in connection.execute(f"PRAGMA quick_check({_SHOWN})")]
        said = [each for each in checked if each != "ok"]
        with contextlib.suppress(sqlite3.OperationalError):  # keys that lead to no key cannot be checked
            rows = connection.execute("PRAGMA foreign_key_check").fetchmany(_SHOWN)
            said += [f"row {row[1]} of {row[0]} refers to a row of {row[2]} that is not there" for row in rows]
    return tuple(said)


def singular(word: str) -> str:
    """An English noun's singular, well enough to find `categories` by `category`; of `a_b` the last part counts."""
    head, _, last = word.rpartition("_")
    return f"{head}_{_singular(last)}" if head else _singular(last)


def _singular(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if word.endswith(("ches", "shes", "sses", "xes", "zes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def _table(connection: sqlite3.Connection, name: str, ddl: str) -> Table:
    quoted = statements.quoted(name)
    references = {}
    with contextlib.suppress(sqlite3.OperationalError):
        references = {row[3]: row[2] for row in connection.execute(f"PRAGMA foreign_key_list({quoted})")}
    columns = tuple(
        Column(row[1], row[2].upper(), row[5], references.get(row[1]))
        for row in connection.execute(f"PRAGMA table_info({quoted})")
    )
    order = ", ".join(str(place) for place, _ in enumerate(columns, start=1)) or "1"
    cursor = connection.execute(f"SELECT * FROM {quoted} ORDER BY {order}")  # noqa: S608 - quoted
    names = [each[0] for each in cursor.description]
    rows = tuple(dict(zip(names, row, strict=True)) for row in cursor)
    return Table(name, columns, rows, dict(_choices(ddl)))


def _choices(ddl: str) -> Iterator[tuple[str, frozenset[str]]]:
    for match in _CHOICES.finditer(ddl):
        values = frozenset(value.replace("''", "'") for value in _VALUE.findall(match["values"]))
        yield match["column"], values
