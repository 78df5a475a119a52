"""Finds readings of the wall clock: the frozen clock answers them, while the tasks name fixed dates."""

import ast
import re

from awm_generator.awm_files import parsing
from awm_runtime.bundle import model, statements

_SQL = re.compile(r"'now'|\b(?:date|time|datetime)\(\s*\)|\bCURRENT_(?:TIMESTAMP|DATE|TIME)\b", re.IGNORECASE)
_METHODS = frozenset({"now", "utcnow", "today", "time", "monotonic"})
_OWNERS = frozenset({"datetime", "date", "time", "dt", "func"})


def in_seed(seed_sql: str) -> list[model.Finding]:
    """A finding where inserts read the clock."""
    reading = [text for text in statements.split(seed_sql) if _SQL.search(text)]
    if not reading:
        return []
    tables = len({statements.table_of(text) for text in reading})
    detail = f"{len(reading)} insert(s) into {tables} table(s) read the clock; the frozen one answers"
    return [model.Finding(kind="wall_clock_in_seed", stage="sample", subject="seed.sql", detail=detail)]


def in_code(source: str) -> list[model.Finding]:
    """A finding where code reads the clock."""
    tree = parsing.parsed(source)
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)] if tree else []
    lines = sorted({node.lineno for node in attributes if _reads_clock(node)})
    if not lines:
        return []
    shown = ", ".join(map(str, lines[:5])) + (", ..." if len(lines) > 5 else "")
    detail = f"{len(lines)} line(s) read the clock ({shown}); the frozen one answers"
    return [model.Finding(kind="wall_clock_in_code", stage="env", subject="environment.py", detail=detail)]


def _reads_clock(node: ast.Attribute) -> bool:
    owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
    return node.attr in _METHODS and owner in _OWNERS
