"""What a new process makes of the episodes that a killed one left: at every step that a kill may come between."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import bundles
import instances
import pytest

from awm_runtime.bundle import database
from awm_runtime.contract import episodes as contract
from awm_runtime.contract import problems
from awm_runtime.server import episodes, inflight, settings, traces

TTL = {"ttl_s": 60.0, "retain_s": 60.0}


@pytest.fixture
def world(tmp_path: Path) -> episodes.World:
    seed = tmp_path / "seed.db"
    database.build(bundles.SCHEMA, bundles.SEED, bundles.CLOCK, seed, "on")
    return episodes.World(
        seed=seed, seed_hash=database.state_hash(seed), clock=bundles.CLOCK, foreign_keys=True, tasks=frozenset()
    )


@pytest.fixture
def restart(tmp_path: Path, world: episodes.World) -> Callable[..., episodes.EpisodeStore]:
    """A new process's store on the same folder."""

    def start(*left: inflight.Entry, memory_lost: bool = False) -> episodes.EpisodeStore:
        store = episodes.EpisodeStore(tmp_path / "episodes", world, settings.Settings())
        store.recover(list(left), memory_lost=memory_lost)
        return store

    return start


Restart = Callable[..., episodes.EpisodeStore]


def played(store: episodes.EpisodeStore, *names: str) -> episodes.Episode:
    """An episode in which each name was added by a call of its own."""
    episode = store.open(contract.EpisodeSpec(), **TTL)
    for number, name in enumerate(names, 1):
        write(episode, name)
        traces.append(episode.trace, line(number))
        episode.tally.add(number, None, None)
    return episode


def write(episode: episodes.Episode, name: str) -> None:
    connection = episode.connections.acquire()
    connection.execute("INSERT INTO items (name) VALUES (?)", (name,))
    connection.commit()
    episode.connections.release(connection)


def line(number: int) -> bytes:
    return traces.Record(
        n=number,
        at=datetime.now(UTC).isoformat(),
        tool="add",
        arguments={},
        result="",
        is_error=False,
        blame=None,
        code=None,
        status=200,
        ms=1.0,
    ).line()


def names(episode: episodes.Episode) -> list[str]:
    with sqlite3.connect(episode.database) as connection:
        found = [name for (name,) in connection.execute("SELECT name FROM items ORDER BY id")]
    connection.close()
    return found


def test_everything_of_an_episode_is_found_again(restart: Restart) -> None:
    before = played(restart(), "a", "b")
    after = restart().get(before.id)
    assert after.meta == before.meta
    assert (after.tally.calls, after.tally.errors) == (2, before.tally.errors)
    assert after.state_hash() == before.state_hash()
    assert names(after) == ["first", "a", "b"]


def test_a_call_in_flight_interrupts_its_episode_alone(restart: Restart) -> None:
    store = restart()
    cut, other = played(store, "a"), played(store, "a")
    store = restart(inflight.Entry(cut.id, 2, 0))
    assert store.get(cut.id).meta.interrupted == 2
    assert store.get(cut.id).tally.masking == [2]
    assert store.get(other.id).meta.interrupted is None
    assert [json.loads(row)["code"] for row in store.get(cut.id).trace.read_text().splitlines()] == [
        None,
        "episode_interrupted",
    ]


def test_a_call_that_was_written_down_is_not_interrupted(restart: Restart) -> None:
    cut = played(restart(), "a")
    assert restart(inflight.Entry(cut.id, 1, 0)).get(cut.id).meta.interrupted is None


def test_an_interruption_is_kept_by_later_processes_until_a_reset(restart: Restart) -> None:
    cut = played(restart(), "a")
    restart(inflight.Entry(cut.id, 2, 0))
    store = restart()
    assert store.get(cut.id).meta.interrupted == 2
    store.reset(store.get(cut.id), seed=None)
    assert restart().get(cut.id).meta.interrupted is None


def test_a_process_that_is_killed_while_it_recovers_forgets_no_interruption(restart: Restart) -> None:
    cut = played(restart(), "a")
    entry = inflight.Entry(cut.id, 2, 0)
    trace = cut.trace.read_bytes()
    restart(entry)
    cut.trace.write_bytes(trace)  # as if the kill had come before the line was written
    again = restart(entry).get(cut.id)
    assert again.meta.interrupted == 2
    assert again.tally.masking == [2]


