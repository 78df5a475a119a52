"""`kill -9` at random moments under load: nothing acknowledged is lost, and what was cut off says so.

Each writer calls a tool that commits twice, and knows for each of its calls whether it was answered. `AWM_KILLS` says
how often the instance is killed.
"""

import collections
import contextlib
import os
import random
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import bundles
import instances
import psutil
import pytest

from awm_registry import client
from awm_runtime.bundle import model
from awm_runtime.contract import episodes
from awm_runtime.server import inflight

KILLS = int(os.environ.get("AWM_KILLS", "10"))
WRITERS = 6
ROWS = 120

LEDGER = """
import asyncio
import os

from fastapi import FastAPI
from sqlalchemy import create_engine, text

app = FastAPI()
engine = create_engine(os.environ["DATABASE_PATH"])


@app.post("/entries", operation_id="enter")
def enter(number: int, rows: int):
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO entries (number, text) VALUES (:number, :text)"),
            [{"number": number, "text": "x" * 3000} for _ in range(rows)],
        )
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO finished (number) VALUES (:number)"), {"number": number})
    return {"number": number}


@app.post("/nap", operation_id="enter_and_nap")
async def enter_and_nap():
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO finished (number) VALUES (1)"))
    await asyncio.sleep(600)
"""
SCHEMA = """
CREATE TABLE entries (id INTEGER PRIMARY KEY, number INTEGER NOT NULL, text TEXT NOT NULL);
CREATE INDEX entries_by_number ON entries (number);
CREATE TABLE finished (number INTEGER PRIMARY KEY);
"""
VERIFIER = """
def verify_task_completion(initial_db_path, final_db_path, final_answer=None):
    return {"result": "others"}
"""

T = TypeVar("T")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundles.make(
        tmp_path_factory.mktemp("durability") / "ledger",
        LEDGER,
        schema=SCHEMA,
        seed="",
        tasks=[model.Task(id="any", instruction="Enter.")],
        verifiers={("any", "code"): VERIFIER},
    )


@dataclass
class Writer:
    """Writes into one episode, one call after another, and checks the episode whenever a call was cut off.

    Attributes:
        answered: The calls since the last reset that were answered, with what each was to write.
        unanswered: The same for those that were not.
        seen: What became of the calls that were not answered.
    """

    instance: instances.Running
    episode: episodes.EpisodeView
    random: random.Random
    calls: int = 0
    answered: dict[int, int] = field(default_factory=dict)
    unanswered: dict[int, int] = field(default_factory=dict)
    seen: collections.Counter[str] = field(default_factory=collections.Counter)

    def write_until(self, stop: threading.Event) -> None:
        with client.ToolClient(self.episode.mcp_url) as tools:
            while not stop.is_set():
                number, rows = self._next()
                try:
                    reply = tools.call("enter", {"number": number, "rows": rows})
                except client.Unreachable:
                    self.unanswered[number] = rows
                    self.check(number)
                else:
                    assert reply.data() == {"number": number}
                    self.answered[number] = rows
        self.check(None)

    def check(self, cut: int | None) -> None:
        """Compares the episode with what is known of its calls; `cut` was under way when the instance was killed."""
        view = again(lambda: self.instance.control.get(self.episode.id))
        log = again(lambda: self.instance.control.trace(self.episode.id))
        recorded = {row["arguments"]["number"]: row for row in log if row["arguments"]}
        interrupted = [row["n"] for row in log if row["code"] == "episode_interrupted"]
        assert set(self.answered) <= set(recorded)
        assert not [row for row in recorded.values() if row["is_error"]]
        assert [row["n"] for row in log] == list(range(1, len(log) + 1))
        assert interrupted == ([] if view.interrupted is None else [view.interrupted])
        entered, finished = self._rows()
        complete = {number: rows for number, rows in {**self.answered, **self.unanswered}.items() if number in recorded}
        partly = {number: rows for number, rows in entered.items() if number not in recorded}
        assert {number: entered.get(number) for number in complete} == complete
        assert set(complete) <= finished
        if view.interrupted is None:
            assert not partly
            assert finished == set(complete)
            self.seen["done" if cut in recorded else "not begun" if cut is not None else "quiet"] += 1
            return
        assert cut is not None
        assert view.interrupted == len(log)
        assert partly in ({}, {cut: self.unanswered[cut]})
        self.seen["interrupted before the first commit" if not partly else "interrupted after it"] += 1
        self._begin_anew()

    def _begin_anew(self) -> None:
        verdict = again(lambda: self.instance.control.verify(self.episode.id))
        assert verdict.mask
        assert verdict.errors.infrastructure == 1
        fresh = again(lambda: self.instance.control.reset(self.episode.id))
        assert fresh.interrupted is None
        assert fresh.state_hash == self.episode.state_hash
        assert fresh.calls == 0
        self.answered.clear()
        self.unanswered.clear()

    def _rows(self) -> tuple[dict[int, int], set[int]]:
        """What the database holds, once SQLite has found it whole."""
        with opened(again(lambda: self.instance.control.snapshot(self.episode.id))) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            entered = dict(connection.execute("SELECT number, count(*) FROM entries GROUP BY number").fetchall())
            finished = {number for (number,) in connection.execute("SELECT number FROM finished")}
        return entered, finished

    def _next(self) -> tuple[int, int]:
        self.calls += 1
        if len(self.answered) >= 40:  # a database that grows on and on would make every check slower
            self.check(None)
            self._begin_anew_quietly()
        return self.calls, self.random.choice([1, 1, 5, ROWS])  # the last spills SQLite's cache into the file

    def _begin_anew_quietly(self) -> None:
        assert again(lambda: self.instance.control.reset(self.episode.id)).calls == 0
        self.answered.clear()
        self.unanswered.clear()


