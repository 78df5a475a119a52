"""Engines of scenario code serve the episode that is being called, and nothing of a call outlives it."""

import contextlib
import gc
import sqlite3
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import event, orm
from sqlalchemy.pool import StaticPool

from awm_runtime import errors
from awm_runtime.determinism import context
from awm_runtime.server import engines, storage

pytestmark = pytest.mark.usefixtures("as_an_instance")

Call = Callable[[str], contextlib.AbstractContextManager[None]]


class Base(orm.DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "notes"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    text: orm.Mapped[str]


@pytest.fixture
def sources(tmp_path: Path) -> Iterator[dict[str, storage.EpisodeConnections]]:
    """Two episodes, each with one note that holds the episode's name."""
    made = {}
    for name in ("a", "b"):
        path = tmp_path / f"{name}.db"
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)")
            connection.execute("INSERT INTO notes (text) VALUES (?)", (name,))
        made[name] = storage.EpisodeConnections(path, foreign_keys=False, max_bytes=1 << 24)
    yield made
    for source in made.values():
        source.close()


@pytest.fixture
def call(sources: dict[str, storage.EpisodeConnections]) -> Call:
    """Enters a call of an episode, and ends it as the server does."""

    @contextlib.contextmanager
    def entered(episode: str) -> Iterator[None]:
        running = context.CallContext(datetime(2026, 1, 1, tzinfo=UTC), seed=0, number=1, connections=sources[episode])
        with context.entered(running):
            try:
                yield
            finally:
                engines.release_leaks()

    return entered


def committed(sources: dict[str, storage.EpisodeConnections], episode: str) -> list[str]:
    """The notes in the file, seen from outside."""
    with contextlib.closing(sqlite3.connect(sources[episode].path)) as connection:
        return [text for (text,) in connection.execute("SELECT text FROM notes ORDER BY id")]


@pytest.mark.parametrize(
    "make",
    [
        lambda: sqlalchemy.create_engine("sqlite:///elsewhere.db", connect_args={"check_same_thread": False}),
        lambda: sqlalchemy.engine.create_engine("sqlite://", poolclass=StaticPool),
        lambda: sqlalchemy.create_engine("sqlite:///x.db", pool_size=3, max_overflow=1, pool_pre_ping=True, echo=True),
        lambda: sqlalchemy.create_engine("sqlite:///x.db", pool_recycle=0, pool_timeout=1, future=True),
        lambda: sqlalchemy.create_engine("sqlite:///x.db", isolation_level="SERIALIZABLE"),
        lambda: sqlalchemy.create_engine("sqlite:///x.db", creator=lambda: sqlite3.connect(":memory:")),
        lambda: sqlalchemy.create_engine("sqlite:///file:x?mode=memory&uri=true&cache=shared"),
        lambda: sqlalchemy.engine_from_config({"sqlalchemy.url": "sqlite:///x.db", "sqlalchemy.pool_size": "3"}),
    ],
)
def test_every_engine_reads_the_episode_of_the_call(make: Callable[[], sqlalchemy.Engine], call: Call) -> None:
    engine = make()
    seen = []
    for episode in ("a", "b", "a"):
        with call(episode), engine.connect() as connection:
            seen.append(connection.scalar(sqlalchemy.text("SELECT text FROM notes")))
    assert seen == ["a", "b", "a"]


def test_a_name_imported_before_install_makes_bound_engines_too() -> None:
    assert sqlalchemy.create_engine is sqlalchemy.engine.create_engine is sqlalchemy.engine.create.create_engine


@pytest.mark.parametrize("url", ["postgresql://localhost/x", "mysql://localhost/x"])
def test_another_database_than_sqlite_is_refused_by_name(url: str) -> None:
    with pytest.raises(errors.EnvironmentCodeError, match=r"only SQLite is served, not '(postgresql|mysql)'"):
        sqlalchemy.create_engine(url)


