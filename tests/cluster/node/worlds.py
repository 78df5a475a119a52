"""The chart on a real node, as its users have it: the images of this checkout, and scenarios that sleep."""

import json
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib import parse

import httpx2
import mcp
from mcp.client.streamable_http import streamable_http_client

from awm_fleet.backends.kubernetes import names
from awm_registry import client
from awm_registry.tokens import issuing, keys
from awm_runtime.contract import episodes, problems, tokens
from cluster import releases
from cluster.testbed import clusters, registries

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "fleet" / "src" / "awm_fleet" / "examples"
TEAM = "red"
PATIENCE_S = 60.0
ABSENT = f"{registries.HOST}/awm/absent@sha256:{'0' * 64}"
COPIES = ("absent", "stranger", "deleted", "distant", "greedy", "hoarder")
"""Scenarios that tests do something to; each is the library under another name."""

HOARDS = """

def _hoard():
    taken = []
    while True:
        taken.append(b"x" * 2**24)
"""
CHANGES = {
    "greedy": f"{HOARDS}\n_hoard()\n",
    "hoarder": f"""{HOARDS}

@app.middleware("http")
async def _hoarding(request, call_next):
    if request.url.path == "/api/branches":
        _hoard()
    return await call_next(request)
""",
}
"""What is added to the code of some: it takes all memory, as soon as it is loaded or when it lists the branches."""


Row = dict[str, Any]
"""Of a catalogue's index."""


class World(releases.Release):
    """A release with one team. All of its pods are real ones.

    Attributes:
        rows: The index's rows by scenario.
        agent, control: Where the Services of the router answer.
    """

    def __init__(self, cluster: clusters.Cluster, helm: Path, folder: Path, images: Path) -> None:
        super().__init__(cluster, helm, folder)
        self.folder = folder
        self.rows: dict[str, Row] = {}
        self.agent = self.control = ""
        self.teams = [{"name": TEAM, "namespace": self.teams[0]["namespace"]}]
        self.base = registries.push(f"oci:{images}/awm-runtime", "runtime")
        self.values = {
            "image": {"reference": registries.push(f"oci:{images}/awm-control", "control")},
            "teams": self.teams,
            "catalog": {"metadataConfigMaps": ["catalogue"]},
            "environments": {"endSeconds": 5, "idleTimeout": "0s"},
            "test": {"scenario": "clinic"},
            "networkPolicy": {"enforcement": "warn"},  # nobody enforces them here
        }

    @property
    def team(self) -> str:
        """The team's namespace."""
        return str(self.teams[0]["namespace"])

    def build(self, *bundles: Path) -> list[Row]:
        """Builds and pushes the images of bundles; returns their rows of an index."""
        options = ("--base", f"registry:{self.base}", "--output", f"registry:{registries.HOST}/awm", "--plain-http")
        built = awm("image", "build", *bundles, *options)
        (self.folder / "images.json").write_text(built)
        catalogue = self.folder / "catalogue"
        awm("catalog", "build", *bundles, "--images", self.folder / "images.json", "--out", catalogue)
        entries: list[Row] = json.loads((catalogue / "index.json").read_text())["entries"]
        return entries

    def install(self) -> None:
        """Installs the chart; returns when the router answers and the controller has made all environments."""
        self.index(*self.rows.values())
        catalogue = self.folder / "catalogue"
        files = (f"--from-file={catalogue}/metadata", f"--from-file={catalogue}/tools")
        self.cluster.kubectl("create", "namespace", self.namespace)
        self.cluster.kubectl("create", "configmap", "catalogue", *files, f"--namespace={self.namespace}")
        self.helm("install", "--wait", "--timeout=120s")
        wanted = {names.environment(each) for each in self.rows}
        self.wait("all environments", lambda: set(self.states(0)) >= wanted)
        addresses = {
            each["metadata"]["name"]: each["spec"]["clusterIP"] for each in self.get("services", self.namespace)
        }
        self.agent = f"http://{addresses[releases.ROUTER]}"
        self.control = f"http://{addresses[f'{releases.ROUTER}-control']}/t/{TEAM}"
        self.unpack(f"fleet-awm-fleet-keys-{TEAM}", self.folder / "keys")

    def token(self, scope: tokens.Scope = "control") -> str:
        """A token of the team."""
        return issuing.Issuer(keys.Signer(self.folder / "keys"), team=TEAM).token(scope, ttl_s=3600, subject="trainer")

    def trainer(self) -> client.ControlClient:
        """A client of the router's control plane."""
        return client.ControlClient(self.control, token=self.token())

    def player(self, episode: episodes.EpisodeView) -> client.ToolClient:
        """A client of an episode's MCP URL, by the address of the router's Service: names are for pods."""
        return client.ToolClient(self.agent + parse.urlsplit(episode.mcp_url).path, token=episode.token)

    def change(self, scenario: str, row: Row) -> None:
        """Names another bundle for an environment."""
        spec = {"image": row["image"], "bundleGeneration": row["generation"], "bundleDigest": row["bundle"]}
        patch = json.dumps({"spec": {**spec, "toolsHash": row["tools_hash"]}})
        options = ("--type=merge", f"--patch={patch}", f"--namespace={self.team}")
        self.cluster.kubectl("patch", "environment", names.environment(scenario), *options)

    def scale(self, scenario: str, replicas: int) -> None:
        """Wakes a scenario, or puts it to sleep."""
        name = f"environment/{names.environment(scenario)}"
        self.cluster.kubectl("scale", name, f"--replicas={replicas}", f"--namespace={self.team}")

    def environment(self, scenario: str) -> dict[str, Any]:
        """Its `Environment`."""
        name = names.environment(scenario)
        found: dict[str, Any] = self.cluster.get("environment", name, f"--namespace={self.team}")
        return found

    def condition(self, scenario: str, kind: str) -> tuple[str, str, str]:
        """Status, reason and message of one condition."""
        listed = self.environment(scenario).get("status", {}).get("conditions", [])
        found = next((each for each in listed if each["type"] == kind), {})
        return found.get("status", ""), found.get("reason", ""), found.get("message", "")

    def pods(self, scenario: str) -> list[dict[str, Any]]:
        """Its pods that are not ending."""
        found = self.get("pods", self.team, f"--selector={names.ENVIRONMENT}={names.environment(scenario)}")
        return [each for each in found if "deletionTimestamp" not in each["metadata"]]

    def wait(self, what: str, seen: Callable[[], bool], *, patience_s: float = PATIENCE_S) -> None:
        """Waits until something is so; where it does not come to be, says what the controller and the pods say."""
        try:
            self.cluster.wait(what, seen, patience_s=patience_s)
        except TimeoutError as exc:
            raise AssertionError(f"{exc}\n{self._said()}") from exc

    def wait_for(self, scenario: str, state: str, *, patience_s: float = PATIENCE_S) -> None:
        """Waits for a state."""
        name = names.environment(scenario)
        self.wait(f"{scenario} {state}", lambda: self.states(0).get(name) == state, patience_s=patience_s)

    def _said(self) -> str:
        parts = [self.cluster.kubectl("get", "environments,pods", "--output=wide", f"--namespace={self.team}")]
        parts.append(self.cluster.kubectl("get", "events", f"--namespace={self.team}"))
        parts.append(self.cluster.kubectl("get", "pods", "--output=wide", f"--namespace={self.namespace}"))
        selected = (f"--namespace={self.namespace}", "--selector=app.kubernetes.io/component=controller", "--tail=30")
        return "\n".join([*parts, self.cluster.kubectl("logs", *selected)])