def test_the_table_of_calls_keeps_them_until_they_are_taken_back(tmp_path: Path) -> None:
    killed = inflight.InFlightTable(tmp_path / "inflight")
    killed.mark("ep_a", 3, 10)
    first = inflight.InFlightTable(tmp_path / "inflight")
    assert first.entries() == [inflight.Entry("ep_a", 3, 10)]
    slot = first.mark("(start)", 0, 99)
    second = inflight.InFlightTable(tmp_path / "inflight")  # the first was killed before it took them back
    left = second.entries()
    assert sorted(each.episode for each in left) == ["(start)", "ep_a"]
    assert second.mark("(start)", 0, 100) not in (slot, None)
    second.take_back(left)
    assert second.entries() == [inflight.Entry("(start)", 0, 100)]
    room = inflight.SLOTS - 2  # one is the event loop's
    assert len({second.mark("ep_b", number, 10) for number in range(room)} - {None}) == room
    assert second.mark("ep_b", 0, 10) is None
    for table in (killed, first, second):
        table.close()


def test_an_episode_that_was_being_opened_is_gone(restart: Restart, tmp_path: Path, world: episodes.World) -> None:
    restart()
    folder = tmp_path / "episodes" / "ep_half"
    folder.mkdir()
    shutil.copyfile(world.seed, folder / "0.db.part")
    store = restart()
    assert not list(store)
    assert not folder.exists()


@pytest.mark.parametrize("left", [("1.db.part",), ("1.db",), ("1.db", "meta.json.part")])
def test_a_reset_that_was_cut_off_before_its_meta_never_happened(
    restart: Restart, world: episodes.World, left: tuple[str, ...]
) -> None:
    episode = played(restart(), "a")
    for name in left:
        shutil.copyfile(world.seed, episode.folder / name)
    store = restart()
    assert names(store.get(episode.id)) == ["first", "a"]
    store.reset(store.get(episode.id), seed=None)
    assert names(restart().get(episode.id)) == ["first"]


def test_a_reset_that_was_cut_off_after_its_meta_happened(restart: Restart) -> None:
    store = restart()
    episode = played(store, "a")
    old = {path.name: path.read_bytes() for path in episode.folder.iterdir() if path.name != "meta.json"}
    assert {"0.db", "0.jsonl"} <= set(old)
    store.reset(episode, seed=None)
    for name, content in old.items():  # as if the kill had come before these were removed
        (episode.folder / name).write_bytes(content)
    after = restart().get(episode.id)
    assert names(after) == ["first"]
    assert after.tally.calls == 0
    assert sorted(path.name for path in after.folder.iterdir()) == ["1.db", "meta.json"]


def test_a_line_that_was_cut_off_is_removed_from_the_log(restart: Restart) -> None:
    episode = played(restart(), "a")
    with episode.trace.open("ab") as log:
        log.write(line(2)[:20])
    after = restart().get(episode.id)
    assert after.tally.calls == 1
    traces.append(after.trace, line(2))
    assert [json.loads(each)["n"] for each in after.trace.read_text().splitlines()] == [1, 2]


