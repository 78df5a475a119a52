"""Where a router finds a team's scenarios on a cluster, and how it wakes them."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from awm_fleet.backends.kubernetes import api, directory, planning, settings, teams
from awm_registry import directory as contract
from awm_runtime.contract import problems
from cluster import fleets, stubs

PATIENCE_S = 40.0


@asynccontextmanager
async def followed(
    fleet: fleets.Fleet, options: planning.Options | None = None
) -> AsyncIterator[directory.ClusterDirectory]:
    """The directory of a fleet's team, kept up to date for the length of a `with` block."""
    connection = await api.Api.connect(str(fleet.cluster.kubeconfig))
    team = settings.Team(name="red", namespace=fleet.namespace)
    found: directory.ClusterDirectory
    view = teams.TeamView(
        connection, team, changed=lambda key, _: found.changed(key), freed=lambda _: None, rng=random.Random(1)
    )
    found = directory.ClusterDirectory(connection, view, options or planning.Options())
    watching = asyncio.create_task(view.run())
    try:
        await asyncio.wait_for(view.synced(), PATIENCE_S)
        yield found
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await connection.close()


async def until(found: directory.ClusterDirectory, seen: Callable[[], bool]) -> None:
    """Waits for changes until something is so."""
    async with asyncio.timeout(PATIENCE_S):
        async for _ in found.watch():
            if seen():
                return


def states(found: directory.ClusterDirectory, scenario: str = "rover") -> list[tuple[int, str]]:
    return [(each.generation, each.state) for each in found.instances(scenario)]


def test_a_sleeping_scenario_is_woken_and_becomes_ready_when_it_is_verified(
    fleet: fleets.Fleet, stub: stubs.Stub
) -> None:
    async def play() -> list[contract.Instance]:
        async with followed(fleet) as found:
            assert found.instances("rover") == []
            await found.wake("rover")
            await found.wake("rover")
            await until(found, lambda: states(found) == [(1, "ready")])
            return list(found.all())

    fleet.team["warm"] = 0
    fleet.index(fleets.entry())
    with fleet.controller():
        fleet.wait_for("asleep")
        [instance] = asyncio.run(play())
    [address] = fleet.addresses()
    assert stub.asked[address] == 1
    assert (instance.team, instance.scenario, instance.bundle) == ("red", "rover", fleets.entry()["bundle"])
    assert instance.agent_url == f"http://{address}:8001"
    assert instance.control_url == f"http://{address}:8002"


def test_nobody_is_told_where_to_reach_an_instance_before_it_is_verified(fleet: fleets.Fleet, stub: stubs.Stub) -> None:
    async def play() -> list[contract.Instance]:
        async with followed(fleet) as found:
            await until(found, lambda: len(list(found.all())) == 1)
            return list(found.all())

    fleet.index(fleets.entry(tools_hash=f"sha256:{'0' * 64}"))
    with fleet.controller():
        fleet.wait("the fault", lambda: fleet.condition("Verified").get("reason") == "WrongTools")
        [instance] = asyncio.run(play())
    assert (instance.agent_url, instance.control_url) == (None, None)


def test_in_a_rollout_one_revision_is_ready_at_a_time(fleet: fleets.Fleet, stub: stubs.Stub) -> None:
    async def play(seen: list[list[tuple[int, str]]]) -> None:
        async with followed(fleet) as found:
            fleet.index(fleets.entry(generation=2))

            def look() -> bool:
                seen.append(states(found))
                return states(found) == [(2, "ready"), (1, "draining")]

            await until(found, look)

    seen: list[list[tuple[int, str]]] = []
    fleet.index(fleets.entry())
    with fleet.controller():
        fleet.wait_for("ready")
        stub.open.update(fleet.addresses())
        asyncio.run(play(seen))
    assert [sum(state == "ready" for _, state in each) for each in seen] == [1] * len(seen)


def test_what_cannot_be_woken_is_said_with_a_code(fleet: fleets.Fleet) -> None:
    async def play() -> dict[str, problems.ProblemError]:
        refused = {}
        async with followed(fleet) as found:
            for scenario in ("nowhere", "rover", "farm"):
                with pytest.raises(problems.ProblemError) as caught:
                    await found.wake(scenario)
                refused[scenario] = caught.value
        return refused

    fleet.index(fleets.entry(tools_hash=f"sha256:{'0' * 64}"), fleets.entry("farm"))
    fleet.team["warm"] = ["rover"]
    with fleet.controller():
        fleet.wait_for("failed")
        fleet.wait_for("asleep", "farm")
        quota = {"metadata": {"name": "team", "namespace": fleet.namespace}, "spec": {"hard": {"pods": "1"}}}
        fleet.cluster.apply({"apiVersion": "v1", "kind": "ResourceQuota", **quota})
        fleet.wait("the quota", lambda: _used(fleet) == {"pods": "1"})
        refused = asyncio.run(play())
    assert {name: each.code.value for name, each in refused.items()} == {
        "nowhere": "unknown_scenario",
        "rover": "start_failed",
        "farm": "at_capacity",
    }
    assert refused["farm"].retry_after_s
    assert "quota team: pods has 0 of 1 left" in refused["farm"].detail


def test_a_wake_keeps_out_of_the_room_for_changes(fleet: fleets.Fleet) -> None:
    async def play(reserve: int) -> None:
        async with followed(fleet, planning.Options(surge_reserve=reserve)) as found:
            await found.wake("farm")

    fleet.quota(pods="2")
    fleet.team["warm"] = ["rover"]
    fleet.index(fleets.entry(), fleets.entry("farm"))
    with fleet.controller():
        fleet.wait_for("ready")
        fleet.wait_for("asleep", "farm")
        fleet.wait("the quota's count", lambda: _used(fleet) == {"pods": "1"})
        with pytest.raises(problems.ProblemError) as caught:
            asyncio.run(play(1))
        assert caught.value.code.value == "at_capacity"
        assert "pods has 1 of 2 left, and 1 are needed; 1 are kept for changes" in caught.value.detail
        assert fleet.environment("farm")["spec"]["replicas"] == 0
        asyncio.run(play(0))
        fleet.wait_for("ready", "farm")


def _used(fleet: fleets.Fleet) -> Any:
    return fleet.list("resourcequotas")[0].get("status", {}).get("used")
