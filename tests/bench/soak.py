"""A router at half its load for a long while: does it grow, does anything fail?"""

import asyncio
import contextlib
import json
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import psutil

from awm_registry import directory
from awm_registry.router import pool, requests, settings, wire
from bench import report, serving, worlds

_PLAYERS = 32
_CALLS = 32
"""In each episode, which is closed then; the next one is opened."""
_CALIBRATION_S = 5.0
_SETTLED = 0.2
"""The part of the time after which a router has what it keeps: caches, connections, the allocator's pools."""
_WINDOW = 0.1


@dataclass
class _Tally:
    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    episodes: int = 0


class _Player:
    """Plays one episode after the other, each call when its time has come.

    Args:
        url: The router.
        world: The scenario.
        client: How requests travel.
        pause_s: From the begin of one call to the begin of the next; 0: at once.
    """

    def __init__(self, url: str, world: worlds.World, client: pool.Pool, *, pause_s: float) -> None:
        self._router = directory.Instance(
            id=directory.InstanceId("router"),
            scenario=world.name,
            generation=1,
            bundle="",
            state="ready",
            agent_url=url,
            control_url=url,
        )
        self._listing = json.dumps(serving.call_message(world.listing, {})).encode()
        self._scenario = world.name
        self._client = client
        self._pause_s = pause_s

    async def play(self, tally: _Tally, until: float) -> None:
        """Plays until then; what goes wrong is noted, and the next episode begun."""
        while time.perf_counter() < until:
            try:
                await self._episode(tally, until)
            except (wire.Unsent, wire.Broken, TimeoutError, KeyError, ValueError) as exc:
                tally.errors.append(f"{type(exc).__name__}: {exc}")

    async def _episode(self, tally: _Tally, until: float) -> None:
        wanted = {"episodes": [{"scenario": self._scenario}], "retain_s": 0}
        opened = json.loads(await self._control("POST", "/v1/episodes", json.dumps(wanted).encode()))
        id = opened["episodes"][0]["id"]
        for _ in range(_CALLS):
            began = time.perf_counter()
            if began > until:
                break
            said = json.loads(await self._call(id))
            tally.seconds.append(time.perf_counter() - began)
            if said["result"]["isError"]:
                raise ValueError(f"a call failed: {said}")
            await asyncio.sleep(max(0.0, began + self._pause_s - time.perf_counter()))
        await self._control("DELETE", f"/v1/episodes/{id}", b"")
        tally.episodes += 1

    async def _call(self, id: str) -> bytes:
        lines = b"content-type: application/json\r\n"
        sent = requests.agent(self._router, "POST", id, token=None, lines=lines, body=self._listing)
        return await self._answered(sent)

    async def _control(self, method: str, path: str, body: bytes) -> bytes:
        return await self._answered(requests.control(self._router, method, path, token=None, lines=b"", body=body))

    async def _answered(self, sent: tuple[str, bytes]) -> bytes:
        async with self._client.asked(*sent) as answer:
            content = b"".join([part async for part in answer.parts(60)])
        if not 200 <= answer.status < 300:
            raise ValueError(f"{answer.status}: {content[:200]!r}")
        return content


def measure(url: str, prepared: Sequence[worlds.World], router: psutil.Process, *, seconds: float) -> report.Row:
    """Plays at half of what the router carries; memory is compared early, when it has settled, and at the end."""
    return asyncio.run(_measured(url, prepared, router, seconds=seconds))


async def _measured(
    url: str, prepared: Sequence[worlds.World], router: psutil.Process, *, seconds: float
) -> report.Row:
    full = await _played(url, prepared, seconds=min(_CALIBRATION_S, seconds), pause_s=0.0)
    rate = len(full.seconds) / min(_CALIBRATION_S, seconds) / 2
    seen: list[tuple[float, int]] = []
    async with _sampled(router, seen):
        tally = await _played(url, prepared, seconds=seconds, pause_s=_PLAYERS / rate)
    errors = full.errors + tally.errors
    figures = {
        "calls_per_s": len(tally.seconds) / seconds,
        **report.percentiles(tally.seconds),
        "errors": len(errors),
        "mb": _between(seen, 1 - _WINDOW, 1.0)[0],
        "grown_mb": _between(seen, 1 - _WINDOW, 1.0)[0] - _between(seen, _SETTLED, _SETTLED + _WINDOW)[0],
        "grown_descriptors": _between(seen, 1 - _WINDOW, 1.0)[1] - _between(seen, _SETTLED, _SETTLED + _WINDOW)[1],
    }
    what = f"{seconds:g} s at half load, {tally.episodes} episodes"
    limits = (
        report.Limit("errors", "below", 1),
        report.Limit("grown_mb", "below", 5.0),
        report.Limit("grown_descriptors", "below", 5.0),
    )
    if errors:
        what += f"; the first error: {errors[0]}"
    return report.Row(f"{len(prepared)} scenarios", what, figures, limits)


async def _played(url: str, prepared: Sequence[worlds.World], *, seconds: float, pause_s: float) -> _Tally:
    client = pool.Pool(settings.Settings(connections=_PLAYERS))
    tally = _Tally()
    until = time.perf_counter() + seconds
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(_PLAYERS):
                player = _Player(url, prepared[number % len(prepared)], client, pause_s=pause_s)
                group.create_task(player.play(tally, until))
    finally:
        client.close()
    return tally


@contextlib.asynccontextmanager
async def _sampled(router: psutil.Process, seen: list[tuple[float, int]]) -> AsyncIterator[None]:
    """Notes the router's memory in MB and its descriptors, some times a second, for the length of a `with` block."""

    async def sample() -> None:
        while True:
            seen.append((router.memory_info().rss / 1e6, router.num_fds()))
            await asyncio.sleep(0.25)

    task = asyncio.create_task(sample())
    try:
        yield
    finally:
        task.cancel()


def _between(seen: Sequence[tuple[float, int]], begin: float, end: float) -> tuple[float, float]:
    """The medians of a part of the time."""
    part = seen[int(begin * len(seen)) : max(int(end * len(seen)), int(begin * len(seen)) + 1)]
    return statistics.median(mb for mb, _ in part), statistics.median(count for _, count in part)
