"""A real instance in a simulated pod's place: it takes what controller and router sign for this pod, and no more."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from awm_fleet import examples
from awm_fleet.backends.kubernetes import names
from awm_registry import client
from awm_registry.catalogue import writing
from awm_registry.tokens import keys
from awm_runtime.bundle import reading
from cluster import fleets, releases
from cluster.testbed import clusters

IMAGE = f"registry.example/awm/library@sha256:{'1' * 64}"


@pytest.fixture
def release(cluster: clusters.Cluster, programs: Path, tmp_path: Path) -> Iterator[releases.Release]:
    made = releases.Release(cluster, programs / "helm4", tmp_path)
    del made.teams[1:]
    bundle = reading.read(examples.path("library"))
    entry = writing.entry(bundle, image=IMAGE)
    writing.describe(bundle, entry, tmp_path / "catalogue")
    made.index(entry.model_dump(mode="json", exclude_none=True))
    yield made
    cluster.kubectl("delete", "crd", "environments.awm.dev", "--ignore-not-found", "--wait=true")
    for each in (made.namespace, made.teams[0]["namespace"]):
        cluster.kubectl("delete", "namespace", each, "--ignore-not-found", "--wait=false")


def test_an_episode_of_a_real_instance_is_opened_played_and_judged(release: releases.Release, tmp_path: Path) -> None:
    release.helm("install", "--create-namespace")
    with release.controller(), release.router(f"--metadata={tmp_path}/catalogue") as router:
        pod = _pod(release)
        folder = tmp_path / "shown"
        variables = {"AWM_INSTANCE_ID": pod["metadata"]["uid"], "AWM_TEAM": _shown(release, folder)["team"]}
        command = [sys.executable, "-m", "awm_runtime.server", str(examples.path("library")), "--host=0.0.0.0"]
        command += ["--allow-host=*", f"--state={tmp_path}/state"]
        environment = {**release.acting_as(releases.ROUTER), "AWM_TOKEN_KEYS": f"{folder}/{keys.PUBLIC_FILE}"}
        with fleets.running(command, tmp_path, {**environment, **variables}):
            release.cluster.wait("the handshake", lambda: release.states(0) == {"library": "ready"})
            with (
                client.SyncFleet(f"{router.control}/t/red", token=router.token("red")) as trainer,
                trainer.open("library", task="next-due") as episode,
            ):
                with client.ToolClient(episode.mcp_url, token=episode.token) as agent:
                    assert agent.call("list_branches", {}).is_error is False
                assert episode.verify("").outcome == "failed"
                assert [each["tool"] for each in episode.trace()] == ["list_branches"]
            url = f"http://{pod['status']['podIP']}:8002/v1/episodes"
            for token in (None, router.token("red"), router.token("red", "admin")):  # good at the router alone
                headers = {} if token is None else {"Authorization": f"Bearer {token}"}
                assert httpx.get(url, headers=headers).status_code == httpx.codes.UNAUTHORIZED
            options = [f"--control={router.control}/t/red", f"--agent={router.agent}", "--team=red"]
            options += [f"--namespace={release.teams[0]['namespace']}", f"--keys={router.keys}/red"]
            options += ["--enforcement=warn", f"--kubeconfig={release.cluster.kubeconfig}"]
            trial = [sys.executable, "-m", "awm_fleet.backends.kubernetes.trial", *options]
            said = subprocess.run(trial, capture_output=True, text=True, timeout=120, check=False)
    assert said.returncode == 0, said.stderr
    assert "judged: failed" in said.stdout  # by a verifier that ran


def _pod(release: releases.Release) -> dict[str, Any]:
    def pods() -> list[dict[str, Any]]:
        found = release.get("pods", release.teams[0]["namespace"])
        return [each for each in found if "podIP" in each["status"]]

    release.cluster.wait("a pod", lambda: bool(pods()))
    return pods()[0]


def _shown(release: releases.Release, folder: Path) -> dict[str, str]:
    """What pods mount and are told of the team's keys, written to a folder as a kubelet does."""
    found = release.get("configmaps", release.teams[0]["namespace"])
    [data] = [each["data"] for each in found if each["metadata"]["name"] == names.KEYS]
    folder.mkdir()
    (folder / keys.PUBLIC_FILE).write_text(data[keys.PUBLIC_FILE])
    return dict(data)