def again(ask: Callable[[], T]) -> T:
    """Asks until an answer comes: the next kill may come at any time."""
    [answer] = instances.wait_for(lambda: [ask()])
    return answer


@contextlib.contextmanager
def opened(content: bytes) -> Iterator[sqlite3.Connection]:
    with tempfile.NamedTemporaryFile(suffix=".db") as file:
        file.write(content)
        file.flush()
        with contextlib.closing(sqlite3.connect(file.name)) as connection:
            yield connection


def kill_at_random_moments(instance: instances.Running, chance: random.Random, writers: list[Any]) -> None:
    """Kills the instance `KILLS` times: mostly while calls run, sometimes while it comes back."""
    pause = threading.Event()
    for _ in range(KILLS):
        process = instances.wait_for(lambda: find(instance, instances.INSTANCE))
        if chance.random() < 0.85:
            instances.wait_for(lambda: instance.http.get("/readyz").is_success)
            pause.wait(chance.uniform(0, 0.4))
        else:
            pause.wait(chance.uniform(0, 1.0))
        process.kill()
        instances.wait_for(lambda killed=process: not killed.is_running())
        for writer in writers:
            assert not writer.done(), writer.exception()


def find(instance: instances.Running, module: str) -> psutil.Process | None:
    for child in instance.keeper.children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.status() != psutil.STATUS_ZOMBIE and module in child.cmdline():
                return child
    return None


@pytest.mark.timeout(1200)
def test_no_acknowledged_call_is_lost(bundle: Path, tmp_path: Path, record_property: Callable[..., None]) -> None:
    chance = random.Random(3)
    with instances.running(bundle, tmp_path / "state") as instance:
        still = instance.open()
        instance.call(still, "enter", number=1, rows=1)
        untouched = instance.control.get(still.id)
        writers = [Writer(instance, instance.open(task="any"), random.Random(seed)) for seed in range(WRITERS)]
        stop = threading.Event()
        with futures.ThreadPoolExecutor(WRITERS) as pool:
            running = [pool.submit(writer.write_until, stop) for writer in writers]
            try:
                kill_at_random_moments(instance, chance, running)
                instances.wait_for(lambda: instance.http.get("/readyz").is_success)
            finally:
                stop.set()
            for each in running:
                each.result()
        seen = sum((writer.seen for writer in writers), collections.Counter())
        print(f"{KILLS} kills, {sum(writer.calls for writer in writers)} calls; cut off: {dict(seen)}")
        assert seen["interrupted before the first commit"] + seen["interrupted after it"] > 0
        assert instance.control.get(still.id) == untouched
        assert instance.log().count("comes back with its episodes") == KILLS


