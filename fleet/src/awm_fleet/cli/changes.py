"""Rows that an episode changed, as people read them."""

import json
from collections.abc import Iterator
from typing import Any

from awm_fleet.cli import output

_SHOWN = 160


def show(changes: dict[str, Any]) -> None:
    """Prints a diff as a table."""
    if changes:
        output.table("Rows that changed", ("table", "", "row"), rows(changes))
    else:
        output.say("No row changed.\n")


def rows(changes: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Each changed row: its table, what became of it, and what is in it."""
    for table, change in changes.items():
        yield from ((table, "added", short(json.dumps(row, ensure_ascii=False))) for row in change["added"])
        yield from ((table, "removed", short(json.dumps(row, ensure_ascii=False))) for row in change["removed"])
        yield from ((table, "changed", f"{_key(row['key'])}: {_columns(row['columns'])}") for row in change["changed"])


def short(text: str) -> str:
    """A text that fits a cell."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _key(key: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in key.items())


def _columns(columns: dict[str, list[Any]]) -> str:
    return "; ".join(f"{name} {old!r} -> {new!r}" for name, (old, new) in columns.items())
