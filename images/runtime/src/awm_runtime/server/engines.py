"""Binds the SQLAlchemy engines of scenario code to the episode that is being called.

Scenario code makes one engine at import, for one database file, and keeps it. Here every engine gets a pool that hands
out the connection of whichever episode `context.current()` names. What a call leaves open is taken back after it: a row
that a crashed call flushed would otherwise be committed by the next call on the same connection.
"""

import logging
import sqlite3
import sys
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import sqlalchemy
from sqlalchemy import engine as sa_engine
from sqlalchemy import event, orm
from sqlalchemy.engine import create as sa_create
from sqlalchemy.pool import base as pool_base

from awm_runtime import errors
from awm_runtime.determinism import context

logger = logging.getLogger(__name__)


class ConnectionSource(Protocol):
    """The connections of one episode."""

    def acquire(self) -> sqlite3.Connection:
        """The episode's kept connection, or a further one while that is out."""
        ...

    def release(self, connection: sqlite3.Connection) -> None:
        """Takes a connection back and rolls it back."""
        ...

    def open_raw(self, **options: Any) -> sqlite3.Connection:
        """A connection that the caller closes."""
        ...


def source() -> ConnectionSource:
    """The running call's connections.

    Raises:
        OutsideEpisode: without a call, or in one that has no database.
    """
    connections = context.current().connections
    if connections is None:
        raise context.OutsideEpisode("scenario code asked for a database where its call has none")
    return cast(ConnectionSource, connections)


def install() -> None:
    """Makes every engine created from now on one of the running episode's. Doing it twice is harmless."""
    original = sa_create.create_engine
    if original is _create_engine:
        return
    _originals["create_engine"] = original
    sa_engine.Engine._connection_cls = _Connection
    event.listen(orm.Session, "after_transaction_create", _note_session)
    # Names imported by value keep the original, so the module that took one is given ours as well.
    for module in (sqlalchemy, sa_engine, sa_create, *list(sys.modules.values())):
        if vars(module).get("create_engine") is original:
            module.create_engine = _create_engine  # type: ignore[attr-defined]


def release_leaks() -> int:
    """Ends a call: closes its sessions and takes back its connections, rolled back.

    Called inside the call's context. Sessions and connections that scenario code keeps stay usable: their next use
    begins anew, in the database of the call that uses them.

    Returns:
        How many connections were still out.
    """
    ledger = _ledgers.pop(id(context.current()), None)
    if ledger is None:
        return 0
    leaked = sum(record.is_out for record in set(ledger.records))
    for session in list(ledger.sessions):
        _quietly(session.reset)
    for connection in list(ledger.connections):
        _quietly(connection.let_go)
    for record in ledger.records:
        record.take_back()
    for raw in ledger.raw:
        _quietly(raw.close)
    return leaked + len(ledger.raw)


def connect_raw(
    _database: object = None,
    _timeout: object = None,
    detect_types: int = 0,
    isolation_level: str | None = "",
    *_others: object,
    **_options: object,
) -> sqlite3.Connection:
    """Stands in for `sqlite3.connect` in scenario code: a new connection to the running episode's database.

    It is closed when the call ends, so that nothing of it is seen by another episode.
    """
    connection = source().open_raw(detect_types=detect_types, isolation_level=isolation_level)
    _ledger().raw.append(connection)
    return connection


@dataclass
class _Ledger:
    """What one call has begun. Weakly, so that what scenario code forgets ends at once, as it does elsewhere."""

    call: context.CallContext
    sessions: "weakref.WeakSet[orm.Session]" = field(default_factory=weakref.WeakSet)
    connections: "weakref.WeakSet[_Connection]" = field(default_factory=weakref.WeakSet)
    records: "list[_Record]" = field(default_factory=list)
    raw: list[sqlite3.Connection] = field(default_factory=list)


# By the id of the call's context, which the ledger keeps alive: the context itself is not hashable.
_ledgers: dict[int, _Ledger] = {}
_originals: dict[str, Callable[..., sa_engine.Engine]] = {}


def _ledger() -> _Ledger:
    call = context.current()
    ledger = _ledgers.get(id(call))
    if ledger is None:
        ledger = _ledgers[id(call)] = _Ledger(call)
    return ledger


def _note_session(session: orm.Session, _transaction: orm.SessionTransaction) -> None:
    _ledger().sessions.add(session)


def _quietly(end: Callable[[], object]) -> None:
    """Ends something although scenario code may have broken it: a connection closed by hand, a listener that raises."""
    try:
        end()
    except Exception:
        logger.exception("what a call left open could not be ended in order; its connection is rolled back")


