"""The same seed and the same calls give the same replies and the same database: interleaved, in another process, on
another version of Python."""

import contextlib
import dataclasses
import json
import os
import random
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path

import bundles
import instances
import pytest
import random_calls

from awm_fleet import examples
from awm_generator.awm_files import importing, rows
from awm_registry import client
from awm_runtime.bundle import database, reading, writing
from awm_runtime.contract import episodes
from awm_runtime.server import keeper, launching

DICE = """
import os, random, secrets, uuid
from datetime import datetime

from fastapi import FastAPI
from sqlalchemy import create_engine, text

app = FastAPI()
engine = create_engine(os.environ["DATABASE_PATH"])


@app.post("/throw", operation_id="throw")
def throw():
    with engine.connect() as connection:
        rolled = connection.execute(text("SELECT random()")).scalar()
    return [random.random(), secrets.token_hex(), uuid.uuid4(), os.urandom(4).hex(), datetime.now(), rolled]
"""
CLIENTS = 8
SAMPLES = ("rover", "etsy_digital_downloads", "samsara_fleet_asset_maintenance_management", "surveymonkey_apply")
EPISODES = {"library": 64}
FEWER = 8
CALLS = 15


@dataclass(frozen=True)
class Played:
    """What one episode was asked and what came of it.

    Attributes:
        seed: The episode's.
        calls: The calls, in order.
        replies: What each answered, and whether it was an error.
        state_hash: The database at the end.
    """

    seed: int
    calls: tuple[random_calls.Call, ...]
    replies: tuple[client.Reply, ...]
    state_hash: str | None


@dataclass(frozen=True)
class World:
    """A served scenario and the episodes that were played in it one after another."""

    bundle: Path
    instance: instances.Running
    untouched: str | None
    played: tuple[Played, ...]


@pytest.fixture(scope="module", params=[*examples.names(), *SAMPLES])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    name = request.param
    folder = tmp_path_factory.mktemp(name)
    if name in SAMPLES:
        sample = request.getfixturevalue("sample")
        assert importing.import_one(rows.load(sample)[name], folder).bundle is not None
        bundle = folder / name
    else:
        bundle = examples.path(name)
    with instances.running(bundle, folder / "state") as instance:
        scout = instance.open(seed=0)
        seen = random_calls.look_around(instance.tools(scout.mcp_url))
        count = EPISODES.get(name, FEWER)
        played = tuple(play_at_random(instance, seed, seen.copy()) for seed in range(count))
        yield World(bundle, instance, scout.state_hash, played)


def play_at_random(instance: instances.Running, seed: int, seen: random_calls.Seen) -> Played:
    episode = instance.open(seed=seed)
    tools = instance.tools(episode.mcp_url)
    player = random_calls.Player(tools.tools(), seen, random.Random(seed))
    calls, replies = [], []
    for _ in range(CALLS):
        name, arguments = player.next()
        reply = tools.call(name, arguments)
        seen.learn(reply.data())
        calls.append((name, arguments))
        replies.append(reply)
    return Played(seed, tuple(calls), tuple(replies), instance.control.get(episode.id).state_hash)


def replay(instance: instances.Running, plays: Sequence[Played], *, order: random.Random) -> list[episodes.EpisodeView]:
    """Makes the calls of all episodes again, from `CLIENTS` clients at once, the episodes in any order."""
    opened = [instance.open(seed=each.seed) for each in plays]
    turns = [index for index, each in enumerate(plays) for _ in each.calls]
    order.shuffle(turns)
    made = [0] * len(plays)
    replies: list[list[client.Reply]] = [[] for _ in plays]
    for each in opened:
        instance.tools(each.mcp_url)  # made here: the threads share them

    def call(index: int) -> None:
        name, arguments = plays[index].calls[made[index]]
        made[index] += 1
        replies[index].append(instance.tools(opened[index].mcp_url).call(name, arguments))

    with futures.ThreadPoolExecutor(CLIENTS) as pool:
        for batch in rounds(turns):
            list(pool.map(call, batch))
    assert [tuple(each) for each in replies] == [each.replies for each in plays]
    return [instance.control.get(each.id) for each in opened]


