"""An episode's database: connections to it, copies of it.

Journal mode PERSIST with `synchronous=OFF`: what was committed is in the file, and a process killed at any moment
leaves either no journal or one that SQLite rolls back (docs/adr/0003). So between transactions a copy of the file is a
snapshot.
"""

import contextlib
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from awm_runtime.determinism import context, sql

BUSY_S = 0.2
"""A second connection of the same call would wait for the first one forever; SQLite gives up after this."""
PAGE_CACHE_KIB = 256
_PROGRESS_STEPS = 200_000
"""Virtual machine steps between two looks at the deadline: a few milliseconds."""

_OURS = frozenset(
    {"journal_mode", "synchronous", "max_page_count", "locking_mode", "writable_schema", "schema_version"}
)
"""What scenario code may not set: it would stick on the kept connection, and a kill could spoil the database."""


def connect(path: Path, *, foreign_keys: bool, max_bytes: int, **options: Any) -> sqlite3.Connection:
    """Opens an episode's database for scenario code: frozen clock, seeded randomness, limits.

    Args:
        path: The database file.
        foreign_keys: Whether SQLite enforces them, as the bundle says.
        max_bytes: The size that the file may grow to.
        options: What scenario code gave to `sqlite3.connect` itself.
    """
    connection: sqlite3.Connection = sqlite3.connect(
        path, **{"timeout": BUSY_S, "check_same_thread": False, "cached_statements": 256, **options}
    )
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    page_size = connection.execute("PRAGMA page_size").fetchone()[0]
    for pragma in (
        "journal_mode=PERSIST",
        "synchronous=OFF",
        f"cache_size=-{PAGE_CACHE_KIB}",
        "temp_store=MEMORY",
        f"max_page_count={max(1, max_bytes // page_size)}",
        f"foreign_keys={'ON' if foreign_keys else 'OFF'}",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    sql.install(connection)
    connection.set_progress_handler(_deadline_passed, _PROGRESS_STEPS)
    connection.set_authorizer(_guard)
    return connection


def _guard(action: int, name: str | None, value: str | None, _database: str | None, _trigger: str | None) -> int:
    """SQLite's authorizer: passes over a change of what makes a killed process harmless. Asking for it is let through.

    Passed over, not refused, because scenario code that asks for WAL is common and means no harm.
    """
    if action == sqlite3.SQLITE_PRAGMA and value is not None and name is not None and name.lower() in _OURS:
        return sqlite3.SQLITE_IGNORE
    return sqlite3.SQLITE_OK


def _deadline_passed() -> int:
    """SQLite's progress callback: interrupts the statement of a call that is past its deadline."""
    try:
        return int(context.current().is_overdue())
    except context.OutsideEpisode:
        return 0


def copy(source: Path, target: Path) -> None:
    """Copies a database file that no transaction is writing to; a half copy is never seen under the target's name."""
    unfinished = target.with_name(target.name + ".part")
    shutil.copyfile(source, unfinished)
    unfinished.replace(target)


def fault(path: Path) -> str | None:
    """Why a database file cannot be read, in SQLite's words; None where it can."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as exc:
        return str(exc)
    return None


class EpisodeConnections:
    """The connections of one episode: one is kept, further ones live while a call holds more than one at once."""

    def __init__(self, path: Path, *, foreign_keys: bool, max_bytes: int) -> None:
        self.path = path
        self._foreign_keys = foreign_keys
        self._max_bytes = max_bytes
        self._kept: sqlite3.Connection | None = None
        self._kept_is_out = False

    def acquire(self) -> sqlite3.Connection:
        """The kept connection, or a further one where it is out already."""
        if self._kept_is_out:
            return self._connect()
        if self._kept is None:
            self._kept = self._connect()
        self._kept_is_out = True
        return self._kept

    def release(self, connection: sqlite3.Connection) -> None:
        """Takes a connection back; what it left uncommitted is rolled back."""
        if connection is self._kept:
            self._kept_is_out = False
            try:
                connection.rollback()
            except sqlite3.ProgrammingError:  # the scenario closed it by hand
                self._kept = None
        else:
            connection.close()

    def open_raw(self, **options: Any) -> sqlite3.Connection:
        """A connection of its own for code that calls `sqlite3.connect` by hand."""
        return self._connect(**options)

    def settle(self) -> None:
        """Rolls back what a killed process had begun to write, so that read-only connections can be opened."""
        if self._kept is None:
            with contextlib.closing(sqlite3.connect(self.path)) as connection:
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()

    def snapshot(self, target: Path) -> None:
        """Copies the committed state to `target`, a single file. The caller holds the episode's lock."""
        if self._kept is None:
            _copy_through_sqlite(self.path, target)
        else:
            copy(self.path, target)

    def close(self) -> None:
        """Closes the kept connection."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None
        self._kept_is_out = False

    def _connect(self, **options: Any) -> sqlite3.Connection:
        return connect(self.path, foreign_keys=self._foreign_keys, max_bytes=self._max_bytes, **options)


def _copy_through_sqlite(source: Path, target: Path) -> None:
    """Copies a database that may have a hot journal."""
    unfinished = target.with_name(target.name + ".part")
    unfinished.unlink(missing_ok=True)
    with_source = sqlite3.connect(source)
    with_target = sqlite3.connect(unfinished)
    try:
        with_source.backup(with_target)
    finally:
        with_target.close()
        with_source.close()
    unfinished.replace(target)
