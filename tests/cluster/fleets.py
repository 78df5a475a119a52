"""A team's namespace, an index, and controllers that run as processes: what the tests of the controller stand on."""

import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from awm_fleet.backends.kubernetes import definition, names
from cluster import stubs
from cluster.testbed import clusters

PATIENCE_S = 60.0
SIMULATED = {
    "node_selector": {"type": "kwok"},
    "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
}
SIMULATED_PODS = {"nodeSelector": SIMULATED["node_selector"], "tolerations": SIMULATED["tolerations"]}
"""The same, as the chart's values have it."""


Process = subprocess.Popen[bytes]


@contextlib.contextmanager
def running(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Iterator[Process]:
    """A process for the length of a `with` block; its log is shown where a test fails."""
    log = folder / f"controller-{time.monotonic_ns()}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        print(log.read_text())


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in taken]


def answers(url: str) -> bool:
    """Whether a URL is answered with success."""
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.TransportError:
        return False


class Fleet:
    """A namespace with what the chart puts there.

    Attributes:
        options: What becomes `config.json`, beside the teams.
        team: This one, as `config.json` has it.
        others: Further ones, for the same controller.
    """

    def __init__(self, cluster: clusters.Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.namespace = f"team-{uuid.uuid4().hex[:8]}"
        self.options: dict[str, Any] = {"pods": dict(SIMULATED), "idle_timeout": "0s"}
        self.team: dict[str, Any] = {"name": "red", "namespace": self.namespace, "warm": 100}
        self.others: list[dict[str, Any]] = []
        self._folder = folder
        cluster.apply(definition.definition())
        cluster.kubectl("wait", "--for=condition=Established", "crd/environments.awm.dev", "--timeout=30s")
        cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {
                    "name": self.namespace,
                    "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
                },
            }
        )
        anchor = {"name": names.TEAM_ANCHOR, "namespace": self.namespace}
        cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": anchor})

    def index(self, *entries: dict[str, Any]) -> None:
        """Writes the catalogue's index."""
        document = {"format": "awm-catalogue/1", "entries": list(entries)}
        unfinished = self._folder / "index.part"
        unfinished.write_text(json.dumps(document))
        unfinished.replace(self._folder / "index.json")

    @contextlib.contextmanager
    def controller(self, *, port: int = 0) -> Iterator[Process]:
        """A controller for the length of a `with` block."""
        config = self._folder / "config.json"
        config.write_text(json.dumps({**self.options, "teams": [self.team, *self.others]}))
        command = [sys.executable, "-m", "awm_fleet", "controller", f"--config={config}", f"--port={port}"]
        command += [f"--index={self._folder / 'index.json'}", f"--namespace={self.namespace}"]
        with running(command, self._folder, {**os.environ, "KUBECONFIG": str(self.cluster.kubeconfig)}) as process:
            yield process

    def quota(self, **hard: str) -> None:
        """Gives the team a quota, and waits until it is one; `requests_memory` is `requests.memory`."""
        limits = {name.replace("_", "."): amount for name, amount in hard.items()}
        metadata = {"name": "team", "namespace": self.namespace}
        self.cluster.apply(
            {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": limits}}
        )
        self.wait("the quota", lambda: all(_is_in_force(each) for each in self.list("resourcequotas")))

    def environment(self, name: str = "rover") -> dict[str, Any]:
        """An `Environment`; empty when there is none."""
        try:
            found: dict[str, Any] = self.cluster.get("environment", name, f"--namespace={self.namespace}")
        except subprocess.CalledProcessError:
            return {}
        return found

    def condition(self, kind: str, name: str = "rover") -> dict[str, Any]:
        """One condition of an environment."""
        listed = self.environment(name).get("status", {}).get("conditions", [])
        return next((each for each in listed if each["type"] == kind), {})

    def list(self, kind: str) -> list[dict[str, Any]]:
        """All objects of a kind in the namespace."""
        items: list[dict[str, Any]] = self.cluster.get(kind, f"--namespace={self.namespace}")["items"]
        return items

    def patch(self, name: str, **spec: Any) -> None:
        """Changes fields of an environment's `spec`."""
        change = json.dumps({"spec": spec})
        arguments = ("patch", "environment", name, "--type=merge", f"--patch={change}")
        self.cluster.kubectl(*arguments, f"--namespace={self.namespace}")

    def wait(self, what: str, seen: Callable[[], bool], *, patience_s: float = PATIENCE_S) -> None:
        """Waits until something is so; says what was seen last where it does not come to be."""
        try:
            self.cluster.wait(what, seen, patience_s=patience_s)
        except TimeoutError as exc:
            status = [(each["metadata"]["name"], each.get("status")) for each in self.list("environments")][:3]
            raise AssertionError(f"{exc}\n{json.dumps(status, indent=1)}") from exc

    def wait_for(self, state: str, name: str = "rover") -> None:
        """Waits for a state."""
        self.wait(f"{name} {state}", lambda: self.environment(name).get("status", {}).get("state") == state)

    def addresses(self) -> set[str]:
        """The addresses of the pods that are not ending."""
        pods = [each for each in self.list("pods") if "deletionTimestamp" not in each["metadata"]]
        return {each["status"]["podIP"] for each in pods if "podIP" in each["status"]}


def _is_in_force(quota: dict[str, Any]) -> bool:
    """Whether the cluster counts by what a quota says; it may say `4k` for 4000."""
    return bool(quota.get("status", {}).get("hard") == quota["spec"]["hard"])


def entry(name: str = "rover", generation: int = 1, tools_hash: str = stubs.TOOLS_HASH, **more: Any) -> dict[str, Any]:
    """A row of an index."""
    digit = str(generation % 10)
    return {
        "name": name,
        "generation": generation,
        "image": f"registry.example/awm/{name.replace('_', '-')}@sha256:{digit * 64}",
        "bundle": f"sha256:{digit * 64}",
        "tools_hash": tools_hash,
        **more,
    }


def real_entry(number: int) -> dict[str, Any]:
    """A row with digests as random as real ones."""
    texts = (f"{kind}{number}".encode() for kind in ("image", "bundle", "tools"))
    image, bundle, tools = (hashlib.sha256(each).hexdigest() for each in texts)
    made = entry(f"scenario_{number}", tools_hash=f"sha256:{tools}", tier="gold", bundle=f"sha256:{bundle}")
    return {**made, "image": f"{made['image'].partition('@')[0]}@sha256:{image}"}


def revisions(deployments: Sequence[dict[str, Any]]) -> set[str]:
    """The revisions of Deployments."""
    return {each["metadata"]["labels"][names.REVISION] for each in deployments}
