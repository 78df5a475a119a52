"""The chart, installed by Helm on the test bed's control plane."""

import contextlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import charts
import yaml

from cluster import fleets
from cluster.testbed import clusters

CONTROLLER = "fleet-awm-fleet-controller"
CATALOG = "fleet-awm-fleet-catalog"


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
            "environments": fleets.SIMULATED_PODS,
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

    def states(self, team: int) -> dict[str, str]:
        """The state of each of a team's environments."""
        found = self.get("environments", self.teams[team]["namespace"])
        return {each["metadata"]["name"]: each.get("status", {}).get("state", "") for each in found}

    def may(self, verb: str, resource: str, namespace: str, *arguments: str) -> bool:
        """Whether the controller's service account may do something."""
        account = f"--as=system:serviceaccount:{self.namespace}:{CONTROLLER}"
        command = self.cluster.inside("kubectl", f"--kubeconfig={self.cluster.kubeconfig}", "auth", "can-i", verb)
        command += [resource, account, f"--namespace={namespace}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() == "yes"

    @contextlib.contextmanager
    def controller(self) -> Iterator[fleets.Process]:
        """A controller with the configuration, the index and the rights that the chart gives it."""
        command = [sys.executable, "-m", "awm_fleet", "controller", f"--config={self._config()}"]
        command += [f"--index={self._folder}/index.json", f"--namespace={self.namespace}", "--port=0"]
        with fleets.running(command, self._folder, self.acting_as(CONTROLLER)) as process:
            yield process

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
