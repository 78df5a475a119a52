"""Changes that no oracle makes: rows edited or removed beside the ones that it touched."""

import contextlib
import hashlib
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from awm_generator.gates import seeds
from awm_runtime.bundle import statements

MOST = 3
_NEVER = ("_at", "created", "updated", "modified", "timestamp", "last_seen", "last_login", "views")
"""Columns whose name says that the server keeps them; a verifier need not look at them."""


def edits(solved: Path, changes: Mapping[str, Any], data: seeds.Seed, task: str) -> Iterator[tuple[str, Path]]:
    """Copies of a solved database with one change too many each: what was changed, and the copy.

    Args:
        solved: The database after the oracle.
        changes: What the oracle changed.
        data: The seed.
        task: The task's id; different tasks get different edits.
    """
    made = 0
    touched = [table for table in data.tables.values() if table.name in changes]
    rest = sorted(
        (table for table in data.tables.values() if table.name not in changes),
        key=lambda table: hashlib.sha256(f"{task}/{table.name}".encode()).digest(),
    )
    for table in [*touched[:1], *rest]:
        if made == MOST:
            return
        target = solved.with_name(f"{solved.stem}-outside-{made}.db")
        said = _edited(solved, target, table, changes.get(table.name, {}), remove=made == MOST - 1)
        if said is not None:
            made += 1
            yield said, target


def _edited(solved: Path, target: Path, table: seeds.Table, changes: Mapping[str, Any], *, remove: bool) -> str | None:
    """Makes one change to a row that the oracle left alone; None where constraints let none through."""
    key = table.key
    if key is None:
        return None
    own = {row["key"].get(key) for row in changes.get("changed", ())} | {
        row.get(key) for row in changes.get("removed", ())
    }
    free = [row for row in table.rows if row[key] not in own]
    shutil.copyfile(solved, target)
    with contextlib.closing(sqlite3.connect(target, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        for row in free[-3:]:
            if remove and _run(connection, f"DELETE FROM {_q(table.name)} WHERE {_q(key)} = ?", row[key]):  # noqa: S608
                return f"{table.name} {row[key]} is removed"
            for column, value in _other_values(table, row):
                update = f"UPDATE {_q(table.name)} SET {_q(column)} = ? WHERE {_q(key)} = ?"  # noqa: S608
                if _run(connection, update, value, row[key]):
                    return f"{table.name} {row[key]}: {column} is {value!r} in place of {row[column]!r}"
    target.unlink()
    return None


def _other_values(table: seeds.Table, row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for column in table.columns:
        value = row[column.name]
        if column.key or column.refers_to or any(part in column.name.casefold() for part in _NEVER):
            continue
        if column.name in table.choices:
            yield from ((column.name, each) for each in sorted(table.choices[column.name]) if each != value)
        elif isinstance(value, str):
            yield column.name, f"{value}*"
        elif isinstance(value, int | float):
            yield column.name, value + 1


def _run(connection: sqlite3.Connection, statement: str, *values: Any) -> bool:
    try:
        return connection.execute(statement, values).rowcount == 1
    except sqlite3.Error:
        return False


def _q(name: str) -> str:
    return statements.quoted(name)
