"""Connections to an episode's database: what scenario code can make of them, and what it cannot."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy

from awm_runtime.bundle import database
from awm_runtime.determinism import context
from awm_runtime.server import storage

CLOCK = datetime(2026, 1, 15, 9, tzinfo=UTC)
SCHEMA = "CREATE TABLE items (id INTEGER PRIMARY KEY, at TEXT DEFAULT CURRENT_TIMESTAMP)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    database.build(SCHEMA, "INSERT INTO items (id) VALUES (1)", CLOCK, tmp_path / "0.db", "on")
    return tmp_path / "0.db"


@pytest.fixture
def connections(path: Path) -> Iterator[storage.EpisodeConnections]:
    made = storage.EpisodeConnections(path, foreign_keys=True, max_bytes=1 << 20)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("journal_mode", "OFF"),
        ("journal_mode", "MEMORY"),
        ("journal_mode", "WAL"),
        ("main.journal_mode", "DELETE"),
        ("Synchronous", "FULL"),
        ("max_page_count", "1073741823"),
        ("locking_mode", "EXCLUSIVE"),
        ("writable_schema", "ON"),
        ("schema_version", "77"),
    ],
)
def test_scenario_code_asks_in_vain_for_what_could_spoil_its_database(
    connections: storage.EpisodeConnections, name: str, value: str
) -> None:
    connection = connections.acquire()
    before = connection.execute(f"PRAGMA {name}").fetchone()
    for statement in (f"PRAGMA {name} = {value}", f"PRAGMA {name}({value})"):
        assert connection.execute(statement).fetchall() == []
    assert connection.execute(f"PRAGMA {name}").fetchone() == before


def test_other_pragmas_do_what_they_say(connections: storage.EpisodeConnections) -> None:
    connection = connections.acquire()
    connection.execute("PRAGMA foreign_keys = OFF")
    assert connection.execute("PRAGMA foreign_keys").fetchone() == (0,)
    assert [row[1] for row in connection.execute("PRAGMA table_info(items)")] == ["id", "at"]


def test_sqlalchemy_finds_and_makes_tables_on_a_guarded_connection(connections: storage.EpisodeConnections) -> None:
    engine = sqlalchemy.create_engine("sqlite://", creator=connections.open_raw, poolclass=sqlalchemy.NullPool)
    metadata = sqlalchemy.MetaData()
    metadata.reflect(engine)
    sqlalchemy.Table("more", metadata, sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True))
    metadata.create_all(engine)
    assert sorted(sqlalchemy.inspect(engine).get_table_names()) == ["items", "more"]
    with context.entered(context.CallContext(clock=CLOCK, seed=1, number=1)), engine.begin() as connection:
        connection.execute(metadata.tables["items"].insert().values(id=2))
        rows = connection.execute(sqlalchemy.text("SELECT at FROM items WHERE id = 2")).all()
    assert rows == [("2026-01-15 09:00:01",)]


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_snapshot_holds_what_was_committed_and_is_complete_in_itself(
    connections: storage.EpisodeConnections, tmp_path: Path, is_kept: bool
) -> None:
    connection = connections.acquire()
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("INSERT INTO items VALUES (2, 'now')")
    connection.commit()
    connections.release(connection)
    if not is_kept:
        connections.close()
    connections.snapshot(tmp_path / "copy.db")
    copy = sqlite3.connect(f"{(tmp_path / 'copy.db').as_uri()}?immutable=1", uri=True)
    assert copy.execute("SELECT id FROM items").fetchall() == [(1,), (2,)]
    assert copy.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    copy.close()
