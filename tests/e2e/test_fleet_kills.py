"""`kill -9` of every kind of process of a fleet, alone and together, under load: what was not in flight goes on."""

import asyncio
import collections
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import bundles
import instances
import local_fleets
import psutil
import pytest

from awm_fleet import examples
from awm_fleet.backends.process import clients, states
from awm_registry import client
from awm_runtime.contract import problems

Kill = Callable[[local_fleets.LocalFleet], list[psutil.Process]]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local_fleets.LocalFleet]:
    folder = tmp_path_factory.mktemp("fleet")
    with local_fleets.running([examples.path("library"), examples.path("clinic")], folder / "state") as running:
        yield running


class Load:
    """Calls in threads, one episode each, until it is stopped.

    Attributes:
        failures: What failed, by class.
        done: How many calls were answered, by episode.
    """

    def __init__(self, fleet: local_fleets.LocalFleet, episodes: list[str]) -> None:
        self.failures: list[BaseException] = []
        self.done: collections.Counter[str] = collections.Counter()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(fleet, each)) for each in episodes]

    def __enter__(self) -> "Load":
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_failure: object) -> None:
        self._stop.set()
        for each in self._threads:
            each.join()

    def goes_on(self) -> None:
        """Waits until every episode was answered again."""
        before = self.done.copy()
        instances.wait_for(lambda: all(self.done[id] > before[id] + 1 for id in before), within_s=60)

    def _call(self, fleet: local_fleets.LocalFleet, id: str) -> None:
        url = f"{fleet.url}/e/{id}/mcp"
        self.done[id] += 0
        with client.ToolClient(url) as tools:
            while not self._stop.is_set():
                try:
                    assert not tools.call("search_titles", {"q": "Rain"}).is_error
                    self.done[id] += 1
                except (client.Unreachable, problems.ProblemError) as exc:
                    self.failures.append(exc)


def kill_instance(fleet: local_fleets.LocalFleet) -> list[psutil.Process]:
    return [fleet.instance("library")]


def kill_router(fleet: local_fleets.LocalFleet) -> list[psutil.Process]:
    return fleet.processes(local_fleets.ROUTER)


def kill_zygote(fleet: local_fleets.LocalFleet) -> list[psutil.Process]:
    return fleet.processes(local_fleets.ZYGOTE)


def kill_judge(fleet: local_fleets.LocalFleet) -> list[psutil.Process]:
    return [each for each in fleet.supervisor.children() if each.name() == "judge:library"]


def kill_all_of_them(fleet: local_fleets.LocalFleet) -> list[psutil.Process]:
    return [*kill_zygote(fleet), *kill_router(fleet), *kill_instance(fleet), *fleet.processes(local_fleets.JUDGES)]


@pytest.mark.parametrize("kill", [kill_instance, kill_router, kill_zygote, kill_judge, kill_all_of_them])
def test_only_calls_in_flight_fail_and_the_same_episodes_go_on(fleet: local_fleets.LocalFleet, kill: Kill) -> None:
    opened = [fleet.open("library", task="rain-hold") for _ in range(4)]
    quiet, *busy = [each["id"] for each in opened]
    assert not fleet.call(opened[0]["mcp_url"], "create_reading_list", name="Kept").is_error
    before = fleet.episode(quiet)
    assert _outcome(fleet, quiet) == "failed"
    with Load(fleet, busy) as load:
        load.goes_on()
        targets = kill(fleet)
        assert targets
        for each in targets:
            each.send_signal(signal.SIGKILL)
        load.goes_on()
    assert not [each for each in load.failures if not _is_infrastructure(each)], load.failures
    assert len(load.failures) <= 2 * len(busy)  # the one in flight, and one sent while its router was gone
    after = fleet.episode(quiet)
    assert (after["state_hash"], after["calls"], after["interrupted"]) == (before["state_hash"], 1, None)
    # A verdict that its judge's death cut off is masked; the instance comes back with another judge.
    instances.wait_for(lambda: _outcome(fleet, quiet) == "failed")
    for each in busy:
        assert fleet.http.delete(f"/v1/episodes/{each}").status_code == 204


def _outcome(fleet: local_fleets.LocalFleet, id: str) -> str:
    verdict = fleet.http.post(f"/v1/episodes/{id}/verify", json={}).json()
    assert verdict["outcome"] != "abstained" or verdict["blame"] == "infrastructure"
    return str(verdict["outcome"])


