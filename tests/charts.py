"""The Helm chart as tests render it."""

import subprocess
from pathlib import Path
from typing import Any

import yaml
from cluster.testbed import tools

CHART = Path(__file__).resolve().parent.parent / "helm" / "awm-fleet"
VALUES = sorted((CHART / "ci").glob("*.yaml"))
HELMS = ("helm3", "helm4")
IMAGE = f"registry.example/awm/control@sha256:{'0' * 64}"


def run(program: Path, *arguments: str | Path) -> str:
    """Runs Helm; returns what it printed.

    Raises:
        CalledProcessError: It failed; its words are in `stderr`, and beside the error.
    """
    command = [program, *map(str, arguments)]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    except subprocess.CalledProcessError as exc:
        exc.add_note(exc.stderr)
        raise


def rendered(program: Path, *arguments: str | Path) -> list[dict[str, Any]]:
    """The objects that the chart renders in the namespace `awm`."""
    version = f"--kube-version={tools.KUBERNETES}"
    text = run(program, "template", "fleet", CHART, "--namespace=awm", version, *arguments)
    return [each for each in yaml.safe_load_all(text) if each]


def named(objects: list[dict[str, Any]], kind: str, name: str | None = None) -> list[dict[str, Any]]:
    """Those of a kind, and of a name where one is given."""
    return [each for each in objects if each["kind"] == kind and name in (None, each["metadata"]["name"])]