def test_a_killed_keeper_takes_its_processes_along_and_the_next_one_finds_the_episodes(
    bundle: Path, tmp_path: Path
) -> None:
    with instances.running(bundle, tmp_path / "state") as first:
        episode = first.open(task="any")
        first.call(episode, "enter", number=1, rows=3)
        before = first.control.get(episode.id)
        others = first.keeper.children()
        assert len(others) == 2
        first.keeper.kill()
        assert not psutil.wait_procs(others, timeout=20)[1]
    with instances.running(bundle, tmp_path / "state") as second:
        after = second.control.get(episode.id)
        assert after.state_hash == before.state_hash
        assert (after.calls, after.interrupted, after.seed) == (1, None, before.seed)
        second.call(after, "enter", number=2, rows=1)
        assert second.control.get(episode.id).calls == 2


def test_a_keeper_that_is_killed_as_it_starts_leaves_nothing(bundle: Path, tmp_path: Path) -> None:
    with instances.running(bundle, tmp_path / "state") as instance:
        instance.process(instances.INSTANCE).kill()
        young = instances.wait_for(lambda: find(instance, instances.INSTANCE))
        judge = instances.wait_for(lambda: find(instance, instances.JUDGE))
        instance.keeper.kill()
        assert not psutil.wait_procs([young, judge], timeout=20)[1]


def test_an_instance_that_is_killed_while_it_comes_back_comes_back(bundle: Path, tmp_path: Path) -> None:
    with instances.running(bundle, tmp_path / "state") as instance:
        episode = instance.open()
        for _ in range(3):
            process = instances.wait_for(lambda: find(instance, instances.INSTANCE))
            process.kill()
            process.wait(20)
        assert again(lambda: instance.control.get(episode.id)).state == "open"


def test_a_killed_judge_is_replaced(bundle: Path, tmp_path: Path) -> None:
    with instances.running(bundle, tmp_path / "state") as instance:
        episode = instance.open(task="any")
        instance.process(instances.JUDGE).kill()
        verdict = instances.wait_for(
            lambda: (given := instance.control.verify(episode.id)).outcome == "failed" and given
        )
        assert not verdict.mask


@pytest.mark.parametrize("stopped", ["keeper", "instance"])
def test_a_call_that_a_shutdown_cuts_off_interrupts_its_episode(bundle: Path, tmp_path: Path, stopped: str) -> None:
    with instances.running(bundle, tmp_path / "state", shutdown_s=1) as first, futures.ThreadPoolExecutor(1) as pool:
        episode = first.open()
        with table_of(first) as table:
            napping = pool.submit(first.call, episode, "enter_and_nap")
            instances.wait_for(lambda: episode.id in [each.episode for each in table.entries()])
        (first.keeper if stopped == "keeper" else first.process(instances.INSTANCE)).terminate()
        assert napping.exception(30) is not None
    with instances.running(bundle, tmp_path / "state") as second:
        assert second.control.get(episode.id).interrupted == 1
        assert [row["code"] for row in second.control.trace(episode.id)] == ["episode_interrupted"]
        assert second.control.reset(episode.id).interrupted is None


def test_a_call_that_stays_overdue_has_the_instance_killed(bundle: Path, tmp_path: Path) -> None:
    with instances.running(bundle, tmp_path / "state") as instance, table_of(instance) as table:
        process = instance.process(instances.INSTANCE)
        table.mark("ep_stuck", 1, 1)
        process.wait(20)


def test_an_entry_that_is_just_being_written_has_nobody_killed(bundle: Path, tmp_path: Path) -> None:
    """Half of it may look long overdue to the keeper, once."""
    with instances.running(bundle, tmp_path / "state") as instance, table_of(instance) as table:
        process = instance.process(instances.INSTANCE)
        seconds = threading.Event()
        for number in range(60):
            slot = table.mark("ep_torn", number, 1)
            assert slot is not None
            seconds.wait(0.02)
            table.clear(slot)
        assert process.is_running()
        assert "past its hard deadline" not in instance.log()


def table_of(instance: instances.Running) -> contextlib.closing[inflight.InFlightTable]:
    [path] = instance.state.glob("*/inflight")
    return contextlib.closing(inflight.InFlightTable(path))
