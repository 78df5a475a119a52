"""What a tool call costs: bare, through its episode, through the agent plane, over HTTP with one client and with 16."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import inprocess, load, report, serving, worlds

CLIENTS = 16
_OVER_FLOOR_MS = 0.5
_OF_FLOOR_RATE = 0.55
_CALLS_PER_S = 1000.0


@dataclass(frozen=True)
class Effort:
    """How long is measured.

    Attributes:
        rounds: How often; each figure is the median of the rounds. Floor and load take turns, so that a machine that
            is busy for a while is busy for both.
        seconds: How long each part of a round takes.
    """

    rounds: int
    seconds: int


def measure(world: worlds.World, state: Path, effort: Effort) -> Iterator[report.Row]:
    """The figures of one scenario."""
    bare: dict[str, list[dict[str, float]]] = {part: [] for part in inprocess.PARTS}
    loads: dict[tuple[load.Era, int], list[load.Load]] = {(era, n): [] for era in load.ERAS for n in (1, CLIENTS)}
    with serving.serving(world.bundle.root, state) as instance:
        ids = instance.open(count=CLIENTS)
        for episode in ids:
            instance.call(episode, world.listing)
        for _ in range(effort.rounds):
            for part, seen in bare.items():
                seen.append(_without_http(part, world, state, effort.seconds))
            for (era, clients), seen_loads in loads.items():
                seen_loads.append(
                    load.run(instance, ids[:clients], world.listing, era=era, seconds=effort.seconds, scratch=state)
                )
    floor = _median(bare["floor"])
    yield report.Row(world.name, f"floor: bare app call of `{world.listing}`", floor)
    for part, what in (("call", "in process: through its episode"), ("plane", "in process: through the agent plane")):
        yield report.Row(world.name, what, _against(floor, _median(bare[part])))
    for (era, clients), seen_loads in loads.items():
        yield _loaded(world, era, clients, floor, _median([vars(each) for each in seen_loads]))


def _loaded(
    world: worlds.World, era: load.Era, clients: int, floor: dict[str, float], figures: dict[str, float]
) -> report.Row:
    if clients == 1:
        near = (report.Limit("over_floor_ms", "below", _OVER_FLOOR_MS),)
        return report.Row(world.name, f"HTTP, {era}, one client", _against(floor, figures), near)
    limits = [report.Limit("of_floor_rate", "at least", _OF_FLOOR_RATE)]
    if _OF_FLOOR_RATE * floor["calls_per_s"] >= _CALLS_PER_S:  # a handler that is slower by itself cannot reach it
        limits.append(report.Limit("calls_per_s", "at least", _CALLS_PER_S))
    share = {"of_floor_rate": figures["calls_per_s"] / floor["calls_per_s"]}
    return report.Row(world.name, f"HTTP, {era}, {clients} episodes", {**figures, **share}, tuple(limits))


def _against(floor: dict[str, float], figures: dict[str, float]) -> dict[str, float]:
    return {**figures, "over_floor_ms": figures["p50_ms"] - floor["p50_ms"]}


def _median(seen: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(each[name] for each in seen) for name in seen[0]}


def _without_http(part: str, world: worlds.World, folder: Path, seconds: int) -> dict[str, float]:
    """In a process of its own each time: what serves episodes is patched into it and must not be in the floor."""
    environment = {**os.environ, "PYTHONHASHSEED": "0", "TZ": "UTC", "PYTHONPATH": str(worlds.ROOT / "tests")}
    command = [sys.executable, "-W", "ignore", "-m", "bench.inprocess", part, str(world.bundle.root), world.listing]
    with tempfile.TemporaryDirectory(dir=folder) as state:  # on the same file system as the instance's episodes
        done = subprocess.run([*command, state, str(seconds)], env=environment, stdout=subprocess.PIPE, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures
