"""Ways through a scenario that begin alike: what they have in common is called once.

A way that follows the known one makes no call until it leaves it. Then it goes on in an episode that is forked where
the two part, with the database, the clock and the chance that the known way had there.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from awm_generator.gates import hosting
from awm_runtime.server import episodes


class Tree:
    """A known way, and the episodes along it from which others branch off.

    Args:
        host: The scenario's episodes.
        root: A fresh episode, in which nothing is called.
    """

    def __init__(self, host: hosting.Host, root: episodes.Episode) -> None:
        self.host = host
        self.known: tuple[hosting.Call, ...] = ()
        self._stops = {0: root}

    async def follow(self, calls: Sequence[hosting.Call]) -> None:
        """Makes these calls, with what came of them, the known way."""
        for depth in [depth for depth in self._stops if depth]:
            await self.host.close(self._stops.pop(depth))
        self.known = tuple(calls)

    @contextlib.asynccontextmanager
    async def way(self) -> AsyncIterator["Way"]:
        """A way from the seed, for the length of a `with` block."""
        opened = Way(self)
        try:
            yield opened
        finally:
            await opened.leave()

    async def branch(self, depth: int) -> episodes.Episode:
        """An episode after the first calls of the known way, for the caller to go on in and to close."""
        if self.host.forks_exactly:
            return await self.host.fork(await self._stop(depth))
        episode = await self.host.fork(self._stops[0])
        await self.host.play(episode, _plain(self.known[:depth]))
        return episode

    async def _stop(self, depth: int) -> episodes.Episode:
        if depth not in self._stops:
            nearest = max(stop for stop in self._stops if stop < depth)
            episode = await self.host.fork(self._stops[nearest])
            await self.host.play(episode, _plain(self.known[nearest:depth]))
            self._stops[depth] = episode
        return self._stops[depth]


class Way:
    """One way through a scenario; its calls are in `calls`."""

    def __init__(self, tree: Tree) -> None:
        self.calls: list[hosting.Call] = []
        self._tree = tree
        self._episode: episodes.Episode | None = None

    async def call(self, tool: str, arguments: dict[str, Any]) -> hosting.Call:
        """Makes the next call, or takes it from the known way where this is still that."""
        known = self._tree.known[len(self.calls) : len(self.calls) + 1]
        if self._episode is None and known and known[0].request() == hosting.requested(tool, arguments):
            self.calls.append(known[0])
        else:
            self.calls.append(await self._tree.host.call(await self._own(), tool, arguments, checked=False))
        return self.calls[-1]

    async def changes(self) -> dict[str, Any]:
        """What its calls changed, by table and key."""
        return self._tree.host.changes(await self._own())

    async def snapshot(self, target: Path) -> Path:
        """Copies the state that its calls led to."""
        return self._tree.host.snapshot(await self._own(), target)

    async def leave(self) -> None:
        """Closes its episode."""
        if self._episode is not None:
            await self._tree.host.close(self._episode)
            self._episode = None

    async def _own(self) -> episodes.Episode:
        if self._episode is None:
            self._episode = await self._tree.branch(len(self.calls))
        return self._episode


def _plain(calls: Sequence[hosting.Call]) -> list[tuple[str, dict[str, Any]]]:
    return [(call.tool, call.arguments) for call in calls]
