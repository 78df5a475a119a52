"""What there is in a team's namespace, as last heard of."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from awm_fleet.backends.kubernetes import api, model, names, objects, quotas, settings, watching

_Item = TypeVar("_Item")


class Key(NamedTuple):
    """An environment."""

    namespace: str
    name: str


class TeamView:
    """A copy of a team's objects that is kept up to date.

    Args:
        changed: Is called with each environment that something happened to, and whether it is a new one.
        freed: Is called with the namespace when its quotas changed.
        with_deployments: Whether Deployments are looked at too: a router has no use for them, nor rights.
    """

    def __init__(
        self,
        connection: api.Api,
        team: settings.Team,
        *,
        changed: Callable[[Key, bool], None],
        freed: Callable[[str], None],
        rng: random.Random,
        with_deployments: bool = True,
    ) -> None:
        self._with_deployments = with_deployments
        self.team = team
        self._changed = changed
        self._freed = freed
        self._deployments: dict[str, dict[str, model.Deployment]] = {}
        self._pods: dict[str, dict[str, model.Pod]] = {}
        space = team.namespace
        self.environments = watching.Watcher(
            connection, api.ENVIRONMENTS, space, read=model.environment, changed=self._environment, rng=rng
        )
        self.deployments = watching.Watcher(
            connection,
            api.DEPLOYMENTS,
            space,
            selector=names.selector(),
            read=model.deployment,
            changed=self._deployment,
            rng=rng,
        )
        self.pods = watching.Watcher(
            connection, api.PODS, space, selector=names.selector(), read=model.pod, changed=self._pod, rng=rng
        )
        self.quotas = watching.Watcher(connection, api.QUOTAS, space, read=quotas.quota, changed=self._quota, rng=rng)

    async def run(self) -> None:
        """Watches until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            for each in self._watchers:
                group.create_task(each.run())

    @property
    def _watchers(self) -> "tuple[watching.Watcher[Any], ...]":
        always = (self.environments, self.pods, self.quotas)
        return (*always, self.deployments) if self._with_deployments else always

    @property
    def is_synced(self) -> bool:
        """Whether everything was listed once."""
        return all(each.synced.is_set() for each in self._watchers)

    def silence(self) -> float:
        """For how many seconds one of the watches was not heard of."""
        return time.monotonic() - min(each.heard_at for each in self._watchers)

    @property
    def is_forbidden(self) -> bool:
        """Whether rights in the namespace are missing."""
        return any(each.fault is not None and each.fault.is_forbidden for each in self._watchers)

    async def synced(self) -> None:
        """Returns when everything was listed once."""
        for each in self._watchers:
            await each.synced.wait()

    def deployments_of(self, environment: str) -> tuple[model.Deployment, ...]:
        """An environment's Deployments, by name."""
        return tuple(each for _, each in sorted(self._deployments.get(environment, {}).items()))

    def pods_of(self, environment: str) -> tuple[model.Pod, ...]:
        """An environment's pods, by name."""
        return tuple(each for _, each in sorted(self._pods.get(environment, {}).items()))

    def lacking(self, environment: model.Environment, options: objects.PodOptions) -> str | None:
        """What there is too little of for the pods that an environment wants and has not; None where there is room."""
        limits = tuple(self.quotas.items.values())
        if not limits or environment.replicas == 0:
            return None
        wanted = objects.deployment(environment, options)
        live = self.deployments.items.get(wanted["metadata"]["name"])
        more = environment.replicas - (live.replicas if live else 0)
        return quotas.lacking(limits, wanted["spec"]["template"]["spec"], more) if more > 0 else None

    def _environment(self, before: model.Environment | None, after: model.Environment | None) -> None:
        if (each := after or before) is not None:
            self._changed(Key(self.team.namespace, each.name), each.status.state is None)

    def _deployment(self, before: model.Deployment | None, after: model.Deployment | None) -> None:
        if (each := after or before) is not None:
            _keep(self._deployments, each.environment, each.name, after)
            self._changed(Key(self.team.namespace, each.environment), False)

    def _pod(self, before: model.Pod | None, after: model.Pod | None) -> None:
        if (each := after or before) is not None:
            _keep(self._pods, each.environment, each.name, after)
            self._changed(Key(self.team.namespace, each.environment), False)

    def _quota(self, _before: quotas.Quota | None, _after: quotas.Quota | None) -> None:
        self._freed(self.team.namespace)


def _keep(index: dict[str, dict[str, _Item]], environment: str, name: str, item: _Item | None) -> None:
    """Keeps an index of an environment's objects up to date."""
    found = index.setdefault(environment, {})
    if item is None:
        found.pop(name, None)
    else:
        found[name] = item
    if not found:
        del index[environment]
