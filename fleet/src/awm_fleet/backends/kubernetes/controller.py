"""The controller: watches the teams' namespaces, and looks at every environment that something happened to."""

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from awm_fleet.backends.kubernetes import (
    api,
    idling,
    instances,
    isolation,
    keyrings,
    metrics,
    model,
    names,
    objects,
    queues,
    reconciling,
    seeding,
    settings,
    teams,
)
from awm_registry import errors as registry_errors
from awm_registry.catalogue import reading
from awm_runtime import errors

logger = logging.getLogger(__name__)

_WORKERS = 24
_INDEX_EVERY_S = 1.0
_SYNC_AGAIN_S = 0.5
_CONNECTIONS = httpx.Limits(max_connections=64, max_keepalive_connections=0)


class Controller:
    """Everything that one leading controller does, from its first list to its end.

    Args:
        namespace: Where the controller is, with the Secrets of the teams' keys.
        index: The catalogue's index; read again whenever it changes.
    """

    def __init__(
        self,
        connection: api.Api,
        config: settings.Config,
        namespace: str,
        *,
        index: Path | None,
        rng: random.Random,
    ) -> None:
        self._api = connection
        self._config = config
        self._index = index
        self._queue: queues.Queue[teams.Key] = queues.Queue(time.monotonic)
        self._keyrings = keyrings.Keyrings(connection, namespace, config)
        self._known: set[str] = set()
        """The namespaces of which everything was listed once."""
        self._http = httpx.AsyncClient(limits=_CONNECTIONS, trust_env=False)
        self.instances = instances.Instances(self._http)
        self.meter = metrics.Metrics(depth=lambda: len(self._queue), writes=lambda: connection.writes)
        self.views = {
            each.namespace: teams.TeamView(connection, each, changed=self._changed, freed=self._room_changed, rng=rng)
            for each in config.teams
        }
        self._isolation = isolation.Isolation(config.enforcement, tell=self._told)
        self._warnings: asyncio.Queue[tuple[model.Pod, str]] = asyncio.Queue()
        self._reconciler = reconciling.Reconciler(
            connection,
            self.instances,
            self._isolation,
            self.views,
            config.options(),
            queue=self._queue,
            token=self._keyrings.token,
            max_unavailable=config.rollout.max_unavailable,
            meter=self.meter,
            suffix=lambda: secrets.token_hex(8),
        )

    async def run(self) -> None:
        """Works until it is cancelled."""
        idle = idling.Idling(self._api, self.instances, self.views, self._keyrings.token)
        async with self._http, asyncio.TaskGroup() as group:
            for view in self.views.values():
                group.create_task(view.run(), name=f"watch {view.team.namespace}")
                group.create_task(self._recall(view), name=f"recall {view.team.namespace}")
            group.create_task(self._queue.run(), name="queue")
            group.create_task(self._keyrings.run(), name="keys")
            group.create_task(self._seeds(), name="seed")
            group.create_task(idle.run(), name="idle")
            group.create_task(self._isolation.run(), name="isolation")
            group.create_task(self._warn(), name="warnings")
            for number in range(_WORKERS):
                group.create_task(self._work(), name=f"worker {number}")

    async def _recall(self, view: teams.TeamView) -> None:
        await view.synced()
        self._reconciler.recall(view)
        self._known.add(view.team.namespace)

    def _changed(self, key: teams.Key, is_new: bool) -> None:
        self._queue.add(key, first=is_new)  # its owner waits to hear that it was accepted

    def _room_changed(self, namespace: str) -> None:
        self._reconciler.room_changed(namespace)

    def _told(self, pod: model.Pod, message: str) -> None:
        self._warnings.put_nowait((pod, message))

    async def _warn(self) -> None:
        while True:
            pod, message = await self._warnings.get()
            await self._reconciler.tell(pod, isolation.REASON, message)

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            try:
                if key.namespace not in self._known:  # half of what there is would look like too little
                    self._queue.add_after(key, _SYNC_AGAIN_S)
                    continue
                await self._keyrings.ensure(self.views[key.namespace].team)
                await self._reconciler.reconcile(key)
                self._queue.succeeded(key)
                self.meter.reconciled(well=True)
            except (errors.TransientError, registry_errors.TokenError) as exc:
                logger.warning("%s/%s: %s; again in %.1f s", *key, exc, self._queue.failed(key))
                self.meter.reconciled(well=False)
            except Exception:
                logger.exception("%s/%s: a mistake in the controller; again in %.1f s", *key, self._queue.failed(key))
                self.meter.reconciled(well=False)
            finally:
                self._queue.done(key)

    async def _anchor(self, team: settings.Team) -> str:
        anchor = await self._api.get(api.CONFIG_MAPS, team.namespace, names.TEAM_ANCHOR)
        uid: str = anchor["metadata"]["uid"]
        return uid

    async def _seeds(self) -> None:
        """Applies the catalogue's index whenever it changed, and until all of it is applied."""
        done: tuple[float, int] | None = None
        while True:
            if self._index is not None and (state := _state(self._index)) != done and await self._seed(self._index):
                done = state
            await asyncio.sleep(_INDEX_EVERY_S)

    async def _seed(self, index: Path) -> bool:
        """Applies an index; whether all of it could be."""
        try:
            entries, refused = seeding.newest(reading.rows(index))
        except registry_errors.CatalogueError as exc:
            logger.error("the catalogue's index is not taken: %s", exc)
            return False
        well = True
        for view in self.views.values():
            if view.team.namespace not in self._known:
                well = False
                continue
            wanted, missing = seeding.seeds(view.team, entries, view.environments.items)
            refused += missing
            well &= not wanted or await self._apply_seeds(view, wanted)
        for each in refused:
            logger.error("%s is not served: %s", each.scenario, each.reason)
        return well

    async def _apply_seeds(self, view: teams.TeamView, wanted: Sequence[seeding.Seed]) -> bool:
        hands = asyncio.Semaphore(_WORKERS)
        faults: list[api.ApiError] = []

        async def apply(each: seeding.Seed) -> None:
            async with hands:
                try:
                    await self._apply_seed(view, each, anchor)
                except api.ApiError as exc:
                    faults.append(exc)

        try:
            anchor = await self._anchor(view.team)
        except api.ApiError as exc:
            logger.error("team %s has no ConfigMap %s: %s", view.team.name, names.TEAM_ANCHOR, exc)
            return False
        async with asyncio.TaskGroup() as group:
            for each in wanted:
                group.create_task(apply(each))
        if faults:
            logger.error(
                "%d scenarios of team %s are not seeded, the first: %s", len(faults), view.team.name, faults[0]
            )
        return not faults

    async def _apply_seed(self, view: teams.TeamView, seed: seeding.Seed, anchor: str) -> None:
        space = view.team.namespace
        if not seed.is_new:
            name = names.environment(seed.entry.name)
            answer = await self._api.merge(api.ENVIRONMENTS, space, name, objects.moved(seed.entry))
        else:
            document = objects.environment(
                seed.entry,
                namespace=space,
                replicas=int(seed.warm),
                idle_timeout="0s" if seed.warm else self._config.idle_timeout,
                anchor_uid=anchor,
            )
            answer = await self._api.create(api.ENVIRONMENTS, space, document)
        view.environments.learn(answer)


def _state(path: Path) -> tuple[float, int] | None:
    """What tells one version of a file from another."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime, found.st_ino
