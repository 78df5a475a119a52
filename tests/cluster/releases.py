"""The chart, installed by Helm on the test bed's control plane."""

import base64
import contextlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import charts
import yaml

from awm_fleet.backends.kubernetes import settings as kubernetes
from awm_registry.tokens import issuing, keys
from awm_runtime.contract import tokens
from cluster import fleets
from cluster.testbed import clusters

CONTROLLER = "fleet-awm-fleet-controller"
ROUTER = "fleet-awm-fleet-router"
CATALOG = "fleet-awm-fleet-catalog"
MOST_OF_A_SECRET = 1024 * 1024


@dataclass(frozen=True)
class Router:
    """A router that runs as a process.

    Attributes:
        agent, control, metrics: Where its planes answer.
        keys: The folder with a folder of keys for each team.
    """

    process: fleets.Process
    agent: str
    control: str
    metrics: str
    keys: Path

    def token(self, team: str, scope: tokens.Scope = "control", **claims: Any) -> str:
        """A team's token."""
        return issuing.Issuer(keys.Signer(self.keys / team), team=team).token(scope, ttl_s=600, **claims)


class Release:
    """The chart, installed in namespaces of the test's own. The controller's pod is simulated; one beside it works."""

    def __init__(self, cluster: clusters.Cluster, helm: Path, folder: Path) -> None:
        suffix = uuid.uuid4().hex[:8]
        self.cluster = cluster
        self.namespace = f"awm-{suffix}"
        self.teams = [
            {"name": name, "namespace": f"team-{name}-{suffix}", "warm": warm, "quota": {"pods": 50}}
            for name, warm in (("red", "all"), ("blue", 0))
        ]
        self.values: dict[str, Any] = {
            "image": {"reference": charts.IMAGE},
            "teams": self.teams,
            "controller": fleets.SIMULATED_PODS,
            "router": fleets.SIMULATED_PODS,
            "environments": fleets.SIMULATED_PODS,
            "networkPolicy": {"enforcement": "warn"},  # nobody enforces them on simulated nodes
        }
        self.kubeconfig = cluster.kubeconfig
        self._helm = helm
        self._folder = folder

    def index(self, *entries: dict[str, Any]) -> None:
        """Writes the catalogue's index."""
        document = {"format": "awm-catalogue/1", "entries": entries}
        (self._folder / "index.json").write_text(json.dumps(document))

    def mount_index(self) -> None:
        """Gives the controller the index that the release has, as the kubelet does."""
        maps = {each["metadata"]["name"]: each["data"] for each in self.get("configmaps", self.namespace)}
        unfinished = self._folder / "index.part"
        unfinished.write_text(maps[CATALOG]["index.json"])
        unfinished.replace(self._folder / "index.json")

    def helm(self, verb: str, *arguments: str) -> str:
        """Runs Helm on the release."""
        (self._folder / "values.yaml").write_text(json.dumps(self.values))
        given = [f"--values={self._folder}/values.yaml", f"--set-file=catalog.index={self._folder}/index.json"]
        chart: list[str | Path] = [charts.CHART, *given] if verb in ("install", "upgrade") else []
        common = (f"--namespace={self.namespace}", f"--kubeconfig={self.kubeconfig}")
        return charts.run(self._helm, verb, "fleet", *chart, *common, *arguments)

    def get(self, kind: str, namespace: str, *arguments: str) -> list[dict[str, Any]]:
        """Objects of a kind."""
        items: list[dict[str, Any]] = self.cluster.get(kind, f"--namespace={namespace}", *arguments)["items"]
        return items

    def size(self) -> int:
        """How many bytes of its Secret Helm needs for the newest version of the release."""
        [secret] = self.get("secrets", self.namespace, "--selector=owner=helm,status=deployed")
        return len(base64.b64decode(secret["data"]["release"]))

    def states(self, team: int) -> dict[str, str]:
        """The state of each of a team's environments."""
        found = self.get("environments", self.teams[team]["namespace"])
        return {each["metadata"]["name"]: each.get("status", {}).get("state", "") for each in found}

    def may(self, verb: str, resource: str, namespace: str, *arguments: str, who: str = CONTROLLER) -> bool:
        """Whether a service account, by default the controller's, may do something."""
        account = f"--as=system:serviceaccount:{self.namespace}:{who}"
        command = self.cluster.inside("kubectl", f"--kubeconfig={self.cluster.kubeconfig}", "auth", "can-i", verb)
        command += [resource, account, f"--namespace={namespace}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() == "yes"

    @contextlib.contextmanager
    def controller(self, *, port: int = 0) -> Iterator[fleets.Process]:
        """A controller with the configuration, the index and the rights that the chart gives it."""
        command = [sys.executable, "-m", "awm_fleet", "controller", f"--config={self._config()}"]
        command += [f"--index={self._folder}/index.json", f"--namespace={self.namespace}", f"--port={port}"]
        with fleets.running(command, self._folder, self.acting_as(CONTROLLER)) as process:
            yield process

    @contextlib.contextmanager
    def router(self, *arguments: str, settings: Mapping[str, str] | None = None) -> Iterator[Router]:
        """A router with the configuration, the keys and the rights that the chart gives it, when it is ready."""
        held = self._folder / "keys"
        config = kubernetes.read(self._config())
        for each in config.teams:
            self.unpack(config.keys_of(each), held / each.name)
        self.unpack(config.episode_ids, self._folder)
        agent, control, metrics = fleets.free_ports(3)
        command = [sys.executable, "-m", "awm_fleet", "router", f"--config={self._config()}", f"--keys={held}"]
        command += [f"--episode-ids={self._folder}/episode-ids.key", f"--index={self._folder}/index.json"]
        command += [f"--port={agent}", f"--control-port={control}", f"--metrics-port={metrics}", *arguments]
        with fleets.running(command, self._folder, {**self.acting_as(ROUTER), **(settings or {})}) as process:
            made = Router(process, *(f"http://127.0.0.1:{each}" for each in (agent, control, metrics)), held)
            self.cluster.wait("the router", lambda: fleets.answers(f"{made.metrics}/readyz"))
            yield made

    def unpack(self, secret: str, folder: Path) -> None:
        """Writes the files of a Secret of the release's namespace, as a pod that mounts it has them."""
        self.cluster.wait(secret, lambda: secret in {each["metadata"]["name"] for each in self._secrets()})
        [found] = [each for each in self._secrets() if each["metadata"]["name"] == secret]
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in found["data"].items():
            (folder / name).write_bytes(base64.b64decode(content))
            (folder / name).chmod(0o440)

    def acting_as(self, account: str) -> dict[str, str]:
        """The variables of a process that has a service account's rights."""
        document: dict[str, Any] = yaml.safe_load(self.cluster.kubeconfig.read_text())
        token = self.cluster.kubectl("create", "token", account, f"--namespace={self.namespace}").strip()
        document["users"][0]["user"] = {"token": token}
        kubeconfig = self._folder / f"{account}.kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(document))
        return {**os.environ, "KUBECONFIG": str(kubeconfig)}

    def _config(self) -> Path:
        [config] = [each for each in self.get("configmaps", self.namespace) if each["metadata"]["name"] == CONTROLLER]
        path = self._folder / "config.json"
        path.write_text(config["data"]["config.json"])
        return path

    def _secrets(self) -> list[dict[str, Any]]:
        return self.get("secrets", self.namespace)
