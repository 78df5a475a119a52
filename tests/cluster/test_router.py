"""The router on a cluster, as a process with the rights and the keys that the chart gives it, before two teams."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from awm_registry import client
from awm_runtime.contract import problems
from cluster import fleets, releases, stubs
from cluster.testbed import clusters


@pytest.fixture
def release(cluster: clusters.Cluster, programs: Path, stub: stubs.Stub, tmp_path: Path) -> Iterator[releases.Release]:
    made = releases.Release(cluster, programs / "helm4", tmp_path)
    made.index(fleets.entry(), fleets.entry("farm"))
    yield made
    cluster.kubectl("delete", "crd", "environments.awm.dev", "--ignore-not-found", "--wait=true")
    for each in (made.namespace, *(team["namespace"] for team in made.teams)):
        cluster.kubectl("delete", "namespace", each, "--ignore-not-found", "--wait=false")


def code(act: Callable[[], object]) -> str:
    with pytest.raises(problems.ProblemError) as caught:
        act()
    return caught.value.code


def test_agents_and_trainers_of_two_teams_meet_their_own_scenarios_only(
    release: releases.Release, stub: stubs.Stub
) -> None:
    cluster = release.cluster
    release.helm("install", "--create-namespace")
    with release.controller(), release.router() as router:
        cluster.wait("red", lambda: release.states(0) == {"rover": "ready", "farm": "ready"})
        cluster.wait("blue", lambda: release.states(1) == {"rover": "asleep", "farm": "asleep"})
        red, blue = router.token("red", subject="ann"), router.token("blue", subject="bob")

        with client.SyncFleet(f"{router.control}/t/red", token=red) as trainer:
            listed = {each.name: each.state for each in trainer.scenarios()}
            assert listed == {"rover": "ready", "farm": "ready"}
            [episode] = trainer.open_batch([{"scenario": "rover"}]).episodes
        assert episode.mcp_url == f"{router.agent}/t/red/e/{episode.id}/mcp"
        assert episode.view.direct_url is None
        with client.ToolClient(episode.mcp_url, token=episode.token) as agent:
            address = agent.call("look", {}).text
        assert address in _addresses(release, "red")

        with client.ToolClient(f"{router.agent}/t/blue/s/rover/mcp", token=blue) as agent:  # asleep until now
            assert [each["name"] for each in agent.tools()] == ["look", "take"]
            assert agent.call("look", {}).text in _addresses(release, "blue")
        assert release.states(1) == {"rover": "ready", "farm": "asleep"}

        for token, path in ((red, "/t/blue"), (blue, "/t/red"), (episode.token, "/t/blue"), (None, "/t/red")):
            with client.ToolClient(f"{router.agent}{path}/s/rover/mcp", token=token) as stranger:
                assert code(stranger.tools) == "unauthenticated"
        with client.ToolClient(episode.mcp_url.replace("red", "blue"), token=blue) as stranger:
            assert code(stranger.tools) == "unknown_episode"
        with client.ToolClient(f"{router.agent}/s/rover/mcp", token=blue) as agent:  # the token's team decides
            assert agent.call("look", {}).text in _addresses(release, "blue")


def _addresses(release: releases.Release, team: str) -> set[str]:
    [namespace] = [each["namespace"] for each in release.teams if each["name"] == team]
    return {each["status"]["podIP"] for each in release.get("pods", namespace) if "podIP" in each["status"]}
