"""Load from outside: wrk, driven by `calls.lua`."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench import serving

Era = Literal["2025-11-25", "2026-07-28"]
ERAS: tuple[Era, ...] = ("2025-11-25", "2026-07-28")

_SCRIPT = Path(__file__).with_name("calls.lua")
_META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}


@dataclass(frozen=True)
class Load:
    """What came of one run of wrk; `cpu_ms` is the processor time that the scenario's process took per call."""

    p50_ms: float
    p99_ms: float
    calls_per_s: float
    cpu_ms: float


def require() -> None:
    """Makes sure that wrk is there; installs Debian's package where that is allowed."""
    if shutil.which("wrk") is None and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "install", "-y", "-qq", "wrk"], stdout=subprocess.DEVNULL, check=False)
    if shutil.which("wrk") is None:
        raise SystemExit("bench: calls are measured with wrk, which is missing: apt-get install wrk")


def run(
    instance: serving.Instance,
    episodes: list[str],
    tool: str,
    *,
    era: Era,
    seconds: int,
    scratch: Path,
    url: str | None = None,
) -> Load:
    """Calls a tool from one connection for each episode, for some seconds.

    Args:
        instance: Where the episodes are.
        episodes: Their ids.
        tool: The tool.
        era: The protocol.
        seconds: How long.
        scratch: An empty folder.
        url: Where it is called, for example through a router; by default the instance's agent plane.

    Raises:
        RuntimeError: A call was not answered, or its answer was an error.
    """
    plan = scratch / "plan.txt"
    plan.write_text(_plan(episodes, tool, era))
    before = [_tally(instance, each) for each in episodes]
    used = instance.cpu_seconds()
    target = url or instance.address.agent_url
    command = ["wrk", "-t1", "--timeout", "20s", f"-c{len(episodes)}", f"-d{seconds}s", "-s", str(_SCRIPT), target]
    done = subprocess.run([*command, "--", str(plan)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"wrk failed: {done.stderr or done.stdout}")
    used = instance.cpu_seconds() - used
    said = json.loads(done.stdout.splitlines()[-1])
    after = [_tally(instance, each) for each in episodes]
    calls = sum(calls for calls, _ in after) - sum(calls for calls, _ in before)
    # An answer may be on its way when wrk stops; a status of 200 does not say whether the tool did its work.
    if said["failed"] or any(errors for _, errors in after) or not 0 <= calls - said["requests"] <= len(episodes):
        raise RuntimeError(f"calls went wrong: wrk saw {said}, the episodes {calls} calls and {after}")
    return Load(
        p50_ms=said["p50_us"] / 1e3,
        p99_ms=said["p99_us"] / 1e3,
        calls_per_s=said["requests"] / (said["duration_us"] / 1e6),
        cpu_ms=1e3 * used / said["requests"],
    )


def _plan(episodes: list[str], tool: str, era: Era) -> str:
    message = serving.call_message(tool, {})
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    headers["MCP-Protocol-Version"] = era
    if era == "2026-07-28":
        message["params"]["_meta"] = _META
        headers |= {"Mcp-Method": "tools/call", "Mcp-Name": tool}
    lines = [json.dumps(message), *(f"{name}: {value}" for name, value in headers.items()), ""]
    return "\n".join([*lines, *(f"/e/{episode}/mcp" for episode in episodes)]) + "\n"


def _tally(instance: serving.Instance, episode: str) -> tuple[int, int]:
    """How many calls the episode counted, and how many went wrong."""
    seen = instance.control.request("GET", f"/v1/episodes/{episode}")
    return seen["calls"], sum(seen["errors"].values())
