"""Writes `seed.db` with one SQLite at an exact version, so that the same bundle gives the same bytes on every machine.

SQLite's version is written into each file, and what a file looks like changes from one to the next. The one of apsw's
wheels is the same for all Pythons.
"""

import contextlib
import sqlite3

import apsw

from awm_generator.images import errors
from awm_runtime.bundle import database as databases
from awm_runtime.bundle import model, statements
from awm_runtime.determinism import context, sql


class _Registered:
    """An apsw connection as `determinism.sql` registers functions on it."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def create_function(self, name: str, narg: int, func: object, /, *, deterministic: bool = False) -> None:
        self._connection.create_scalar_function(name, func, narg, deterministic=deterministic)  # type: ignore[arg-type]


def build(bundle: model.Bundle) -> bytes:
    """The database file of a bundle's two SQL files, under its clock.

    Raises:
        ImageError: A statement fails.
    """
    plain = apsw.Connection(":memory:")
    library = sql.Library(
        version=tuple(int(part) for part in apsw.sqlite_lib_version().split(".")),
        evaluate=lambda query, arguments: plain.execute(query, arguments).fetchone()[0],  # type: ignore[index]
    )
    connection = apsw.Connection(":memory:")
    try:
        for pragma in (
            "page_size = 4096",
            f"max_page_count = {statements.MAX_PAGES}",
            f"foreign_keys = {bundle.scenario.foreign_keys}",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        sql.install(_Registered(connection), library)
        with context.entered(context.CallContext(clock=bundle.clock, seed=0, number=0)):
            for part, text in (("schema.sql", bundle.schema_sql), ("seed.sql", bundle.seed_sql)):
                for number, statement in enumerate(statements.split(text), start=1):
                    _run(connection, statement, f"{bundle.root}/{part}: statement {number}")
        return bytes(connection.serialize("main"))
    finally:
        connection.close()
        plain.close()


def _run(connection: apsw.Connection, statement: str, place: str) -> None:
    ticks = iter(range(statements.MAX_TICKS))
    connection.authorizer = statements.authorize
    connection.set_progress_handler(lambda: next(ticks, None) is None, statements.STEPS_PER_TICK)
    try:
        connection.execute(statement).fetchall()
    except apsw.InterruptError as exc:
        raise errors.ImageError(f"{place}: took too long") from exc
    except (apsw.Error, OverflowError, ValueError) as exc:
        raise errors.ImageError(f"{place}: {exc}") from exc
    finally:
        connection.set_progress_handler(None, 0)
        connection.authorizer = None


def state_hash(database: bytes) -> str:
    """The hash of the logical dump of a database in memory, as `sha256:...`."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        if database:  # an empty file is an empty database, which cannot be deserialised
            connection.deserialize(database)
        return databases.state_hash(connection)
