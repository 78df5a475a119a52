"""Instances that sleep, are killed or are gone, and the episodes that they held."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import bundles
import fleets
import instances as single
import psutil
import pytest


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundles.make(tmp_path_factory.mktemp("bundles") / "counter", bundles.SHOP)


@pytest.fixture
def fleet(bundle: Path, tmp_path: Path) -> Iterator[tuple[fleets.Instances, fleets.Served]]:
    (tmp_path / "catalogue").mkdir()
    catalogue = fleets.catalogue([bundle], tmp_path / "catalogue")
    with (
        fleets.instances({"counter": bundle}, tmp_path / "state") as instances,
        fleets.router(instances.directory, catalogue) as router,
    ):
        yield instances, router


def _count(router: fleets.Served, episode: dict[str, Any]) -> int:
    return len(json.loads(router.call(f"/e/{episode['id']}/mcp", "list_items")["result"]["content"][0]["text"]))


def test_an_episode_whose_scenario_fell_asleep_wakes_it_and_goes_on(
    fleet: tuple[fleets.Instances, fleets.Served],
) -> None:
    instances, router = fleet
    [episode] = router.open({"scenario": "counter"})["episodes"]
    router.call(episode["mcp_url"], "add_item", {"name": "second"})
    state = router.http.get(f"/v1/episodes/{episode['id']}").json()["state_hash"]
    instances.stop("counter-1")
    assert router.http.get("/v1/resolve/counter").json()["state"] == "asleep"
    assert router.http.get("/v1/episodes").json() == {"episodes": [], "unreachable": []}
    assert _count(router, episode) == 2
    assert router.http.get(f"/v1/episodes/{episode['id']}").json()["state_hash"] == state
    assert instances.directory.woken == ["counter", "counter"]


def test_many_that_come_at_once_to_a_sleeping_scenario_wake_it_once(
    fleet: tuple[fleets.Instances, fleets.Served],
) -> None:
    instances, router = fleet
    with futures.ThreadPoolExecutor(32) as pool:
        opened = list(pool.map(lambda _: router.open({"scenario": "counter"}), range(32)))
    assert sum(len(each["episodes"]) for each in opened) == 32
    assert instances.directory.woken == ["counter"]


def test_an_instance_that_is_killed_fails_only_the_calls_in_flight_and_the_episodes_go_on(
    fleet: tuple[fleets.Instances, fleets.Served],
) -> None:
    instances, router = fleet
    opened = router.open({"scenario": "counter", "count": 8})["episodes"]
    keeper = psutil.Process(instances.launched["counter-1"].process.pid)
    counted = {each["id"]: 1 for each in opened}
    failed: list[dict[str, Any]] = []
    stop = threading.Event()

    def play(episode: dict[str, Any]) -> None:
        while not stop.is_set():
            said = router.call(f"/e/{episode['id']}/mcp", "add_item", {"name": "x"})
            if "error" in said:
                failed.append(said["error"]["data"])
            else:
                counted[episode["id"]] += 1

    with futures.ThreadPoolExecutor(8) as pool:
        playing = [pool.submit(play, each) for each in opened]
        single.wait_for(lambda: sum(counted.values()) > 100)
        next(each for each in keeper.children() if single.INSTANCE in each.cmdline()).kill()
        before = sum(counted.values())
        single.wait_for(lambda: sum(counted.values()) > before + 100)
        stop.set()
        for each in playing:
            each.result()
    assert len(failed) <= 8
    assert {(each["code"], each["class"]) for each in failed} <= {("episode_interrupted", "infrastructure")}
    for episode in opened:
        view = router.http.get(f"/v1/episodes/{episode['id']}").json()
        made = _count(router, episode)
        assert counted[episode["id"]] <= made <= counted[episode["id"]] + 1  # the one that was cut off, perhaps
        assert made == counted[episode["id"]] or view["interrupted"] is not None


def test_an_open_request_that_meets_a_killed_instance_opens_nothing_twice(
    fleet: tuple[fleets.Instances, fleets.Served],
) -> None:
    instances, router = fleet
    router.open({"scenario": "counter"})
    keeper = psutil.Process(instances.launched["counter-1"].process.pid)

    def kill_soon() -> None:
        child = next(each for each in keeper.children() if single.INSTANCE in each.cmdline())
        time.sleep(0.02)  # somewhere within the request; wherever it falls, the outcome is the same
        child.kill()

    killer = threading.Thread(target=kill_soon)
    killer.start()
    opened = router.open({"scenario": "counter", "count": 400}, key="once")
    killer.join()
    assert (len(opened["episodes"]), opened["rejected"]) == (400, [])
    listed = single.wait_for(lambda: router.http.get("/v1/episodes?state=open").json()["episodes"])
    assert len(listed) == 401


def test_verdicts_and_reads_survive_a_killed_instance(fleet: tuple[fleets.Instances, fleets.Served]) -> None:
    instances, router = fleet
    [episode] = router.open({"scenario": "counter"})["episodes"]
    keeper = psutil.Process(instances.launched["counter-1"].process.pid)
    next(each for each in keeper.children() if single.INSTANCE in each.cmdline()).kill()
    answer = router.http.get(f"/v1/episodes/{episode['id']}")
    assert (answer.status_code, answer.json()["interrupted"]) == (200, None)


def test_an_instance_that_lost_its_disk_says_so_and_never_begins_anew(
    bundle: Path, fleet: tuple[fleets.Instances, fleets.Served], tmp_path: Path
) -> None:
    instances, router = fleet
    [episode] = router.open({"scenario": "counter"})["episodes"]
    instances.stop("counter-1")
    (tmp_path / "state" / "counter-1").rename(tmp_path / "gone")
    answer = router.http.get(f"/v1/episodes/{episode['id']}")
    assert (answer.status_code, answer.json()["code"], answer.json()["class"]) == (
        410,
        "episode_lost",
        "infrastructure",
    )
    error = router.call(episode["mcp_url"], "list_items")["error"]
    assert error["data"] == {"code": "episode_lost", "class": "infrastructure"}
