"""What `helm test` runs: an episode is opened through the router, played and judged, and a shut door is tried.

`python -m awm_fleet.backends.kubernetes.trial --control URL --team NAME ...`
"""

import argparse
import asyncio
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib import parse

from awm_fleet.backends.kubernetes import api, model, names, objects
from awm_registry import client
from awm_registry.tokens import issuing, keys
from awm_runtime import errors
from awm_runtime.contract import problems

_TOKEN_S = 900.0
_KNOCK_S = 3.0
_AGAIN_S = 1.0
_PORTS = (objects.AGENT_PORT, objects.CONTROL_PORT)

Enforcement = Literal["require", "warn", "none"]


class TrialFailed(errors.PermanentError):
    """The fleet does not do what it should; the message says what, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is tried.

    Attributes:
        control: The team's control plane, with its path.
        agent: Where the router's agent plane is reached from here, without a path.
        team: The team.
        namespace: Its namespace.
        keys: The folder with its keys.
        scenario, task: What is played; empty: the first that the catalogue tells of.
        timeout_s: How long the fleet may take to start, and the scenario to wake.
        enforcement: What becomes of a network policy that nobody enforces.
        kubeconfig: How to reach the cluster; None: as the pod's service account.
    """

    control: str
    agent: str
    team: str
    namespace: str
    keys: Path
    scenario: str = ""
    task: str = ""
    timeout_s: float = 120.0
    enforcement: Enforcement = "require"
    kubeconfig: str | None = None


class _NothingServed(TrialFailed):
    """The catalogue is empty, or not there yet."""


def play(options: Options, say: Callable[[str], None]) -> None:
    """Plays.

    Raises:
        TrialFailed: The fleet does not do what it should.
        AwmError: The fleet refuses, or does not answer.
    """
    issuer = issuing.Issuer(keys.Signer(options.keys), team=options.team)
    token = issuer.token("control", ttl_s=_TOKEN_S, subject="helm-test")
    with client.SyncFleet(options.control, token=token, patience_s=options.timeout_s) as fleet:
        scenario, task = _awaited(fleet, options)
        with fleet.open(scenario, task=task) as episode:
            say(f"opened {episode.id} of {scenario}, task {task}")
            _call(episode, options.agent, say)
            verdict = episode.verify("")
            if verdict.outcome == "abstained":
                raise TrialFailed(f"{scenario}, task {task}: the verifier abstained: {verdict.reason}")
            say(f"judged: {verdict.outcome}")
            if options.enforcement != "none":
                _knock(options, scenario, say)


def _awaited(fleet: client.SyncFleet, options: Options) -> tuple[str, str]:
    """The scenario and the task that are played, once a release that was just installed tells of some."""
    deadline = time.monotonic() + options.timeout_s
    while True:
        try:
            return _chosen(fleet, options)
        except (errors.TransientError, problems.ProblemError, _NothingServed) as exc:
            passes = not isinstance(exc, problems.ProblemError) or exc.code is problems.Code.STARTING
            if not passes or time.monotonic() > deadline:
                raise
        time.sleep(_AGAIN_S)


def _chosen(fleet: client.SyncFleet, options: Options) -> tuple[str, str]:
    scenario = options.scenario or next((each.name for each in fleet.scenarios()), "")
    if not scenario:
        raise _NothingServed(f"team {options.team} is served nothing: give the chart a catalogue's index")
    known = (each.id for each in fleet.tasks(search=scenario) if each.scenario == scenario)
    task = options.task or next(known, "")
    if not task:
        raise TrialFailed(
            f"the catalogue tells of no task of {scenario}: name one with test.task, or give its files with "
            "catalog.metadataConfigMaps"
        )
    return scenario, task


def _call(episode: client.SyncEpisode, agent: str, say: Callable[[str], None]) -> None:
    """Calls the first tool that wants no arguments; where each wants some, they are listed only."""
    url = agent + parse.urlsplit(episode.mcp_url).path
    with client.ToolClient(url, token=episode.token) as tools:
        listed = tools.tools()
        plain = [each["name"] for each in listed if not each["inputSchema"].get("required")]
        say(f"listed {len(listed)} tools at {url}")
        if plain:
            reply = tools.call(plain[0], {})
            say(f"called {plain[0]}: {'an error' if reply.is_error else 'answered'}")


def _knock(options: Options, scenario: str, say: Callable[[str], None]) -> None:
    """Tries the ports of the scenario's pods, which only controller and router may reach."""
    pods = asyncio.run(_pods(options, scenario))
    doors = [(pod.address, port) for pod in pods if pod.address and pod.ready for port in _PORTS]
    if not doors:
        raise TrialFailed(f"{options.namespace} has no ready pod of {scenario}, though an episode is open in one")
    reached = [f"{address}:{port}" for address, port in doors if _opens(address, port)]
    if not reached:
        say(f"closed to others, as it should be: {', '.join(f'{address}:{port}' for address, port in doors)}")
        return
    found = f"anybody reaches {', '.join(reached)}: the cluster's network does not enforce NetworkPolicies"
    if options.enforcement == "require":
        raise TrialFailed(f"{found}; use a network plug-in that does, or set networkPolicy.enforcement to warn")
    say(f"WARNING: {found}")


async def _pods(options: Options, scenario: str) -> list[model.Pod]:
    connection = await api.Api.connect(options.kubeconfig)
    try:
        selector = f"{names.ENVIRONMENT}={names.environment(scenario)}"
        documents, _ = await connection.list(api.PODS, options.namespace, selector)
    finally:
        await connection.close()
    return [model.pod(each) for each in documents]


def _opens(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=_KNOCK_S).close()
    except OSError:
        return False
    return True


def main(arguments: list[str] | None = None) -> int:
    """Plays; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--control", required=True, help="the team's control plane, with its path")
    parser.add_argument("--agent", required=True, help="the router's agent plane, without a path")
    parser.add_argument("--team", required=True)
    parser.add_argument("--namespace", required=True, help="the team's")
    parser.add_argument("--keys", type=Path, required=True, help="the folder with the team's keys")
    parser.add_argument("--scenario", default="")
    parser.add_argument("--task", default="")
    parser.add_argument("--timeout", type=float, default=120.0, dest="timeout_s")
    parser.add_argument("--enforcement", choices=["require", "warn", "none"], default="require")
    parser.add_argument("--kubeconfig")
    options = Options(**vars(parser.parse_args(arguments)))
    try:
        play(options, lambda text: print(text, flush=True))  # noqa: T201
    except errors.AwmError as exc:
        print(f"error: {exc}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
