"""The router on a cluster, as a process with the rights and the keys that the chart gives it, before two teams."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import catalogues
import httpx
import jwt
import pytest

from awm_fleet.backends.kubernetes import keyrings, names
from awm_registry import client
from awm_registry.tokens import issuing, keys
from awm_runtime.contract import problems
from cluster import fleets, releases, stubs
from cluster.testbed import clusters


@pytest.fixture
def release(cluster: clusters.Cluster, programs: Path, stub: stubs.Stub, tmp_path: Path) -> Iterator[releases.Release]:
    made = releases.Release(cluster, programs / "helm4", tmp_path)
    made.index(fleets.entry(), fleets.entry("farm"))
    # The chart brings the definition, which other tests have applied.
    cluster.kubectl("delete", "crd", "environments.awm.dev", "--ignore-not-found", "--wait=true")
    yield made
    cluster.kubectl("delete", "crd", "environments.awm.dev", "--ignore-not-found", "--wait=true")
    for each in (made.namespace, *(team["namespace"] for team in made.teams)):
        cluster.kubectl("delete", "namespace", each, "--ignore-not-found", "--wait=false")


def code(act: Callable[[], object]) -> str:
    with pytest.raises(problems.ProblemError) as caught:
        act()
    return caught.value.code


def test_agents_and_trainers_of_two_teams_meet_their_own_scenarios_only(
    release: releases.Release, stub: stubs.Stub, tmp_path: Path
) -> None:
    cluster = release.cluster
    cluster.kubectl("create", "namespace", release.namespace)
    release.teams[1]["keys"] = {"existingSecret": _brought(release, tmp_path / "brought")}
    release.helm("install")
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
        with (
            release.router() as other,  # knows nothing of what the first one did
            client.ToolClient(episode.mcp_url.replace(router.agent, other.agent), token=episode.token) as agent,
        ):
            assert agent.call("look", {}).text == address
        said = stub.tokens[address]
        assert jwt.decode(said, options={"verify_signature": False})["aud"] == f"awm/instance/{_uid(release, address)}"
        router.process.terminate()
        assert router.process.wait(20) == 0


def test_sleeping_scenarios_are_described_by_the_catalogues_files_and_not_woken(
    release: releases.Release, tmp_path: Path
) -> None:
    told = catalogues.catalogue(tmp_path, {"rover": {"description": "Walks dogs.", "tasks": [catalogues.task("walk")]}})
    known = told.entry("rover")
    release.teams[0]["warm"] = 0
    release.index(
        fleets.entry(bundle=known.bundle, tools_hash=known.tools_hash, tier="gold"), fleets.entry("farm", tier="silver")
    )
    release.helm("install", "--create-namespace")
    with release.controller(), release.router(f"--metadata={tmp_path}/catalogue") as router:
        asleep = {"rover": "asleep", "farm": "asleep"}
        release.cluster.wait("red", lambda: release.states(0) == asleep)
        with client.SyncFleet(f"{router.control}/t/red", token=router.token("red")) as trainer:
            shown = {each.name: (each.description, each.tier, each.state) for each in trainer.scenarios()}
            tasks = [(each.scenario, each.id, each.instruction) for each in trainer.tasks()]
        assert shown == {"rover": ("Walks dogs.", "gold", "asleep"), "farm": ("", "silver", "asleep")}
        assert tasks == [("rover", "walk", "Do walk.")]
        assert release.states(0) == asleep


def test_rotated_keys_are_shown_to_pods_and_nothing_is_started_anew(release: releases.Release) -> None:
    release.helm("install", "--create-namespace")
    red = release.teams[0]["namespace"]
    with release.controller(), release.router() as router:
        release.cluster.wait("red", lambda: release.states(0) == {"rover": "ready", "farm": "ready"})
        before = {each["metadata"]["uid"] for each in release.get("pods", red)}
        old = router.token("red")
        secret = "fleet-awm-fleet-keys-red"
        kubeconfig = f"--kubeconfig={release.cluster.kubeconfig}"
        command = (sys.executable, "-m", "awm_fleet", "token", "rotate", f"--secret={release.namespace}/{secret}")
        done = json.loads(subprocess.run([*command, kubeconfig, "--json"], check=True, capture_output=True).stdout)
        release.cluster.wait("the public half", lambda: done["kid"] in _shown(release, red))
        release.unpack(secret, router.keys / "red")  # as the kubelet does
        newest = keyrings.Keyring(keys.load(router.keys / "red")[-1:])
        fresh = issuing.Issuer(newest, team="red").token("control", ttl_s=60)
        for token in (old, fresh):
            release.cluster.wait("the router's eyes", lambda token=token: _lists(router, token))
            with client.SyncFleet(f"{router.control}/t/red", token=token) as trainer:
                assert len(list(trainer.scenarios())) == 2
        assert {each["metadata"]["uid"] for each in release.get("pods", red)} == before
    for namespace in (red, release.teams[1]["namespace"]):
        assert "PRIVATE" not in json.dumps(release.get("configmaps,secrets", namespace))


def test_a_team_without_rights_for_the_router_leaves_the_others_alone(release: releases.Release) -> None:
    release.helm("install", "--create-namespace")
    blue = release.teams[1]["namespace"]
    with release.controller():
        release.cluster.wait("red", lambda: release.states(0) == {"rover": "ready", "farm": "ready"})
        release.cluster.kubectl("delete", "rolebinding", releases.ROUTER, f"--namespace={blue}")
        with release.router() as router:
            with client.ToolClient(f"{router.agent}/t/red/s/rover/mcp", token=router.token("red")) as agent:
                assert len(agent.tools()) == 2
            with client.ToolClient(f"{router.agent}/t/blue/s/rover/mcp", token=router.token("blue")) as agent:
                assert code(agent.tools) == "starting"


def test_helm_test_plays_an_episode_and_tells_of_policies_that_nobody_enforces(
    release: releases.Release, tmp_path: Path
) -> None:
    release.helm("install", "--create-namespace")
    with release.controller(), release.router() as router:
        release.cluster.wait("red", lambda: release.states(0) == {"rover": "ready", "farm": "ready"})
        options = [f"--control={router.control}/t/red", f"--agent={router.agent}", "--team=red", "--scenario=rover"]
        options += [f"--namespace={release.teams[0]['namespace']}", f"--keys={router.keys}/red"]
        options += [f"--kubeconfig={release.cluster.kubeconfig}"]
        played = _trial(*options, "--task=walk", "--enforcement=warn")
        strict = _trial(*options, "--task=walk")
        taskless = _trial(*options)
    assert (played.returncode, strict.returncode, taskless.returncode) == (0, 1, 1), played.stderr
    assert "called look: answered" in played.stdout
    assert "judged: completed" in played.stdout
    assert "WARNING: anybody reaches" in played.stdout
    assert "does not enforce NetworkPolicies" in strict.stderr
    assert "name one with test.task" in taskless.stderr


def test_a_router_that_hears_nothing_of_the_cluster_serves_on_and_is_not_ready(release: releases.Release) -> None:
    cluster = release.cluster
    release.helm("install", "--create-namespace")
    with release.controller():
        cluster.wait("red", lambda: release.states(0) == {"rover": "ready", "farm": "ready"})
        with release.router(settings={"AWM_ROUTER_STALE_S": "75"}) as router:
            cluster.stop("kube-apiserver")
            try:
                cluster.wait("staleness", lambda: not fleets.answers(f"{router.metrics}/readyz"), patience_s=100)
                assert fleets.answers(f"{router.metrics}/livez")
                with client.ToolClient(f"{router.agent}/t/red/s/rover/mcp", token=router.token("red")) as agent:
                    assert len(agent.tools()) == 2
            finally:
                cluster.restart_api_server()
            cluster.wait("readiness", lambda: fleets.answers(f"{router.metrics}/readyz"))


def _brought(release: releases.Release, folder: Path) -> str:
    """A Secret with keys that somebody made, by the commands of docs/kubernetes.md."""
    subprocess.run([sys.executable, "-m", "awm_fleet", "token", "rotate", f"--keys={folder}"], check=True)
    files = (f"--from-file={folder}", f"--from-file={folder}/public")
    release.cluster.kubectl("create", "secret", "generic", "brought", f"--namespace={release.namespace}", *files)
    return "brought"


def _trial(*options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "awm_fleet.backends.kubernetes.trial", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def _lists(router: releases.Router, token: str) -> bool:
    """Whether red's control plane takes a token."""
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.get(f"{router.control}/t/red/v1/scenarios", headers=headers, timeout=5).is_success


def _shown(release: releases.Release, namespace: str) -> str:
    """The public keys that a team's pods mount."""
    [found] = [each for each in release.get("configmaps", namespace) if each["metadata"]["name"] == names.KEYS]
    shown: str = found["data"][keys.PUBLIC_FILE]
    return shown


def _uid(release: releases.Release, address: str) -> str:
    pods = release.get("pods", release.teams[0]["namespace"])
    [found] = [each["metadata"]["uid"] for each in pods if each["status"].get("podIP") == address]
    uid: str = found
    return uid


def _addresses(release: releases.Release, team: str) -> set[str]:
    [namespace] = [each["namespace"] for each in release.teams if each["name"] == team]
    return {each["status"]["podIP"] for each in release.get("pods", namespace) if "podIP" in each["status"]}
