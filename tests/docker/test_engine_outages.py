"""The Docker engine dies under a fleet, and comes back."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import bundles
import instances
import local_fleets
import private_engines
import pytest

from awm_registry import client
from awm_runtime.contract import problems

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def engine(missing: Callable[[str, str], NoReturn]) -> Iterator[private_engines.PrivateEngine]:
    if reason := private_engines.unfit():
        missing("dockerd", reason)
    with private_engines.running() as started:
        yield started


@pytest.fixture
def fleet(
    engine: private_engines.PrivateEngine, runtime_base: str, tmp_path: Path
) -> Iterator[local_fleets.LocalFleet]:
    shop = bundles.make(tmp_path / "shop", bundles.SHOP)
    options = ["--backend", "docker", "--base", runtime_base]
    variables = {"DOCKER_HOST": engine.address}
    with local_fleets.running([shop], tmp_path / "state", *options, variables=variables) as running:
        yield running


def test_calls_without_an_engine_are_nobodys_fault_and_none_before_is_lost(
    engine: private_engines.PrivateEngine, fleet: local_fleets.LocalFleet
) -> None:
    episode = fleet.open("shop")
    acknowledged = [_add(fleet, episode, number) for number in range(5)]
    engine.end(signal.SIGTERM)  # and its containers with it
    instances.wait_for(lambda: "no Docker engine answers" in (fleet.scenario("shop")["reason"] or ""), within_s=60)
    assert fleet.scenario("shop")["state"] == "starting"
    with client.ToolClient(episode["mcp_url"]) as tools, pytest.raises(problems.ProblemError) as refused:
        tools.call("add_item", {"name": "item 5"})
    assert refused.value.blame == "infrastructure"
    engine.start()
    instances.wait_for(lambda: fleet.scenario("shop")["state"] == "ready", within_s=60)
    assert _added(fleet, episode) == acknowledged
    assert _add(fleet, episode, 6) == "item 6"


def test_containers_of_a_killed_engine_serve_on_and_are_brought_back_with_it(
    engine: private_engines.PrivateEngine, fleet: local_fleets.LocalFleet
) -> None:
    episode = fleet.open("shop")
    acknowledged = [_add(fleet, episode, number) for number in range(5)]
    engine.end(signal.SIGKILL)
    instances.wait_for(lambda: "no Docker engine answers" in fleet.said())
    acknowledged.append(_add(fleet, episode, 5))
    engine.start()
    instances.wait_for(lambda: engine.ask("container", "ls", "--quiet"), within_s=60)
    instances.wait_for(lambda: fleet.scenario("shop")["state"] == "ready", within_s=60)
    acknowledged.append(_add(fleet, episode, 6))
    assert _added(fleet, episode) == acknowledged


def test_a_fleet_can_be_ended_without_its_engine(
    engine: private_engines.PrivateEngine, fleet: local_fleets.LocalFleet
) -> None:
    fleet.open("shop")
    engine.end(signal.SIGTERM)
    instances.wait_for(lambda: "no Docker engine answers" in (fleet.scenario("shop")["reason"] or ""), within_s=60)
    assert fleet.scenario("shop")["state"] == "starting"
    fleet.process.send_signal(signal.SIGINT)
    assert fleet.process.wait(30) == 0


def _add(fleet: local_fleets.LocalFleet, episode: dict[str, str], number: int) -> str:
    reply = fleet.call(episode["mcp_url"], "add_item", name=f"item {number}")
    assert not reply.is_error, reply
    return f"item {number}"


def _added(fleet: local_fleets.LocalFleet, episode: dict[str, str]) -> list[str]:
    changed = fleet.http.get(f"/v1/episodes/{episode['id']}/diff").json()
    return [row["name"] for row in changed["items"]["added"]]