def awm(*arguments: object) -> str:
    """What a command prints with --json."""
    command = [sys.executable, "-m", "awm_fleet", *map(str, arguments), "--json"]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def opened(trainer: client.ControlClient, scenario: str, count: int = 1, **more: Any) -> list[episodes.EpisodeView]:
    """Opens episodes of a scenario; one that sleeps is woken. Sent twice if need be, without leaving any behind."""
    item = episodes.FleetEpisodeSpec(scenario=scenario, count=count, **more)
    wanted, key = episodes.FleetOpenRequest(episodes=[item]), uuid.uuid4().hex
    try:
        answer = trainer.open_batch(wanted, key=key)
    except client.Unreachable:
        answer = trainer.open_batch(wanted, key=key)
    if answer.rejected:
        raise problems.ProblemError.of(answer.rejected[0].error)
    return answer.episodes


async def talked(url: str, token: str, tool: str) -> tuple[list[Any], Any]:
    """What comes of the official client's handshake, tool list and one call."""
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        transport = streamable_http_client(url, http_client=http)
        async with mcp.Client(transport) as talking:
            listed = (await talking.list_tools()).tools
            return listed, await talking.call_tool(tool, {})


def copied(bundle: Path, folder: Path, **changed: Any) -> Path:
    """A bundle with other fields in its scenario.json, named like its folder."""
    shutil.copytree(bundle, folder)
    file = folder / "scenario.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "name": folder.name, "digest": None, **changed}))
    return folder
