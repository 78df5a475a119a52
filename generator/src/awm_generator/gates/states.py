"""What calls came to, apart from what differs between any two ways to the same end: generated ids and times."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from awm_generator.gates import seeds

_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2})?(?:\.\d+)?(?:Z|[+-]\d{2}:?\d{2})?")
_SPAN = timedelta(minutes=10)
"""Calls advance the frozen clock by a second each: what is so soon after the bundle's clock is a reading of it."""
_SHOWN = 900


def fingerprint(changes: Mapping[str, Any], data: seeds.Seed, clock: datetime) -> str:
    """Changes (`awm_runtime.bundle.database.changes`) in a form that is equal for equal ends."""
    made = {name: _made(data, name, each["added"]) for name, each in changes.items()}
    found: dict[str, Any] = {}
    for name, each in changes.items():
        plain = [_plain(row, name, data, made, clock) for row in each["added"]]
        changed = [
            {"key": row["key"], "to": {column: _masked(after, clock) for column, (_, after) in row["columns"].items()}}
            for row in each["changed"]
        ]
        removed = [_text(row) for row in each["removed"]]
        kept = [row for row in changed if any(value != "<now>" for value in row["to"].values())]
        found[name] = {"added": sorted(map(_text, plain)), "changed": sorted(map(_text, kept)), "removed": removed}
    return _text({name: each for name, each in found.items() if any(each.values())})


def is_reading(value: object, clock: datetime) -> bool:
    """Whether a value is a reading of the frozen clock."""
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        return False
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return False
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return clock <= moment <= clock + _SPAN


def shown(changes: Mapping[str, Any]) -> str:
    """Changes as text, for a counterexample."""
    text = json.dumps(changes, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"


def _made(data: seeds.Seed, name: str, added: list[dict[str, Any]]) -> set[Any]:
    table = data.tables.get(name)
    return {row.get(table.key) for row in added} if table is not None and table.key is not None else set()


def _plain(
    row: Mapping[str, Any], name: str, data: seeds.Seed, made: Mapping[str, set[Any]], clock: datetime
) -> dict[str, Any]:
    table = data.tables.get(name)
    refers = {column.name: column.refers_to for column in table.columns} if table is not None else {}
    kept = {}
    for column, value in row.items():
        if table is not None and column == table.key and isinstance(value, int):
            continue
        parent = refers.get(column)
        kept[column] = "<new>" if parent and value in made.get(parent, ()) else _masked(value, clock)
    return kept


def _masked(value: Any, clock: datetime) -> Any:
    return "<now>" if is_reading(value, clock) else value


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