def test_a_transaction_that_was_cut_off_is_rolled_back(restart: Restart, tmp_path: Path) -> None:
    episode = played(restart(), "a")
    expected = episode.state_hash()
    copies = tmp_path / "copies"
    copies.mkdir()
    connection = episode.connections.acquire()
    connection.execute("PRAGMA cache_size = 1")
    connection.executemany("INSERT INTO items (name) VALUES (?)", [("x" * 500,)] * 200)
    for path in episode.folder.glob("0.db*"):
        shutil.copyfile(path, copies / path.name)
    episode.connections.release(connection)
    for path in copies.iterdir():
        shutil.copyfile(path, episode.folder / path.name)
    with pytest.raises(sqlite3.OperationalError):  # a reader that may not write cannot roll it back
        database.state_hash(episode.database)
    assert restart().get(episode.id).state_hash() == expected


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda folder: (folder / "meta.json").write_text("{"), id="meta is no JSON"),
        pytest.param(lambda folder: (folder / "0.db").unlink(), id="no database"),
        pytest.param(lambda folder: (folder / "meta.json").write_text('{"id": "ep_other"}'), id="meta of another"),
    ],
)
def test_an_episode_that_cannot_be_read_is_lost_alone(restart: Restart, spoil: Callable[[Path], object]) -> None:
    store = restart()
    spoiled, other = played(store, "a"), played(store, "a")
    spoil(spoiled.folder)
    store = restart()
    with pytest.raises(problems.ProblemError) as caught:
        store.get(spoiled.id)
    assert caught.value.code is problems.Code.EPISODE_LOST
    assert [each.id for each in store] == [other.id]
    assert spoiled.folder.exists()


def test_a_spoiled_line_of_the_log_interrupts_an_episode_whose_state_is_kept(restart: Restart) -> None:
    episode = played(restart(), "a", "b")
    lines = episode.trace.read_bytes().splitlines(keepends=True)
    episode.trace.write_bytes(lines[0] + b"nonsense\n")
    for _ in range(2):  # the second process finds a log without it
        after = restart().get(episode.id)
        assert (after.meta.interrupted, after.tally.calls) == (2, 1)
        assert names(after) == ["first", "a", "b"]
    assert after.trace.read_bytes() == lines[0]


def test_what_else_lies_in_an_episodes_folder_is_removed(restart: Restart) -> None:
    episode = played(restart(), "a")
    (episode.folder / "made by scenario code").mkdir()
    (episode.folder / "7.db").touch()
    after = restart().get(episode.id)
    assert sorted(path.name for path in after.folder.iterdir()) == ["0.db", "0.db-journal", "0.jsonl", "meta.json"]


def test_a_file_among_the_episodes_is_left_alone(restart: Restart, tmp_path: Path) -> None:
    restart()
    (tmp_path / "episodes" / "note").touch()
    assert not list(restart())


def test_forgetting_that_was_cut_off_is_finished(restart: Restart) -> None:
    episode = played(restart(), "a")
    (episode.folder / "meta.json").unlink()  # the first of what `forget` removes
    assert not list(restart())
    assert not episode.folder.exists()


def test_state_in_memory_is_lost_with_its_process(restart: Restart) -> None:
    store = restart()
    called, untouched, closed = played(store, "a"), played(store), played(store, "a")
    store.close(closed)
    store = restart(memory_lost=True)
    assert [store.get(each.id).meta.interrupted for each in (called, untouched, closed)] == [1, None, None]


def test_a_full_disk_leaves_no_half_line_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "0.jsonl"
    traces.append(log, line(1))
    real = traces.os.write
    monkeypatch.setattr(traces.os, "write", lambda descriptor, data: real(descriptor, data[:10]))
    with pytest.raises(OSError, match="No space left"):
        traces.append(log, line(2))
    monkeypatch.undo()
    traces.append(log, line(2))
    assert [row["n"] for row in map(json.loads, log.read_text().splitlines())] == [1, 2]


def test_a_real_instance_takes_up_a_log_that_was_cut_off(tmp_path: Path) -> None:
    """In a confined process, which may do less with files than the tests above."""
    bundle = bundles.make(tmp_path / "plain", PLAIN)
    with instances.running(bundle, tmp_path / "state") as first:
        episode = first.open()
        first.call(episode, "add", name="a")
    [log] = (tmp_path / "state").glob(f"*/episodes/{episode.id}/0.jsonl")
    with log.open("ab") as file:
        file.write(b'{"n": 2, "at"')
    with instances.running(bundle, tmp_path / "state") as second:
        assert second.control.get(episode.id).calls == 1
        second.control.reset(episode.id)


PLAIN = """
import os

from fastapi import FastAPI
from sqlalchemy import create_engine, text

app = FastAPI()
engine = create_engine(os.environ["DATABASE_PATH"])


@app.post("/items", operation_id="add")
def add(name: str):
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO items (name) VALUES (:name)"), {"name": name})
"""
