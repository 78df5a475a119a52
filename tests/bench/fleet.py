"""What a fleet on this machine costs: waking, memory, many episodes at once, a thousand scenarios asleep."""

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent import futures
from pathlib import Path
from statistics import median

import local_fleets
import psutil

from awm_fleet import examples
from bench import report, serving, worlds

NAME = "a fleet"
_AT_ONCE = 16
_CALLS = 3
_WAKE = (report.Limit("seconds", "below", 0.4),)
_FURTHER = (report.Limit("mb_each", "below", 30.0),)
_FIRST = (report.Limit("mb", "below", 120.0),)
_BATCH = (report.Limit("seconds", "below", 3.0), report.Limit("mb", "below", 800.0))
_ASLEEP = (report.Limit("seconds", "below", 5.0), report.Limit("mb", "below", 200.0))
_WOKEN = (report.Limit("seconds", "below", 30.0),)


def measure(
    prepared: Sequence[worlds.World], folder: Path, *, episodes: int, asleep: int, woken: int
) -> Iterator[report.Row]:
    """The figures.

    Args:
        prepared: The scenarios that share a port.
        folder: An empty folder.
        episodes: How many are opened by one batch, over all scenarios.
        asleep: How many bundles are served without being used.
        woken: How many of those are woken then.
    """
    with local_fleets.running([world.bundle.root for world in prepared], folder / "few") as fleet:
        waits = [_first_list(fleet, world.name) for world in prepared]
        yield report.Row(NAME, "asleep to the first tool list, through a router", {"seconds": median(waits)}, _WAKE)
        yield from _batch(fleet, prepared, episodes)
        yield from _memory(fleet, prepared)
    many = _copies(folder / "copies", asleep)
    for what in ("that were never seen", "that are known"):
        with local_fleets.running([many], folder / "many") as fleet:
            figures = {"seconds": fleet.started_s, "mb": _pss_mb(fleet.family())}
            yield report.Row(NAME, f"start with {asleep} bundles {what}, all asleep", figures, _ASLEEP)
            if what == "that are known":
                names = [each["name"] for each in fleet.status()["scenarios"][:woken]]
                yield report.Row(NAME, f"wake {woken} of them", {"seconds": _woken_s(fleet, names)}, _WOKEN)


def _batch(fleet: local_fleets.LocalFleet, prepared: Sequence[worlds.World], count: int) -> Iterator[report.Row]:
    """Opens episodes by one request; then each is called and verified."""
    each = count // len(prepared)
    wanted = [{"scenario": world.name, "task": world.judged_task().id, "count": each} for world in prepared]
    connection = serving.Connection(fleet.url)
    began = time.perf_counter()
    opened = connection.request("POST", "/v1/episodes", {"episodes": wanted})
    seconds = time.perf_counter() - began
    assert not opened["rejected"], opened["rejected"]
    what = f"open {each * len(prepared)} episodes over {len(prepared)} scenarios by one request"
    yield report.Row(NAME, what, {"seconds": seconds, "mb": _pss_mb(fleet.family())}, _BATCH)
    listing = {world.name: world.listing for world in prepared}
    began = time.perf_counter()
    with futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        parts = [opened["episodes"][start::_AT_ONCE] for start in range(_AT_ONCE)]
        list(pool.map(lambda part: _play(fleet.url, part, listing), parts))
    figures = {"seconds": time.perf_counter() - began, "mb": _pss_mb(fleet.family())}
    yield report.Row(NAME, f"each of them makes {_CALLS} calls and is verified", figures)


def _play(url: str, part: list[dict[str, str]], listing: dict[str, str]) -> None:
    connection = serving.Connection(url)
    for episode in part:
        for _ in range(_CALLS):
            message = serving.call_message(listing[episode["scenario"]], {})
            answer = connection.request("POST", f"/e/{episode['id']}/mcp", message)
            assert not answer["result"]["isError"], answer
        verdict = connection.request("POST", f"/v1/episodes/{episode['id']}/verify", {})
        assert verdict["outcome"] != "abstained", verdict
    connection.close()


def _memory(fleet: local_fleets.LocalFleet, prepared: Sequence[worlds.World]) -> Iterator[report.Row]:
    """What a scenario's processes have for themselves. The first one pays for what all share."""
    with local_fleets.running([world.bundle.root for world in prepared], fleet.state.parent / "fresh") as fresh:
        private = [_private_mb(fresh, world) for world in prepared]
        shared = _pss_mb([*fresh.processes(local_fleets.ZYGOTE), *fresh.processes(local_fleets.JUDGES)])
    first = private[0] + shared
    yield report.Row(NAME, "memory of the first scenario, its zygotes and its judge", {"mb": first}, _FIRST)
    figures = {"mb_each": median(private)}
    yield report.Row(NAME, "private memory of a further scenario and its judge", figures, _FURTHER)


def _private_mb(fleet: local_fleets.LocalFleet, world: worlds.World) -> float:
    episode = fleet.open(world.name, task=world.judged_task().id)
    fleet.call(episode["mcp_url"], world.listing)
    fleet.http.post(f"/v1/episodes/{episode['id']}/verify", json={}).raise_for_status()
    names = {f"{kind}:{world.name}"[:15] for kind in ("awm", "judge")}
    own = [each for each in fleet.supervisor.children() if each.name() in names]
    assert len(own) == len(names), own
    return sum(each.memory_full_info().uss for each in own) / 1e6


def _copies(folder: Path, count: int) -> Path:
    """Copies of the examples under other names."""
    names = examples.names()
    for number in range(count):
        name = names[number % len(names)]
        target = Path(shutil.copytree(examples.path(name), folder / f"{name}_{number:04}"))
        scenario = json.loads((target / "scenario.json").read_text())
        (target / "scenario.json").write_text(json.dumps({**scenario, "name": target.name}))
    return folder


def _first_list(fleet: local_fleets.LocalFleet, name: str) -> float:
    connection = serving.Connection(fleet.url)
    began = time.perf_counter()
    listed = connection.request("POST", f"/s/{name}/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    seconds = time.perf_counter() - began
    connection.close()
    assert listed["result"]["tools"]
    return seconds


def _woken_s(fleet: local_fleets.LocalFleet, names: Sequence[str]) -> float:
    """Seconds until all of these answered a call."""
    began = time.perf_counter()
    with futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lambda name: fleet.open(name), names))
    return time.perf_counter() - began


def _pss_mb(processes: Sequence[psutil.Process]) -> float:
    return sum(each.memory_full_info().pss for each in processes) / 1e6