def _is_infrastructure(failure: BaseException) -> bool:
    if isinstance(failure, problems.ProblemError):
        return failure.blame == "infrastructure"
    return isinstance(failure, client.Unreachable)


def test_a_killed_zygote_takes_no_instance_along_and_the_next_one_forks(fleet: local_fleets.LocalFleet) -> None:
    fleet.open("library")
    serving = fleet.instance("library")
    [zygote] = fleet.processes(local_fleets.ZYGOTE)
    zygote.kill()
    fleet.open("clinic")
    assert serving.is_running()
    assert fleet.instance("library") == serving
    assert fleet.processes(local_fleets.ZYGOTE) != [zygote]


@pytest.mark.parametrize("also", ["alone", "with its zygote"])
def test_a_killed_supervisor_takes_everything_along_and_the_next_finds_the_episodes(tmp_path: Path, also: str) -> None:
    state = tmp_path / "state"
    with local_fleets.running([examples.path("library")], state) as fleet:
        episode = fleet.open("library", task="rain-hold")
        assert not fleet.call(episode["mcp_url"], "create_reading_list", name="Kept").is_error
        fleet.http.post(f"/v1/episodes/{episode['id']}/verify", json={})
        before = fleet.episode(episode["id"])
        family = fleet.family()
        assert len(family) >= 6  # supervisor, two zygotes, router, instance, judge
        if also == "with its zygote":
            fleet.processes(local_fleets.ZYGOTE)[0].kill()
        fleet.supervisor.kill()
        fleet.process.wait()
        local_fleets.gone_with_it(family)
    with local_fleets.running([examples.path("library")], state) as fleet:
        after = fleet.episode(episode["id"])
        assert (after["state_hash"], after["calls"]) == (before["state_hash"], 1)


def test_a_call_past_its_hard_deadline_costs_the_instance_and_interrupts_one_episode(tmp_path: Path) -> None:
    folder = bundles.make(tmp_path / "bundles" / "stuck", STUCK)
    variables = {"AWM_CALL_DEADLINE_S": "0.5", "AWM_CALL_GRACE_S": "0.5"}
    with local_fleets.running([folder], tmp_path / "state", variables=variables) as fleet:
        hung, other = fleet.open("stuck"), fleet.open("stuck")
        process = fleet.instance("stuck")
        with pytest.raises((client.Unreachable, problems.ProblemError)):
            fleet.call(hung["mcp_url"], "hang")
        assert fleet.episode(hung["id"])["interrupted"] == 1
        assert fleet.episode(other["id"])["interrupted"] is None
        assert fleet.call(other["mcp_url"], "greet").data() == "hello"
        assert not process.is_running()
        assert "is past its hard deadline" in fleet.said()


STUCK = """
from fastapi import FastAPI

app = FastAPI()


@app.get("/greeting", operation_id="greet")
def greet():
    return "hello"


@app.get("/hang", operation_id="hang")
def hang():
    return sum(range(10**13))
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_a_routers_directory_outlives_its_supervisor(tmp_path: Path) -> None:
    state, library = tmp_path / "state", [examples.path("library")]
    with local_fleets.running(library, state) as first:
        directory = clients.SupervisorDirectory(states.socket_path(state))
        async with directory.following(), aclosing(directory.watch()) as changes, asyncio.timeout(60):
            assert list(directory.all()) == []
            await directory.wake("library")
            [woken] = directory.instances("library")
            while (change := await anext(changes)).instance is None or change.instance.state != "ready":
                pass
            with pytest.raises(problems.ProblemError) as caught:
                await directory.wake("atlantis")
            assert caught.value.code is problems.Code.UNKNOWN_SCENARIO
            first.supervisor.kill()
            await asyncio.to_thread(first.process.wait)
            with pytest.raises(problems.ProblemError) as caught:
                await directory.wake("library")
            assert caught.value.code is problems.Code.STARTING
            with local_fleets.running(library, state):
                while (change := await anext(changes)).instance is not None:
                    pass
                assert change.id == woken.id
                await directory.wake("library")
                [again] = directory.instances("library")
            assert (again.id, again.control_token != woken.control_token) == (woken.id, True)
