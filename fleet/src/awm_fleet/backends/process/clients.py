"""A router's view of the fleet, which it hears from the supervisor."""

import asyncio
import contextlib
import dataclasses
import json
import logging
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Self
from urllib import parse

import httpx

from awm_fleet.backends import feeds, identities, protocol
from awm_fleet.backends.process import api, controls
from awm_registry import directory
from awm_registry.catalogue import model
from awm_registry.router import served
from awm_runtime.contract import problems

logger = logging.getLogger("awm.fleet")

_PATIENCE_S = 10.0
_WATCH_PATIENCE_S = 15.0
"""Longer than a watch is ever silent."""
_AGAIN_S = 0.2
_HEARD_S = 2.0
_BASE_URL = "http://supervisor"


class SupervisorDirectory:
    """A router's view of the fleet (`awm_registry.directory.Directory`).

    Keeps what it heard last while the supervisor does not answer, and connects again.

    Args:
        socket: The supervisor's socket file.
        catalogues: What the fleet serves; without it generations are not told apart.
        direct: Whether callers may reach instances, which are on this machine, beside the router.
    """

    def __init__(self, socket: Path, catalogues: served.Catalogues | None = None, *, direct: bool = True) -> None:
        self._catalogues = catalogues
        self._direct = direct
        self._dormant: dict[str, list[directory.Dormant]] = {}
        self._dormant_of: object = None
        transport = httpx.AsyncHTTPTransport(uds=str(socket))
        self._http = httpx.AsyncClient(transport=transport, base_url=_BASE_URL, timeout=_PATIENCE_S)
        self._feed = feeds.Feed()
        self._version = -1
        self._heard = asyncio.Event()

    def instances(self, scenario: str) -> Sequence[directory.Instance]:
        found = [each for each in self._feed.all() if each.scenario == scenario]
        return sorted(found, key=lambda each: -each.generation)

    def all(self) -> Sequence[directory.Instance]:
        return self._feed.all()

    def watch(self) -> AsyncIterator[directory.Change]:
        return self._feed.watch()

    def dormant(self, scenario: str) -> Sequence[directory.Dormant]:
        current = self._catalogues.current if self._catalogues is not None else None
        if current is not self._dormant_of and current is not None:
            self._dormant, self._dormant_of = {}, current
            for row in reversed(current.entries.values()):
                self._dormant.setdefault(row.name, []).append(_dormant(row))
        return self._dormant.get(scenario, ())

    async def wake(self, scenario: str, generation: int | None = None) -> None:
        wanted = {} if generation is None else {"generation": generation}
        try:
            answer = await self._http.post(f"/v1/wake/{parse.quote(scenario, safe='')}", params=wanted)
        except httpx.TransportError as exc:
            raise problems.ProblemError(
                problems.Code.STARTING, "the fleet's supervisor does not answer now", retry_after_s=1.0
            ) from exc
        controls.raise_problem(answer.status_code, answer.headers.get("content-type", ""), answer.content)
        # What was woken is heard of before this returns, so that nobody asks again for what they just asked for.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_HEARD_S):
                await self._has_heard(answer.json()["version"])

    async def follow(self) -> None:
        """Hears of changes until it is cancelled."""
        while True:
            try:
                await self._follow_once()
                logger.warning("the supervisor hung up; connecting again")
            except (httpx.TransportError, ValueError, KeyError) as exc:
                logger.warning("the supervisor does not answer (%s); connecting again", type(exc).__name__)
            await asyncio.sleep(_AGAIN_S)

    async def close(self) -> None:
        """Hangs up."""
        self._feed.close()
        await self._http.aclose()

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[Self]:
        """Follows the fleet for the length of a `with` block; begins once it is known what runs."""
        task = asyncio.create_task(self.follow(), name="follow the supervisor")
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_HEARD_S):
                    await self._has_heard(0)
            yield self
        finally:
            task.cancel()
            await asyncio.wait([task])
            await self.close()

    async def _follow_once(self) -> None:
        async with self._http.stream("GET", "/v1/watch", timeout=_WATCH_PATIENCE_S) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                self._note(json.loads(line))

    def _note(self, said: dict[str, Any]) -> None:
        if "instances" in said:
            self._feed.replace(map(self._instance, said["instances"]))
        elif said.get("instance"):
            self._feed.publish(self._instance(said["instance"]))
        elif "id" in said:
            self._feed.remove(directory.InstanceId(said["id"]))
        if "version" in said:
            self._version = said["version"]
            self._heard.set()

    def _instance(self, said: dict[str, Any]) -> directory.Instance:
        return dataclasses.replace(api.instance(said), is_direct=self._direct)

    async def _has_heard(self, version: int) -> None:
        while self._version < version:
            self._heard.clear()
            await self._heard.wait()


def _dormant(row: model.Entry) -> directory.Dormant:
    """The instance of a row, as the backend calls it."""
    spec = protocol.EnvironmentSpec(scenario=row.name, generation=row.generation, digest=row.bundle)
    return directory.Dormant(identities.instance_id(spec), row.generation, row.bundle)
