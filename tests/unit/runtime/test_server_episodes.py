"""The store of episodes: leases, retention and what survives a full disk, on a clock that the test moves."""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import disks
import orjson
import pytest

from awm_runtime.bundle import database
from awm_runtime.contract import episodes as contract
from awm_runtime.contract import problems
from awm_runtime.server import episodes, inflight, settings, storage, traces

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
CLOCK = datetime(2026, 1, 15, 9, tzinfo=UTC)
SPEC = contract.EpisodeSpec()


class Clock:
    """A wall clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., episodes.EpisodeStore]]:
    """Makes the store of the test's folder, as often as the process is to have been started."""
    seed = tmp_path / "seed.db"
    database.build("CREATE TABLE items (id INTEGER PRIMARY KEY)", "INSERT INTO items VALUES (1)", CLOCK, seed, "on")
    world = episodes.World(
        seed=seed, seed_hash=database.state_hash(seed), clock=CLOCK, foreign_keys=True, tasks=frozenset({"1"})
    )
    made: list[episodes.EpisodeStore] = []

    def started(**limits: Any) -> episodes.EpisodeStore:
        made.append(episodes.EpisodeStore(tmp_path / "episodes", world, settings.Settings(**limits), now=clock))
        return made[-1]

    yield started
    for each in made:
        each.close_connections()


def _open(
    store: episodes.EpisodeStore, *, ttl_s: float = 100.0, retain_s: float = 50.0, **spec: Any
) -> episodes.Episode:
    return store.open(contract.EpisodeSpec(**spec), ttl_s=ttl_s, retain_s=retain_s)


def _code(store: episodes.EpisodeStore, id: str) -> str:
    with pytest.raises(problems.ProblemError) as caught:
        store.get_open(id)
    return caught.value.code


def _insert(episode: episodes.Episode) -> None:
    connection = episode.connections.acquire()
    connection.execute("INSERT INTO items DEFAULT VALUES")
    connection.commit()
    episode.connections.release(connection)
    episode.tally.add(episode.tally.calls + 1, None, None)


# Leases and retention


def test_an_episode_expires_when_its_lease_runs_out_and_not_before(
    make: Callable[..., episodes.EpisodeStore], clock: Clock
) -> None:
    store = make()
    id = _open(store, ttl_s=100).id
    clock.pass_by(99)
    assert store.get_open(id).meta.state == "open"
    clock.pass_by(1)
    assert _code(store, id) == "episode_expired"


def test_a_heartbeat_and_a_reset_begin_the_lease_anew(make: Callable[..., episodes.EpisodeStore], clock: Clock) -> None:
    store = make()
    episode = _open(store, ttl_s=100)
    clock.pass_by(90)
    assert store.renew(episode) == clock.now + timedelta(seconds=100)
    clock.pass_by(90)
    store.reset(episode, seed=None)
    clock.pass_by(90)
    assert store.get_open(episode.id) is episode


def test_a_call_that_runs_keeps_its_connections_when_the_lease_runs_out(
    make: Callable[..., episodes.EpisodeStore], clock: Clock
) -> None:
    store = make()
    episode = _open(store, ttl_s=1)

    async def in_call() -> None:
        async with episode.lock:
            connection = episode.connections.acquire()
            clock.pass_by(2)
            assert store.get(episode.id).meta.state == "expired"
            assert connection.execute("SELECT count(*) FROM items").fetchone() == (1,)
            episode.connections.release(connection)

    asyncio.run(in_call())


def test_an_idle_episode_expires_and_the_default_one_does_not(make: Callable[..., episodes.EpisodeStore]) -> None:
    store = make(idle_s=1e-9)
    idle, default = _open(store), store.default()
    store.sweep()
    assert (idle.meta.state, default.meta.state) == ("expired", "open")


def test_a_closed_episode_is_kept_for_its_retention_and_then_forgotten(
    make: Callable[..., episodes.EpisodeStore], clock: Clock
) -> None:
    store = make()
    episode = _open(store, retain_s=50)
    store.close(episode)
    clock.pass_by(49)
    store.sweep()
    assert store.get(episode.id) is episode
    clock.pass_by(1)
    store.sweep()
    assert _code(store, episode.id) == "unknown_episode"
    assert not episode.folder.exists()


def test_kept_episodes_that_ended_first_make_room_for_later_ones(
    make: Callable[..., episodes.EpisodeStore], clock: Clock, tmp_path: Path
) -> None:
    size = (tmp_path / "seed.db").stat().st_size + 1000  # a database and its meta
    store = make(retain_bytes=2 * size)
    closed = []
    for _ in range(4):
        closed.append(_open(store, retain_s=1000))
        clock.pass_by(1)
        store.close(closed[-1])
    running = _open(store)
    store.sweep()
    assert [each.folder.exists() for each in closed] == [False, False, True, True]
    assert running.folder.exists()


