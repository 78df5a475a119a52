"""`python -m bench.router`: what a router costs. The table goes to standard error, JSON to standard output."""

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import fleets
import psutil
import router_process

from awm_registry import directory
from awm_registry.router import pool, requests, settings, wire
from bench import cold, load, report, serving, soak, worlds

_SCENARIOS = 4
_ROUNDS = 3
_MEMORY_DISK = Path("/dev/shm")


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    seconds: int
    batch: int
    at_once: int
    open: int
    asleep: int


FULL = Size(seconds=4, batch=1024, at_once=2000, open=10_000, asleep=100)
QUICK = Size(seconds=1, batch=16, at_once=50, open=40, asleep=2)
KINDS = ("calls", "batch", "crowd", "memory", "cold")


@dataclass(frozen=True)
class Setting:
    """A router before instances of a few scenarios."""

    worlds: Sequence[worlds.World]
    instances: Sequence[serving.Instance]
    url: str
    router: psutil.Process

    @property
    def name(self) -> str:
        return f"{len(self.worlds)} scenarios"

    def open(self, count: int) -> list[str]:
        """Opens so many episodes over all scenarios by one request; their ids."""
        shares = [count // len(self.worlds) + (number < count % len(self.worlds)) for number in range(len(self.worlds))]
        items = [{"scenario": world.name, "count": share} for world, share in zip(self.worlds, shares, strict=True)]
        connection = serving.Connection(self.url)
        with contextlib.closing(connection):
            opened = connection.request("POST", "/v1/episodes", {"episodes": items, "ttl_s": 86400})
        if opened["rejected"]:
            raise RuntimeError(f"not opened: {opened['rejected']}")
        return [each["id"] for each in opened["episodes"]]


def main() -> None:
    """Measures what a router costs."""
    parser = argparse.ArgumentParser(prog="make bench-router BENCH_ARGS=...", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a little of everything: shows that it runs, no more")
    parser.add_argument("--only", action="append", default=[], choices=KINDS, help="only this; may be repeated")
    parser.add_argument("--soak", type=float, metavar="SECONDS", help="only this: half load for so long")
    given = parser.parse_args()
    size = QUICK if given.quick else FULL
    load.require()
    machine = report.machine()
    _say(report.described(machine))
    rows = []
    for row in _rows(given.only or KINDS, size) if given.soak is None else _soaked(given.soak):
        rows.append(row)
        what, figures, targets, met = row.cells()
        _say(f"{row.scenario[:14]:14}  {what:44}  {figures:62}  {targets}{'  ' if met else ''}{met}")
    print(json.dumps({"machine": machine, "rows": [row.document() for row in rows]}, indent=1))


@contextlib.contextmanager
def _setting() -> Iterator[Setting]:
    with tempfile.TemporaryDirectory(prefix="awm-bench-", dir=_disk()) as folder, contextlib.ExitStack() as stack:
        home = Path(folder)
        found = list(worlds.prepared([], home / "bundles"))[:_SCENARIOS]
        bundles = {world.name: world.bundle.root for world in found}
        (home / "catalogue").mkdir()
        fleets.catalogue(list(bundles.values()), home / "catalogue")
        variables = serving.SETTINGS | {"AWM_EPISODES": "100000", "AWM_CONTROL_TOKEN": ""}
        running = stack.enter_context(fleets.instances(bundles, home / "state", **variables))
        awake: list[directory.Instance] = [running.start(f"i{number}", name) for number, name in enumerate(bundles)]
        routers = stack.enter_context(router_process.running(home / "catalogue", awake))
        instances = [
            serving.Instance(running.launched[each.id].address, running.launched[each.id].process.pid) for each in awake
        ]
        for instance in instances:
            stack.callback(instance.close)
        yield Setting(found, instances, routers.url, psutil.Process(routers.processes[0].pid))


def _rows(wanted: Sequence[str], size: Size) -> Iterator[report.Row]:
    """What is asked for; all that needs a few scenarios before the same router."""
    kinds = {"calls": _calls, "batch": _batch, "crowd": _crowd, "memory": _memory}
    if "cold" in wanted:
        yield from _cold(size)
    if set(wanted) & set(kinds):
        with _setting() as measured:
            for kind in (each for each in kinds if each in wanted):
                yield from kinds[kind](measured, size)


def _cold(size: Size) -> Iterator[report.Row]:
    found = cold.bundles(size.asleep)
    with tempfile.TemporaryDirectory(prefix="awm-bench-", dir=_disk()) as folder:
        yield from cold.measure(found, Path(folder), episodes=size.batch)


def _soaked(seconds: float) -> Iterator[report.Row]:
    with _setting() as measured:
        yield soak.measure(measured.url, measured.worlds, measured.router, seconds=seconds)


def _calls(measured: Setting, size: Size) -> Iterator[report.Row]:
    world, instance = measured.worlds[0], measured.instances[0]
    episodes = instance.open(count=64)
    connection = serving.Connection(measured.url)
    with contextlib.closing(connection):
        opened = connection.request("POST", "/v1/episodes", {"episodes": [{"scenario": world.name, "count": 64}]})
    routed = [each["id"] for each in opened["episodes"]]
    for count in (1, 64):
        direct, through = [], []
        for _ in range(_ROUNDS):
            direct.append(_load(measured, episodes[:count], size, url=None))
            through.append(_load(measured, routed[:count], size, url=measured.url))
        base, figures = _median(direct), _median(through)
        yield report.Row(world.name, f"direct, {count} at once", base)
        if count == 1:
            figures["over_direct_ms"] = figures["p50_ms"] - base["p50_ms"]
            limit = report.Limit("over_direct_ms", "below", 0.7)
        else:
            figures["of_direct_rate"] = figures["calls_per_s"] / base["calls_per_s"]
            limit = report.Limit("of_direct_rate", "at least", 0.8)
        yield report.Row(world.name, f"through the router, {count} at once", figures, (limit,))


def _load(measured: Setting, episodes: list[str], size: Size, *, url: str | None) -> load.Load:
    with tempfile.TemporaryDirectory() as scratch:
        return load.run(
            measured.instances[0],
            episodes,
            measured.worlds[0].listing,
            era="2025-11-25",
            seconds=size.seconds,
            scratch=Path(scratch),
            url=url,
        )


def _median(loads: Sequence[load.Load]) -> dict[str, float]:
    return {
        figure: statistics.median(getattr(each, figure) for each in loads)
        for figure in ("p50_ms", "p99_ms", "calls_per_s")
    }


def _batch(measured: Setting, size: Size) -> Iterator[report.Row]:
    began = time.perf_counter()
    opened = measured.open(size.batch)
    seconds = time.perf_counter() - began
    limit = report.Limit("seconds", "below", 3.0)
    yield report.Row(measured.name, f"open {len(opened)} episodes by one request", {"seconds": seconds}, (limit,))


def _crowd(measured: Setting, size: Size) -> Iterator[report.Row]:
    """So many requests on so many connections at the same moment."""
    episodes = measured.open(len(measured.worlds))
    began = time.perf_counter()
    counted = asyncio.run(_asked_at_once(measured, episodes, size.at_once))
    figures = {
        "seconds": time.perf_counter() - began,
        "answered": counted["answered"],
        "refused": counted["refused"],
        "lost": counted["lost"],
    }
    what = f"{size.at_once} calls at the same moment"
    yield report.Row(measured.name, what, figures, (report.Limit("lost", "below", 1),))


async def _asked_at_once(measured: Setting, episodes: Sequence[str], count: int) -> Counter[str]:
    client = pool.Pool(settings.Settings(connections=count))
    listing = {id: world.listing for id, world in zip(episodes, measured.worlds, strict=True)}

    async def ask(number: int) -> str:
        id = episodes[number % len(episodes)]
        body = json.dumps(serving.call_message(listing[id], {})).encode()
        lines = b"content-type: application/json\r\n"
        instance = directory.Instance(
            id=directory.InstanceId("router"),
            scenario="",
            generation=1,
            bundle="",
            state="ready",
            agent_url=measured.url,
        )
        try:
            async with client.asked(
                *requests.agent(instance, "POST", id, token=None, lines=lines, body=body)
            ) as answer:
                said = json.loads(b"".join([part async for part in answer.parts(60)]))
        except (wire.Unsent, wire.Broken, TimeoutError):
            return "lost"
        if "result" in said:
            return "answered"
        return "refused" if "retry_after_s" in said["error"]["data"] else "lost"

    try:
        return Counter(await asyncio.gather(*(ask(number) for number in range(count))))
    finally:
        client.close()


def _memory(measured: Setting, size: Size) -> Iterator[report.Row]:
    """The router's memory when so many episodes were opened through it and each was called once."""
    while_open = 0
    connection = serving.Connection(measured.url)
    with contextlib.closing(connection):
        for _ in range(4):
            for id in measured.open(size.open // 4):
                connection.request("POST", f"/e/{id}/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
                while_open += 1
    figures = {"mb": measured.router.memory_info().rss / 1e6}
    what = f"memory of the router with {while_open} episodes"
    yield report.Row(measured.name, what, figures, (report.Limit("mb", "below", 150.0),))


def _disk() -> Path | None:
    return _MEMORY_DISK if _MEMORY_DISK.is_dir() else None


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
