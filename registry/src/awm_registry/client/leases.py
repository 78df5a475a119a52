"""Renews leases in the background, so that episodes live for as long as their program does."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

from awm_runtime import errors
from awm_runtime.contract import problems

logger = logging.getLogger(__name__)

_SHARE = 3
"""A lease is renewed when a third of it is over, so that one renewal may fail."""
_AT_ONCE = 16
_IDLE_S = 5.0


@dataclass(slots=True)
class _Lease:
    ttl_s: float
    due: float


class Leases:
    """The leases of a fleet's episodes.

    Args:
        renew: Renews the lease of the episode with an id.
    """

    def __init__(self, renew: Callable[[str], Awaitable[object]]) -> None:
        self._renew = renew
        self._held: dict[str, _Lease] = {}
        self._changed = anyio.Event()

    def hold(self, id: str, ttl_s: float) -> None:
        """Renews this one from now on."""
        self._held[id] = _Lease(ttl_s, anyio.current_time() + ttl_s / _SHARE)
        self._changed.set()

    def drop(self, id: str) -> None:
        """Renews this one no longer; unknown ones are fine."""
        self._held.pop(id, None)

    async def keep(self) -> None:
        """Renews what is due until it is cancelled."""
        while True:
            self._changed = anyio.Event()
            now = anyio.current_time()
            due = [id for id, lease in self._held.items() if lease.due <= now]
            await self._renew_all(due)
            next_due = min((lease.due for lease in self._held.values()), default=now + _IDLE_S)
            with anyio.move_on_after(max(0.0, next_due - anyio.current_time())):
                await self._changed.wait()

    async def _renew_all(self, ids: list[str]) -> None:
        room = anyio.CapacityLimiter(_AT_ONCE)

        async def renew(id: str) -> None:
            async with room:
                await self._renew_one(id)

        async with anyio.create_task_group() as group:
            for id in ids:
                group.start_soon(renew, id)

    async def _renew_one(self, id: str) -> None:
        lease = self._held.get(id)
        if lease is None:
            return
        lease.due = anyio.current_time() + lease.ttl_s / _SHARE
        try:
            await self._renew(id)
        except problems.ProblemError as exc:
            logger.warning("the lease of %s cannot be renewed: %s", id, exc)
            if problems.STATUS[exc.code] in (404, 410):
                self.drop(id)
        except errors.AwmError as exc:
            logger.warning("the lease of %s was not renewed, it is tried again: %s", id, exc)
