"""The default episodes behind `/s/{scenario}/mcp`: one for each who asks, opened on first use."""

import asyncio
from collections import OrderedDict

from awm_registry import directory
from awm_registry.router import activation, controls, ids, placing
from awm_runtime.contract import episodes, problems

GROUP = episodes.DEFAULT_GROUP
_TTL_S = 30 * 86400.0
_KEPT = 1 << 14
_ENDED = frozenset({problems.Code.EPISODE_CLOSED, problems.Code.EPISODE_EXPIRED})


class DefaultEpisodes:
    """Finds them, and opens those that are not open.

    Args:
        control: Where they are opened.
        active: Where they may go.
        known: Makes their ids: of the scenario, the subject and the instance, so that every router knows the same.
    """

    def __init__(self, control: controls.Controls, active: activation.Activation, known: ids.EpisodeIds) -> None:
        self._control = control
        self._active = active
        self._ids = known
        self._opened: OrderedDict[str, None] = OrderedDict()
        self._opening: dict[str, asyncio.Lock] = {}

    async def holder(self, scenario: str, subject: str) -> directory.Instance:
        """The instance that holds the episode, which is open there.

        Raises:
            ProblemError: It cannot be opened now.
        """
        key = self._ids.draw(GROUP, scenario, subject)
        instance = placing.by_key(await self._active.candidates(scenario), key)
        id = self.id(instance, subject)
        if id not in self._opened:
            await self._open(instance, id)
        return instance

    def id(self, instance: directory.Instance, subject: str) -> episodes.EpisodeId:
        """The id of a subject's default episode in an instance."""
        where = ids.placement(instance.scenario, instance.id)
        return self._ids.repeatable(where, GROUP, instance.scenario, subject)

    def ended(self, id: str, code: str) -> bool:
        """Hears what an instance refused a call with. Returns whether the episode ended, so that a new one may take
        the call; one that was lost is not replaced before its user was told."""
        if code in _ENDED or code in (problems.Code.UNKNOWN_EPISODE, problems.Code.EPISODE_LOST):
            self._opened.pop(id, None)
        return code in _ENDED

    async def _open(self, instance: directory.Instance, id: episodes.EpisodeId) -> None:
        lock = self._opening.setdefault(id, asyncio.Lock())
        try:
            async with lock:
                if id not in self._opened:
                    await self._ask_for(instance, id)
                    self._opened[id] = None
                    if len(self._opened) > _KEPT:
                        self._opened.popitem(last=False)
        finally:
            if not lock.locked():
                self._opening.pop(id, None)

    async def _ask_for(self, instance: directory.Instance, id: episodes.EpisodeId) -> None:
        item = episodes.EpisodeSpec(group=GROUP, ids=[id], reopen=True)
        wanted = episodes.OpenRequest(episodes=[item], ttl_s=_TTL_S)
        opened = await self._control.open(instance, self._control.holder_of(id), wanted, lines=b"")
        if opened.rejected:
            raise problems.ProblemError.of(opened.rejected[0].error)
