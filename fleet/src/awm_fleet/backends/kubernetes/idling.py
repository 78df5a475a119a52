"""Puts environments to sleep that nobody uses: drained first, and only then without pods."""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from awm_fleet.backends.kubernetes import api, instances, model, reconciling, teams

logger = logging.getLogger(__name__)

_LOOK_S = 5.0
_AT_ONCE = 16


@dataclass(slots=True)
class _Use:
    """How often pods were used when they were last asked, and since when that has not changed."""

    activities: Mapping[str, instances.Activity] = field(default_factory=dict)
    since: float = 0.0
    asked_at: float = 0.0


class Idling:
    """Watches how much environments are used. Asking is no use."""

    def __init__(
        self,
        connection: api.Api,
        asked: instances.Instances,
        views: Mapping[str, teams.TeamView],
        reconciler: reconciling.Reconciler,
    ) -> None:
        self._api = connection
        self._instances = asked
        self._views = views
        self._reconciler = reconciler
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
                activities = {each.uid: await self._instances.activity(each) for each in pods}
                waits = len(pods) > 1 and any(each.open for each in activities.values())  # else one pod drains in vain
                if not pods or waits or activities != use.activities:
                    use.activities, use.since = activities, now
                elif now - use.since >= environment.idle_s:
                    await self._sleep(environment, pods)
        except (api.ApiError, instances.NoAnswer) as exc:
            use.since = now
            logger.warning("%s/%s: %s", *key, exc)

    async def _sleep(self, environment: model.Environment, pods: list[model.Pod]) -> None:
        """Sleeps if every pod agrees to open no more episodes; one that was opened meanwhile refuses."""
        for pod in pods:
            if not await self._reconciler.drain(pod):
                self._uses.pop(teams.Key(environment.namespace, environment.name), None)
                return
        change = {"spec": {"replicas": 0}}
        answer = await self._api.merge(api.ENVIRONMENTS, environment.namespace, environment.name, change)
        self._views[environment.namespace].environments.learn(answer)
        logger.info("%s/%s falls asleep", environment.namespace, environment.name)


def _may_sleep(environment: model.Environment) -> bool:
    status = environment.status
    return environment.idle_s is not None and environment.replicas > 0 and status.state == "ready"
