"""Puts environments to sleep that nobody uses.

To sleep is to want no pods. What then happens is planning's: they are drained first, so that an episode that was opened
meanwhile goes on, and who wakes the environment in between finds them as they were.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from awm_fleet.backends.kubernetes import api, instances, model, teams
from awm_runtime import errors

logger = logging.getLogger(__name__)

_LOOK_S = 5.0
_AT_ONCE = 16


@dataclass(slots=True)
class _Use:
    """How often pods were used when they were last asked, and since when that has not changed."""

    counts: Mapping[str, float] = field(default_factory=dict)
    since: float = 0.0
    asked_at: float = 0.0


class Idling:
    """Watches how much environments are used. Asking is no use.

    Args:
        token: Makes a token that a pod takes.
    """

    def __init__(
        self,
        connection: api.Api,
        asked: instances.Instances,
        views: Mapping[str, teams.TeamView],
        token: Callable[[model.Pod], str],
    ) -> None:
        self._api = connection
        self._instances = asked
        self._views = views
        self._token = token
        self._uses: dict[teams.Key, _Use] = {}
        self._hands = asyncio.Semaphore(_AT_ONCE)

    async def run(self) -> None:
        """Looks again and again, until it is cancelled."""
        while True:
            awake = [
                each for view in self._views.values() for each in view.environments.items.values() if _may_sleep(each)
            ]
            keys = {teams.Key(each.namespace, each.name) for each in awake}
            self._uses = {key: use for key, use in self._uses.items() if key in keys}
            async with asyncio.TaskGroup() as group:
                for each in awake:
                    group.create_task(self._look(each))
            await asyncio.sleep(_LOOK_S)

    async def _look(self, environment: model.Environment) -> None:
        """Asks an environment's pods when it is time to, and puts it to sleep when they were idle for long enough."""
        assert environment.idle_s is not None
        key = teams.Key(environment.namespace, environment.name)
        use = self._uses.setdefault(key, _Use())
        now = time.monotonic()
        if now - use.asked_at < min(environment.idle_s / 4, 60.0):
            return
        use.asked_at = now
        pods = [each for each in self._views[key.namespace].pods_of(key.name) if each.ready and not each.deleting]
        try:
            async with self._hands:
                counts = {each.uid: await self._instances.used(each) for each in pods}
                if not pods or counts != use.counts:
                    use.counts, use.since = counts, now
                elif now - use.since >= environment.idle_s:
                    use.since = now
                    if not await self._are_busy(pods):
                        await self._sleep(environment)
        except errors.TransientError as exc:
            use.since = now
            logger.warning("%s/%s: %s", *key, exc)

    async def _are_busy(self, pods: list[model.Pod]) -> bool:
        for each in pods:
            if await self._instances.is_busy(each, self._token(each)):
                return True
        return False

    async def _sleep(self, environment: model.Environment) -> None:
        change = {"spec": {"replicas": 0}}
        answer = await self._api.merge(api.ENVIRONMENTS, environment.namespace, environment.name, change)
        self._views[environment.namespace].environments.learn(answer)
        logger.info("%s/%s falls asleep", environment.namespace, environment.name)


def _may_sleep(environment: model.Environment) -> bool:
    status = environment.status
    return environment.idle_s is not None and environment.replicas > 0 and status.state == "ready"