def test_what_a_crashed_call_flushed_is_not_committed_by_the_next(
    call: Call, sources: dict[str, storage.EpisodeConnections]
) -> None:
    sessions = orm.sessionmaker(sqlalchemy.create_engine("sqlite://"))
    leaked = []  # as a global or a kept traceback would hold it
    with contextlib.suppress(ZeroDivisionError), call("a"):
        session = sessions()
        leaked.append(session)
        session.add(Note(text="lost"))
        session.flush()
        raise ZeroDivisionError
    with call("a"):
        session = sessions()
        session.add(Note(text="kept"))
        session.commit()
    assert committed(sources, "a") == ["a", "kept"]


def test_a_listener_that_raises_keeps_no_row_of_a_crashed_call(
    call: Call, sources: dict[str, storage.EpisodeConnections]
) -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    session = orm.Session(engine)

    @event.listens_for(session, "after_rollback")
    def complain(_session: orm.Session) -> None:
        raise ZeroDivisionError

    with call("a"):
        session.add(Note(text="lost"))
        session.flush()
    with call("a"), engine.begin() as connection:
        connection.execute(sqlalchemy.text("INSERT INTO notes (text) VALUES ('kept')"))
    assert committed(sources, "a") == ["a", "kept"]


def test_release_counts_the_connections_that_were_left_out(sources: dict[str, storage.EpisodeConnections]) -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    running = context.CallContext(datetime(2026, 1, 1, tzinfo=UTC), seed=0, number=1, connections=sources["a"])
    with context.entered(running):
        kept = [engine.connect(), orm.Session(engine)]
        kept[1].execute(sqlalchemy.text("SELECT 1"))
        with engine.connect():
            pass
        assert engines.release_leaks() == 2
        assert engines.release_leaks() == 0


def test_a_module_level_session_gets_each_calls_own_database(
    call: Call, sources: dict[str, storage.EpisodeConnections]
) -> None:
    session = orm.Session(sqlalchemy.create_engine("sqlite://"), expire_on_commit=False)
    for episode in ("a", "b"):
        with call(episode):
            note = session.get(Note, 1)
            assert note is not None
            assert note.text == episode
            note.text = "changed but not committed"
            session.add(Note(text="pending"))
    with call("b"):
        session.add(Note(text="committed"))
        session.commit()
    assert committed(sources, "a") == ["a"]
    assert committed(sources, "b") == ["b", "committed"]


def test_a_module_level_connection_gets_each_calls_own_database(
    call: Call, sources: dict[str, storage.EpisodeConnections]
) -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    with call("a"):
        connection = engine.connect()
    for episode in ("a", "b", "a"):
        with call(episode):
            assert connection.scalar(sqlalchemy.text("SELECT text FROM notes")) == episode
            connection.execute(sqlalchemy.text("INSERT INTO notes (text) VALUES ('never committed')"))
    with call("b"):
        connection.execute(sqlalchemy.text("INSERT INTO notes (text) VALUES ('committed')"))
        connection.commit()
    assert committed(sources, "a") == ["a"]
    assert committed(sources, "b") == ["b", "committed"]


def test_a_leaked_driver_connection_is_taken_back(call: Call, sources: dict[str, storage.EpisodeConnections]) -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    with call("a"):
        leaked = engine.raw_connection()
        leaked.cursor().execute("INSERT INTO notes (text) VALUES ('lost')")
    with call("a"), engine.begin() as connection:
        connection.execute(sqlalchemy.text("INSERT INTO notes (text) VALUES ('kept')"))
    del leaked
    gc.collect()
    assert committed(sources, "a") == ["a", "kept"]


def test_two_sessions_of_a_call_have_a_connection_each(
    call: Call, sources: dict[str, storage.EpisodeConnections]
) -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    with call("a"), orm.Session(engine) as reader, orm.Session(engine) as writer:
        before = reader.scalar(sqlalchemy.select(sqlalchemy.func.count(Note.id)))
        writer.add(Note(text="second"))
        writer.flush()
        unseen = reader.scalar(sqlalchemy.select(sqlalchemy.func.count(Note.id)))
        writer.commit()
        assert (before, unseen) == (1, 1)
    assert committed(sources, "a") == ["a", "second"]


