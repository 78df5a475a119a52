"""The shape of a training step: a batch of episodes, calls in each, a verdict for each; also with parts killed."""

import contextlib
import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any
from urllib import parse

import bundles
import fleets
import instances as single
import psutil
import pytest
import router_process

from awm_runtime.bundle import model

VERIFIER = """
import sqlite3

def verify_task_completion(initial_db_path, final_db_path, final_answer=None):
    made = sqlite3.connect(final_db_path).execute("SELECT count(*) FROM items").fetchone()[0] - 1
    return {"result": "complete" if made == 8 else "others", "score": min(made, 8) / 8}
"""
TASKS, ROLLOUTS, CALLS, AT_ONCE = 64, 16, 8, 16
SCENARIOS = ("shop", "bakery")


@pytest.fixture(scope="module")
def scenarios(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bundles")
    tasks = [model.Task(id=f"t{number}", instruction="Add 8 items.") for number in range(TASKS // len(SCENARIOS))]
    verifiers = {(task.id, "code"): VERIFIER for task in tasks}
    return {
        name: bundles.make(folder / name, bundles.SHOP, tasks=tasks, verifiers=verifiers)  # type: ignore[arg-type]
        for name in SCENARIOS
    }


class Fleet:
    """Instances, and routers that share a port."""

    def __init__(self, instances: fleets.Instances, routers: router_process.Routers) -> None:
        self.instances = instances
        self.routers = routers

    def kill_instance(self, id: str) -> None:
        keeper = psutil.Process(self.instances.launched[id].process.pid)
        next(each for each in keeper.children() if single.INSTANCE in each.cmdline()).kill()


@pytest.fixture
def fleet(scenarios: dict[str, Path], tmp_path: Path) -> Iterator[Fleet]:
    (tmp_path / "catalogue").mkdir()
    fleets.catalogue(list(scenarios.values()), tmp_path / "catalogue")
    with fleets.instances(scenarios, tmp_path / "state") as instances:
        awake = [instances.start(f"{name}-1", name) for name in scenarios]
        with router_process.running(tmp_path / "catalogue", awake, count=2) as routers:
            yield Fleet(instances, routers)


class Trainer:
    """One thread of a trainer: a kept connection, made anew when it breaks."""

    def __init__(self, url: str) -> None:
        self._address = parse.urlsplit(url).netloc
        self._connection = http.client.HTTPConnection(self._address, timeout=60)

    def ask(self, method: str, path: str, body: Any = None, *, again: bool) -> Any:
        """The answer's JSON; None where the connection broke. `again`: then it is asked once more."""
        for _ in range(3 if again else 1):
            try:
                headers = {"content-type": "application/json"}
                self._connection.request(method, path, json.dumps(body or {}), headers)
                return json.loads(self._connection.getresponse().read())
            except (OSError, http.client.HTTPException):
                self.close()
        return None

    def close(self) -> None:
        self._connection.close()


def _play(url: str, episode: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Plays one episode and has it judged; the verdict, and what calls failed with."""
    failed = []
    path = f"/e/{episode['id']}/mcp"
    with contextlib.closing(Trainer(url)) as trainer:
        for number in range(CALLS):
            params = {"name": "add_item", "arguments": {"name": f"item {number}"}}
            message = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
            said = trainer.ask("POST", path, message, again=False)
            if said is None:
                failed.append("connection")
            elif "error" in said:
                failed.append(f"{said['error']['data']['code']}: {said['error']['data']['class']}")
        verdict: dict[str, Any] = trainer.ask("POST", f"/v1/episodes/{episode['id']}/verify", again=True)
    return verdict, failed


def _open(fleet: Fleet) -> list[dict[str, Any]]:
    items = [
        {"scenario": SCENARIOS[number % 2], "task": f"t{number // 2}", "count": ROLLOUTS, "group": f"g{number}"}
        for number in range(TASKS)
    ]
    with contextlib.closing(Trainer(fleet.routers.url)) as trainer:
        answer = trainer.ask("POST", "/v1/episodes", {"episodes": items}, again=False)
    assert answer["rejected"] == []
    opened: list[dict[str, Any]] = answer["episodes"]
    return opened


def test_a_step_of_1024_rollouts_gets_1024_verdicts(fleet: Fleet) -> None:
    began = time.perf_counter()
    opened = _open(fleet)
    open_s = time.perf_counter() - began
    assert Counter(each["group"] for each in opened) == {f"g{number}": ROLLOUTS for number in range(TASKS)}
    with futures.ThreadPoolExecutor(AT_ONCE) as pool:
        played = list(pool.map(lambda each: _play(fleet.routers.url, each), opened))
    _say(fleet, f"{len(played)} rollouts, opened in {open_s:.2f} s", began)
    assert [failed for _, failed in played if failed] == []
    assert len(played) == TASKS * ROLLOUTS
    assert {(verdict["outcome"], verdict["reward"], verdict["mask"]) for verdict, _ in played} == {
        ("completed", 1.0, False)
    }


def test_killing_an_instance_and_a_router_while_that_runs_fails_only_calls_in_flight(fleet: Fleet) -> None:
    began = time.perf_counter()
    opened = _open(fleet)
    begun = threading.Semaphore(0)

    def play(episode: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        begun.release()
        return _play(fleet.routers.url, episode)

    with futures.ThreadPoolExecutor(AT_ONCE) as pool:
        playing = [pool.submit(play, each) for each in opened]
        for _ in range(len(opened) // 3):
            assert begun.acquire(timeout=60)
        fleet.kill_instance("shop-1")
        for _ in range(len(opened) // 3):
            assert begun.acquire(timeout=60)
        fleet.routers.processes[0].kill()
        played = [each.result() for each in playing]
    _say(fleet, f"{len(played)} rollouts through a killed instance and a killed router", began)
    assert len(played) == TASKS * ROLLOUTS
    failures = Counter(reason for _, failed in played for reason in failed)
    assert failures.keys() <= {"connection", "episode_interrupted: infrastructure"}
    assert failures.total() <= 2 * AT_ONCE
    whole = [verdict for verdict, failed in played if not failed]
    assert {(verdict["outcome"], verdict["mask"]) for verdict in whole} == {("completed", False)}
    assert len(whole) >= len(played) - 2 * AT_ONCE
    cut_off = [verdict for verdict, failed in played if "episode_interrupted: infrastructure" in failed]
    assert all(verdict["mask"] for verdict in cut_off)
    for episode, (_, failed) in zip(opened, played, strict=True):
        if failed:
            _reset(fleet, episode)
            assert _play(fleet.routers.url, episode)[0]["outcome"] == "completed"


def _reset(fleet: Fleet, episode: dict[str, Any]) -> None:
    """The episode goes on under its id, from the seed."""
    with contextlib.closing(Trainer(fleet.routers.url)) as trainer:
        assert trainer.ask("POST", f"/v1/episodes/{episode['id']}/reset", again=True)["interrupted"] is None


def _say(fleet: Fleet, what: str, began: float) -> None:
    """Prints the time that it took, and the memory of routers and of instances with all their processes."""
    alive = [each.pid for each in fleet.routers.processes if each.poll() is None]
    routers = sum(psutil.Process(pid).memory_info().rss for pid in alive)
    keepers = [psutil.Process(each.process.pid) for each in fleet.instances.launched.values()]
    instances = sum(
        one.memory_full_info().pss for keeper in keepers for one in (keeper, *keeper.children(recursive=True))
    )
    print(
        f"{what}: {time.perf_counter() - began:.1f} s; {len(alive)} routers {routers / 1e6:.0f} MB, "
        f"{len(keepers)} instances {instances / 1e6:.0f} MB"
    )
