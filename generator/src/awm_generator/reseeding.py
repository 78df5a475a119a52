"""Gives a bundle the content of a database file in place of its schema and seed."""

import dataclasses
import re
import sqlite3
from pathlib import Path

from awm_runtime import errors
from awm_runtime.bundle import model

_TRIGGER = re.compile(r"CREATE\s+TRIGGER\b", re.IGNORECASE)


def from_file(bundle: model.Bundle, database: Path) -> model.Bundle:
    """`bundle` with the schema and the rows of an SQLite file.

    Raises:
        BundleError: The file is no SQLite database.
    """
    try:
        connection = sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)
        try:
            statements = [each for each in connection.iterdump() if each not in ("BEGIN TRANSACTION;", "COMMIT;")]
        finally:
            connection.close()
    except sqlite3.DatabaseError as exc:
        raise errors.BundleError(f"{database}: not a usable SQLite database: {exc}") from exc
    rows: list[str] = []
    triggers: list[str] = []
    schema: list[str] = []
    for each in statements:
        kind = rows if each.startswith(("INSERT", "DELETE")) else triggers if _TRIGGER.match(each) else schema
        kind.append(each)
    # Triggers come after the rows, which hold what they did already.
    return dataclasses.replace(bundle, schema_sql=_text(schema), seed_sql=_text([*rows, *triggers]))


def _text(statements: list[str]) -> str:
    return "".join(f"{statement}\n" for statement in statements)