def test_a_session_that_the_code_forgets_does_not_lock_out_the_next(
    call: Call, sources: dict[str, storage.EpisodeConnections]
) -> None:
    engine = sqlalchemy.create_engine("sqlite://")

    def forget() -> None:
        orm.Session(engine).execute(sqlalchemy.text("INSERT INTO notes (text) VALUES ('forgotten')"))

    with call("a"):
        forget()
        gc.collect()
        with orm.Session(engine) as session:
            session.add(Note(text="kept"))
            session.commit()
    assert committed(sources, "a") == ["a", "kept"]


def test_connect_listeners_fire_once_per_connection_and_the_dialect_starts_once(call: Call) -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    connected: list[sqlite3.Connection] = []

    @event.listens_for(engine, "connect")
    def switch_on_foreign_keys(connection: sqlite3.Connection, _record: object) -> None:
        connected.append(connection)
        connection.execute("PRAGMA foreign_keys=ON")

    started = []
    initialize = engine.dialect.initialize

    def count(connection: sqlalchemy.Connection) -> None:
        started.append(connection)
        initialize(connection)

    engine.dialect.initialize = count  # type: ignore[method-assign]
    leaked = []
    for episode in ("a", "b", "a", "b"):
        with call(episode):
            leaked.append(engine.connect())
            assert leaked[-1].scalar(sqlalchemy.text("PRAGMA foreign_keys")) == 1
    assert len(connected) == 2
    assert len(started) == 1


def test_autocommit_of_one_engine_stays_with_it(call: Call, sources: dict[str, storage.EpisodeConnections]) -> None:
    automatic = sqlalchemy.create_engine("sqlite://", isolation_level="AUTOCOMMIT")
    plain = sqlalchemy.create_engine("sqlite://")
    for _ in range(2):
        with call("a"):
            with automatic.connect() as connection:
                connection.execute(sqlalchemy.text("INSERT INTO notes (text) VALUES ('automatic')"))
            with plain.connect() as connection:
                connection.execute(sqlalchemy.text("INSERT INTO notes (text) VALUES ('plain')"))
    assert committed(sources, "a") == ["a", "automatic", "automatic"]


def test_sqlalchemys_own_functions_are_there(call: Call) -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    with call("a"), orm.Session(engine) as session:
        assert session.scalar(sqlalchemy.select(Note.text).where(Note.text.regexp_match("^a$"))) == "a"


def test_disposing_of_an_engine_leaves_it_usable(call: Call) -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    with call("a"):
        engine.dispose()
        with engine.connect() as connection:
            assert connection.scalar(sqlalchemy.text("SELECT text FROM notes")) == "a"


def test_a_connection_closed_by_hand_is_replaced(call: Call) -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    with call("a"):
        raw = engine.raw_connection()
        assert raw.driver_connection is not None
        raw.driver_connection.close()
    with call("a"), engine.connect() as connection:
        assert connection.scalar(sqlalchemy.text("SELECT text FROM notes")) == "a"


def test_a_thread_without_an_episode_is_refused(call: Call) -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    failures: list[Exception] = []

    def use() -> None:
        try:
            engine.connect()
        except context.OutsideEpisode as exc:
            failures.append(exc)

    with call("a"):
        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
    assert len(failures) == 1


def test_a_connection_by_hand_opens_the_episode_and_ends_with_the_call(
    call: Call, sources: dict[str, storage.EpisodeConnections]
) -> None:
    with call("b"):
        connection = engines.connect_raw("/anywhere/at/all.db", timeout=3, check_same_thread=False)
        assert connection.execute("SELECT text FROM notes").fetchall() == [("b",)]
        connection.execute("INSERT INTO notes (text) VALUES ('lost')")
    with pytest.raises(sqlite3.ProgrammingError):
        connection.execute("SELECT 1")
    assert committed(sources, "b") == ["b"]


def test_a_finished_episode_is_not_kept_alive_by_engines(tmp_path: Path) -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    source = storage.EpisodeConnections(tmp_path / "c.db", foreign_keys=False, max_bytes=1 << 24)
    running = context.CallContext(datetime(2026, 1, 1, tzinfo=UTC), seed=0, number=1, connections=source)
    with context.entered(running):
        engine.connect().close()
        engines.release_leaks()
    source.close()
    assert isinstance(engine.pool, engines.EpisodePool)
    assert len(engine.pool._kept) == 1
    del source, running
    gc.collect()
    assert len(engine.pool._kept) == 0