def rounds(turns: list[int]) -> Iterator[list[int]]:
    """Cuts the turns so that no episode has two in one part: its own calls stay in order."""
    part: list[int] = []
    for turn in turns:
        if turn in part or len(part) == 4 * CLIENTS:
            yield part
            part = []
        part.append(turn)
    yield part


def test_random_calls_change_the_database(world: World) -> None:
    """Otherwise the tests below would hold for nothing."""
    changed = [each for each in world.played if each.state_hash != world.untouched]
    assert len(changed) >= 0.7 * len(world.played)
    assert len({each.state_hash for each in changed}) >= 0.7 * len(changed)


def test_interleaved_episodes_end_as_those_played_one_after_another(world: World) -> None:
    after = replay(world.instance, world.played, order=random.Random(1))
    assert [each.state_hash for each in after] == [each.state_hash for each in world.played]


def test_another_process_plays_the_same(world: World, tmp_path: Path) -> None:
    with instances.running(world.bundle, tmp_path / "state") as other:
        after = replay(other, world.played[:FEWER], order=random.Random(2))
        assert [each.state_hash for each in after] == [each.state_hash for each in world.played[:FEWER]]


def test_another_python_plays_the_same(world: World, tmp_path: Path, python312: Path) -> None:
    with on(python312, world.bundle, tmp_path / "state") as other:
        after = replay(other, world.played[:FEWER], order=random.Random(3))
        assert [each.state_hash for each in after] == [each.state_hash for each in world.played[:FEWER]]
        [again] = replay(world.instance, world.played[:1], order=random.Random(4))
        assert dump(other, after[0]) == dump(world.instance, again)


def test_episodes_in_processes_of_their_own_play_the_same(tmp_path: Path) -> None:
    shared = reading.read(examples.path("library"))
    scenario = shared.scenario.model_copy(update={"isolation": "process"})
    apart = writing.write(dataclasses.replace(shared, scenario=scenario), tmp_path / "library").root
    with (
        instances.running(shared.root, tmp_path / "shared") as one,
        instances.running(apart, tmp_path / "apart", call_deadline_s=60) as other,
    ):
        seen = random_calls.look_around(one.tools(one.open(seed=0).mcp_url))
        played = [play_at_random(one, seed, seen.copy()) for seed in range(FEWER)]
        after = replay(other, played, order=random.Random(5))
        assert [each.state_hash for each in after] == [each.state_hash for each in played]


def test_a_seed_decides_what_is_random_and_a_restart_repeats_none_of_it(tmp_path: Path) -> None:
    bundle = bundles.make(tmp_path / "dice", DICE)
    with instances.running(bundle, tmp_path / "state") as instance:
        first, same, other = (instance.open(seed=seed) for seed in (1, 1, 2))
        thrown = [instance.call(first, "throw").text for _ in range(4)]
        assert [instance.call(same, "throw").text for _ in range(2)] == thrown[:2]
        assert instance.call(other, "throw").text not in thrown
        instance.process("awm_runtime.server.instance").kill()
        instances.wait_for(lambda: instance.http.get("/readyz").is_success)
        with client.ToolClient(same.mcp_url) as tools:
            assert [tools.call("throw", {}).text for _ in range(2)] == thrown[2:]
        again = instance.control.reset(first.id)
        with client.ToolClient(again.mcp_url) as tools:
            assert [tools.call("throw", {}).text for _ in range(4)] == thrown
    assert len(set(thrown)) == 4


@contextlib.contextmanager
def on(python: Path, bundle: Path, state: Path) -> Iterator[instances.Running]:
    """An instance on another interpreter."""
    state.mkdir()
    command = [python, "-m", "awm_runtime.server", bundle, "--state", state, "--port=0", "--control-port=0"]
    with (
        (state / "instance.log").open("w") as log,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=os.environ, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            address = keeper.Address(**json.loads(process.stdout.readline()))
            with contextlib.closing(instances.Running(launching.Launched(address, process), state, None)) as running:
                yield running
        finally:
            process.terminate()


def dump(instance: instances.Running, episode: episodes.EpisodeView) -> list[str]:
    with tempfile.NamedTemporaryFile(suffix=".db") as file:
        file.write(instance.control.snapshot(episode.id))
        file.flush()
        with contextlib.closing(sqlite3.connect(file.name)) as connection:
            return list(database.dump(connection))