def test_the_default_episode_is_one_until_it_is_closed(make: Callable[..., episodes.EpisodeStore]) -> None:
    store = make()
    first = store.default()
    _insert(first)
    assert store.default() is first
    store.close(first)
    second = store.default()
    assert (second.id, second.state_hash()) == (first.id, store.world.seed_hash)


# Opening


def test_a_fork_takes_task_seed_and_state_over_unless_it_is_given_others(
    make: Callable[..., episodes.EpisodeStore],
) -> None:
    store = make()
    source = _open(store, task="1", seed=5)
    _insert(source)
    same, other = _open(store, source=source.id), _open(store, source=source.id, seed=6)
    assert (same.meta.task, same.meta.seed, other.meta.seed) == ("1", 5, 6)
    assert same.state_hash() == source.state_hash() != store.world.seed_hash


def test_seeds_are_drawn_where_none_is_given(make: Callable[..., episodes.EpisodeStore]) -> None:
    store = make()
    assert len({_open(store).meta.seed for _ in range(5)}) == 5


def test_only_open_episodes_count_against_the_limit(make: Callable[..., episodes.EpisodeStore]) -> None:
    store = make(episodes=2)
    first = _open(store)
    _open(store)
    with pytest.raises(problems.ProblemError) as caught:
        _open(store)
    assert caught.value.code == "at_capacity"
    store.close(first)
    assert _open(store).meta.state == "open"


# A full disk


def test_without_room_no_episode_is_opened_and_nothing_of_it_stays(
    make: Callable[..., episodes.EpisodeStore], tmp_path: Path
) -> None:
    store = make()
    with disks.full(), pytest.raises(problems.ProblemError) as caught:
        _open(store)
    assert (caught.value.code, caught.value.blame) == ("at_capacity", "infrastructure")
    assert list((tmp_path / "episodes").iterdir()) == []
    assert list(store) == []


def test_without_room_a_reset_leaves_the_episode_as_it_was(make: Callable[..., episodes.EpisodeStore]) -> None:
    store = make()
    episode = _open(store, seed=5)
    _insert(episode)
    state = episode.state_hash()
    with disks.full(), pytest.raises(OSError, match="too large"):
        store.reset(episode, seed=6)
    assert (episode.meta.seed, episode.tally.calls, episode.state_hash()) == (5, 1, state)
    assert {path.name.split(".")[0] for path in episode.folder.iterdir()} == {"0", "meta"}
    store.reset(episode, seed=6)
    assert (episode.meta.seed, episode.state_hash()) == (6, store.world.seed_hash)


def test_without_room_leases_and_ends_are_still_kept_track_of(
    make: Callable[..., episodes.EpisodeStore], clock: Clock
) -> None:
    store = make()
    renewed, closed, expired = _open(store), _open(store), _open(store, ttl_s=1)
    clock.pass_by(2)
    with disks.full():
        store.renew(renewed)
        store.close(closed)
        store.sweep()
        store.interrupt(renewed, 1)
    assert (closed.meta.state, expired.meta.state) == ("closed", "expired")
    assert (renewed.meta.expires_at, renewed.meta.interrupted) == (clock.now + timedelta(seconds=100), 1)


# Coming back


def test_a_restarted_store_finds_its_episodes_and_forgets_what_was_never_acknowledged(
    make: Callable[..., episodes.EpisodeStore], tmp_path: Path, clock: Clock
) -> None:
    store = make()
    kept, closed = _open(store, task="1", seed=5, group="g"), _open(store)
    _insert(kept)
    traces.append(kept.trace, _line(1))
    store.close(closed)
    store.close_connections()
    shutil.copytree(kept.folder, tmp_path / "episodes" / "ep_half", ignore=shutil.ignore_patterns("meta.json"))
    (kept.folder / "1.db").write_bytes(b"a reset that was cut off")
    again = make()
    again.recover([])
    assert {each.id for each in again} == {kept.id, closed.id}
    found = again.get_open(kept.id)
    assert (found.meta, found.tally.calls, found.state_hash()) == (kept.meta, 1, kept.state_hash())
    assert _code(again, closed.id) == "episode_closed"
    assert not (tmp_path / "episodes" / "ep_half").exists()
    assert not (kept.folder / "1.db").exists()


def test_a_call_that_was_cut_off_interrupts_its_episode_and_one_that_was_recorded_does_not(
    make: Callable[..., episodes.EpisodeStore],
) -> None:
    store = make()
    cut_off, recorded = _open(store), _open(store)
    traces.append(recorded.trace, _line(1))
    store.close_connections()
    again = make()
    again.recover([inflight.Entry(each.id, 1, 0, "add_item") for each in (cut_off, recorded)])
    assert again.get(cut_off.id).meta.interrupted == 1
    assert again.get(cut_off.id).tally.errors.infrastructure == 1
    assert again.get(recorded.id).meta.interrupted is None
    line = orjson.loads(again.get(cut_off.id).trace.read_bytes())
    assert (line["tool"], line["code"], line["at"]) == ("add_item", "episode_interrupted", "2026-03-01T12:00:00Z")