class _Connection(sa_engine.Connection):
    """A connection that can be parted from its database and finds the next one by itself."""

    def __init__(self, engine: sa_engine.Engine, *arguments: Any, **options: Any) -> None:
        super().__init__(engine, *arguments, **options)
        if isinstance(engine.pool, EpisodePool):
            _ledger().connections.add(self)

    def _revalidate_connection(self) -> pool_base.PoolProxiedConnection:
        proxied = super()._revalidate_connection()
        _ledger().connections.add(self)
        return proxied

    def let_go(self) -> None:
        """Rolls back and returns the database connection; SQLAlchemy takes this one for invalidated and reconnects."""
        proxied = self._dbapi_connection
        if proxied is None:
            return
        try:
            transaction = self.get_transaction()
            if transaction is not None:
                transaction.rollback()
        finally:
            self._transaction = self._nested_transaction = None
            self._dbapi_connection = None
            proxied.close()


class _Record(pool_base._ConnectionRecord):
    """SQLAlchemy's entry for one DBAPI connection of one engine; it outlives check-outs, so `connect` fires once."""

    def __init__(self, pool: "EpisodePool", offered: sqlite3.Connection) -> None:
        super().__init__(pool, connect=False)
        self.offered = offered
        self.origin: ConnectionSource | None = None  # while it is out; a record must not keep an episode alive

    @property
    def is_out(self) -> bool:
        """Whether scenario code holds it."""
        return self.origin is not None

    def give_back(self) -> None:
        """Returns the connection to its episode, once."""
        origin, self.origin = self.origin, None
        if origin is not None:
            origin.release(self.offered)

    def take_back(self) -> None:
        """Returns the connection although scenario code still holds on to it."""
        holder = self.fairy_ref() if self.is_out and self.fairy_ref is not None else None
        if holder is not None:
            _quietly(holder.close)
        self.give_back()


class EpisodePool(pool_base.Pool):
    """A pool without connections of its own: the running call's source has them."""

    def __init__(self, _creator: Any, **options: Any) -> None:
        super().__init__(cast(Any, _offered), **options)
        self._kept: weakref.WeakKeyDictionary[Any, _Record] = weakref.WeakKeyDictionary()
        self.isolation_level: Any = ""

    def _do_get(self) -> _Record:
        origin = source()
        connection = origin.acquire()
        record = self._kept.get(origin)
        if record is None or record.offered is not connection:
            record = self._entry(origin, connection)
        elif connection.isolation_level != self.isolation_level:
            connection.isolation_level = self.isolation_level  # another engine of the scenario had it last
        record.origin = origin
        _ledger().records.append(record)
        return record

    def _entry(self, origin: ConnectionSource, connection: sqlite3.Connection) -> _Record:
        record = _Record(self, connection)
        connection.isolation_level = self.isolation_level
        held = self._kept.get(origin)
        if held is None or not held.is_out:  # a further connection lives until it is returned, the first is kept
            self._kept[origin] = record
        return record

    def _do_return_conn(self, record: pool_base.ConnectionPoolEntry) -> None:
        cast(_Record, record).give_back()

    def _close_connection(self, connection: Any, *, terminate: bool = False) -> None:
        """Leaves closing to the source: a connection that SQLAlchemy is done with is still the episode's."""

    def dispose(self) -> None:
        """Nothing to close: connections are the episodes'."""

    def recreate(self) -> "EpisodePool":
        """The same pool: `Engine.dispose()` asks for a new one."""
        return self

    def status(self) -> str:
        """For SQLAlchemy's log."""
        return "EpisodePool"


def _offered(connection_record: _Record) -> sqlite3.Connection:
    return connection_record.offered


def _create_engine(url: Any, **options: Any) -> sa_engine.Engine:
    """Stands in for `sqlalchemy.create_engine`.

    Raises:
        EnvironmentCodeError: for a database that is not SQLite.
    """
    asked = sa_engine.make_url(url)
    if asked.get_backend_name() != "sqlite":
        raise errors.EnvironmentCodeError(f"create_engine: only SQLite is served, not {asked.get_backend_name()!r}")
    kept = {name: value for name, value in options.items() if not _is_replaced(name)}
    plain = sa_engine.URL.create("sqlite", database=asked.database)
    made = _originals["create_engine"](plain, poolclass=EpisodePool, **kept)
    cast(EpisodePool, made.pool).isolation_level = _driver_isolation(options)
    return made


def _driver_isolation(options: Mapping[str, Any]) -> Any:
    """What the engine's options mean for `sqlite3.Connection.isolation_level`; None commits every statement."""
    if str(options.get("isolation_level")).upper() == "AUTOCOMMIT":
        return None
    return (options.get("connect_args") or {}).get("isolation_level", "")


def _is_replaced(option: str) -> bool:
    """Whether an option is about connecting, pooling or logging, which are not the scenario's here."""
    return option.startswith("pool") or option in {
        "connect_args",
        "creator",
        "echo",
        "echo_pool",
        "max_overflow",
        "module",
        "plugins",
    }
