"""SQL of a bundle, statement by statement: how a text is split, and how a statement is run under the frozen clock."""

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from awm_runtime.determinism import context, sql

MAX_PAGES = 131_072  # of 4 KiB: a seed of more than 512 MiB is a mistake
STEPS_PER_TICK = 1_000_000
MAX_TICKS = 1_000  # steps are counted, not seconds, so that the same SQL fails on every machine
_FORBIDDEN = frozenset(
    {
        sqlite3.SQLITE_ATTACH,
        sqlite3.SQLITE_DETACH,
        sqlite3.SQLITE_PRAGMA,
        sqlite3.SQLITE_SAVEPOINT,
        sqlite3.SQLITE_TRANSACTION,
    }
)
_TOKENS = re.compile(r"""'[^']*'|"[^"]*"|`[^`]*`|\[[^\]]*\]|--[^\n]*|/\*.*?\*/|;""", re.DOTALL)
_NAME = r"""(?:"(?P<quoted>[^"]+)"|`(?P<ticked>[^`]+)`|\[(?P<boxed>[^\]]+)\]|(?P<plain>\w+))"""
_SUBJECT = re.compile(
    r"\s*(?:--[^\n]*\n\s*)*(?:"
    r"CREATE\s+(?:TEMP\w*\s+)?(?:VIRTUAL\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?"
    r"|CREATE\s+(?:UNIQUE\s+)?INDEX\b.*?\bON\s+"
    r"|(?:INSERT|REPLACE)\b.*?\bINTO\s+"
    r"|UPDATE\s+(?:OR\s+\w+\s+)?"
    r"|DELETE\s+FROM\s+)" + _NAME,
    re.IGNORECASE | re.DOTALL,
)


@contextlib.contextmanager
def memory(clock: datetime, foreign_keys: Literal["on", "off"]) -> Iterator[sqlite3.Connection]:
    """An empty database in memory, and a call number 0 of an episode with seed 0 to build it in."""
    with (
        contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection,
        context.entered(context.CallContext(clock=clock, seed=0, number=0)),
    ):
        connection.execute("PRAGMA page_size = 4096")
        connection.execute(f"PRAGMA max_page_count = {MAX_PAGES}")
        connection.execute(f"PRAGMA foreign_keys = {foreign_keys}")
        sql.install(connection)
        yield connection


def run(connection: sqlite3.Connection, statement: str) -> str | None:
    """Runs one statement of a bundle; returns why it failed, or None.

    Statements that reach outside the database or change how it works are refused, and so are endless ones.
    """
    ticks = iter(range(MAX_TICKS))
    connection.set_authorizer(authorize)
    connection.set_progress_handler(lambda: next(ticks, None) is None, STEPS_PER_TICK)
    try:
        connection.execute(statement).fetchall()
    except (sqlite3.Error, sqlite3.Warning, OverflowError, ValueError) as exc:
        return "took too long" if str(exc) == "interrupted" else str(exc)
    finally:
        connection.set_progress_handler(None, 0)
        connection.set_authorizer(None)
    return None


def authorize(action: int, first: str | None, *_: str | None) -> int:
    """SQLite's authorizer: refuses what reaches outside the database or changes how it works."""
    # Full-text tables ask for the data version themselves.
    harmless = action == sqlite3.SQLITE_PRAGMA and first == "data_version"
    return sqlite3.SQLITE_DENY if action in _FORBIDDEN and not harmless else sqlite3.SQLITE_OK


def split(text: str) -> Iterator[str]:
    """The statements of an SQL text, without the white space around them; comments stay with what follows them."""
    start = 0
    for match in _TOKENS.finditer(text):
        # SQLite is asked, because semicolons in a trigger's body end nothing.
        if match.group() == ";" and sqlite3.complete_statement(text[start : match.end()]):
            yield text[start : match.end()].strip()
            start = match.end()
    if _has_content(text[start:]):
        yield text[start:].strip()


def table_of(statement: str) -> str | None:
    """The table that a statement is about, as far as its beginning tells."""
    match = _SUBJECT.match(statement)
    return next((name for name in match.group("quoted", "ticked", "boxed", "plain") if name), None) if match else None


def quoted(name: str) -> str:
    """`name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _has_content(text: str) -> bool:
    return bool(re.sub(r"--[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL).strip())