def _spoil_meta(episode: episodes.Episode) -> None:
    meta = episode.folder / "meta.json"
    meta.unlink()
    meta.mkdir()


def test_an_episode_that_cannot_be_read_is_lost_and_forgotten_when_its_retention_ends(
    make: Callable[..., episodes.EpisodeStore], clock: Clock
) -> None:
    store = make()
    spoiled, other = _open(store), _open(store, ttl_s=10_000)
    _spoil_meta(spoiled)
    store.close_connections()
    again = make()
    again.recover([inflight.Entry(spoiled.id, 1, 0)])
    with pytest.raises(problems.ProblemError) as caught:
        again.get(spoiled.id)
    assert (caught.value.code, caught.value.blame, caught.value.problem.status) == (
        "episode_lost",
        "infrastructure",
        410,
    )
    assert again.get_open(other.id).meta == other.meta
    clock.pass_by(contract.DEFAULT_RETAIN_S - 1)
    again.sweep()
    assert _code(again, spoiled.id) == "episode_lost"
    assert spoiled.folder.exists()
    clock.pass_by(1)
    again.sweep()
    assert _code(again, spoiled.id) == "unknown_episode"
    assert not spoiled.folder.exists()


def test_lost_episodes_share_the_room_of_kept_ones(make: Callable[..., episodes.EpisodeStore]) -> None:
    spoiled = _open(make())
    _spoil_meta(spoiled)
    again = make(retain_bytes=100)
    again.recover([])
    again.sweep()
    assert not spoiled.folder.exists()


def test_a_default_episode_that_is_lost_begins_anew(make: Callable[..., episodes.EpisodeStore]) -> None:
    store = make()
    _insert(store.default())
    _spoil_meta(store.default())
    store.close_connections()
    again = make()
    again.recover([])
    assert again.default().state_hash() == again.world.seed_hash


def test_an_episode_whose_meta_became_a_folder_is_still_renewed_closed_and_swept(
    make: Callable[..., episodes.EpisodeStore], clock: Clock
) -> None:
    store = make()
    renewed, closed, expired = _open(store, ttl_s=10), _open(store), _open(store, ttl_s=5)
    for each in (renewed, closed, expired):
        _spoil_meta(each)
    clock.pass_by(5)
    store.renew(renewed)
    store.close(closed)
    store.sweep()
    clock.pass_by(6)
    assert [store.get(each.id).meta.state for each in (renewed, closed, expired)] == ["open", "closed", "expired"]
    clock.pass_by(100)
    store.sweep()
    store.sweep()
    assert not closed.folder.exists()


def test_a_fork_counts_as_its_source_without_its_log_being_read(make: Callable[..., episodes.EpisodeStore]) -> None:
    store = make()
    source = _open(store)
    traces.append(source.trace, b"no record\n")
    for number, blame in enumerate(("agent", "environment"), start=1):
        source.tally.add(number, blame, None)
    source.tally.log_bytes = 10
    fork = _open(store, source=source.id)
    assert fork.tally == source.tally
    assert fork.trace.read_bytes() == b"no record\n"
    fork.tally.add(3, "infrastructure", None)
    assert (source.tally.calls, source.tally.masking, source.tally.errors.infrastructure) == (2, [2], 0)


def test_a_journal_of_a_killed_process_does_not_keep_the_state_from_being_read(
    make: Callable[..., episodes.EpisodeStore], tmp_path: Path
) -> None:
    store = make()
    episode = _open(store)
    connection = storage.connect(episode.folder / "0.db", foreign_keys=True, max_bytes=1 << 20)
    connection.execute("PRAGMA cache_spill=ON")
    connection.execute("PRAGMA cache_size=1")
    connection.execute(
        "INSERT INTO items WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i+1 FROM n LIMIT 9000) SELECT i FROM n"
    )
    killed = tmp_path / "killed"
    shutil.copytree(episode.folder, killed)  # what the disk has in the middle of the transaction
    connection.rollback()
    connection.close()
    shutil.rmtree(episode.folder)
    killed.rename(episode.folder)
    assert (episode.folder / "0.db-journal").read_bytes()[:8] != bytes(8)
    episode.hashed = None
    assert episode.state_hash() == store.world.seed_hash


def _line(number: int) -> bytes:
    return traces.Record(
        n=number, at="", tool="t", arguments={}, result="", is_error=False, blame=None, code=None, status=200, ms=1.0
    ).line()
