"""The chart on a real node, as its users have it: the images of this checkout, and scenarios that sleep."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cluster import releases
from cluster.testbed import clusters, registries

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "fleet" / "src" / "awm_fleet" / "examples"
PATIENCE_S = 60.0
ABSENT = f"{registries.HOST}/awm/absent@sha256:{'0' * 64}"
COPIES = ("absent", "stranger", "deleted", "distant")
"""Scenarios that tests do something to; each is the library under another name."""


class World(releases.Release):
    """A release with one team. Its pods are real ones; so is its controller's.

    Attributes:
        rows: The index's rows by scenario.
    """

    def __init__(self, cluster: clusters.Cluster, helm: Path, folder: Path, images: Path) -> None:
        super().__init__(cluster, helm, folder)
        self.folder = folder
        self.rows: dict[str, dict[str, Any]] = {}
        self.teams = [{"name": "red", "namespace": self.teams[0]["namespace"]}]
        control = registries.push(f"oci:{images}/awm-control", "control")
        self.base = registries.push(f"oci:{images}/awm-runtime", "runtime")
        self.values = {
            "image": {"reference": control},
            "teams": self.teams,
            "environments": {"endSeconds": 5, "idleTimeout": "0s"},
        }

    @property
    def team(self) -> str:
        """The team's namespace."""
        return str(self.teams[0]["namespace"])

    def add(self, *bundles: Path) -> None:
        """Builds and pushes images of bundles with `awm image build`, and gives each a row in the index."""
        command = [sys.executable, "-m", "awm_fleet", "image", "build", *map(str, bundles), "--json", "--plain-http"]
        command += ["--base", f"registry:{self.base}", "--output", f"registry:{registries.HOST}/awm"]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
        for built in json.loads(done.stdout)["images"]:
            self.rows[built["scenario"]] = row(built)
        self.index(*self.rows.values())

    def install(self) -> None:
        """Installs the chart; returns when the controller has made all environments."""
        self.helm("install", "--create-namespace", "--wait", "--timeout=90s")
        self.wait("all environments", lambda: set(self.states(0)) >= self.rows.keys())

    def scale(self, scenario: str, replicas: int) -> None:
        """Wakes a scenario, or puts it to sleep."""
        self.cluster.kubectl("scale", f"environment/{scenario}", f"--replicas={replicas}", f"--namespace={self.team}")

    def environment(self, scenario: str) -> dict[str, Any]:
        """Its `Environment`."""
        found: dict[str, Any] = self.cluster.get("environment", scenario, f"--namespace={self.team}")
        return found

    def condition(self, scenario: str, kind: str) -> tuple[str, str, str]:
        """Status, reason and message of one condition."""
        listed = self.environment(scenario).get("status", {}).get("conditions", [])
        found = next((each for each in listed if each["type"] == kind), {})
        return found.get("status", ""), found.get("reason", ""), found.get("message", "")

    def pods(self, scenario: str) -> list[dict[str, Any]]:
        """Its pods that are not ending."""
        found = self.get("pods", self.team, f"--selector=awm.dev/environment={scenario}")
        return [each for each in found if "deletionTimestamp" not in each["metadata"]]

    def wait(self, what: str, seen: Callable[[], bool], *, patience_s: float = PATIENCE_S) -> None:
        """Waits until something is so; where it does not come to be, says what the controller and the pods say."""
        try:
            self.cluster.wait(what, seen, patience_s=patience_s)
        except TimeoutError as exc:
            raise AssertionError(f"{exc}\n{self._said()}") from exc

    def wait_for(self, scenario: str, state: str, *, patience_s: float = PATIENCE_S) -> None:
        """Waits for a state."""
        self.wait(f"{scenario} {state}", lambda: self.states(0).get(scenario) == state, patience_s=patience_s)

    def _said(self) -> str:
        parts = [self.cluster.kubectl("get", "environments,pods", "--output=wide", f"--namespace={self.team}")]
        parts.append(self.cluster.kubectl("get", "pods", "--output=wide", f"--namespace={self.namespace}"))
        selected = (f"--namespace={self.namespace}", "--selector=app.kubernetes.io/component", "--tail=30")
        return "\n".join([*parts, self.cluster.kubectl("logs", *selected)])


def row(built: Mapping[str, Any]) -> dict[str, Any]:
    """The index's row of an image that `awm image build` made."""
    image = built["image"].removeprefix("registry:")
    kept = {"name": built["scenario"], "generation": built["generation"], "bundle": built["bundle"]}
    return {**kept, "image": image, "tools_hash": built["tools"]}


def copied(bundle: Path, folder: Path, **changed: Any) -> Path:
    """A bundle with other fields in its scenario.json, named like its folder."""
    shutil.copytree(bundle, folder)
    file = folder / "scenario.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "name": folder.name, "digest": None, **changed}))
    return folder
