"""The router as a process on a cluster: a directory, a catalogue and keys for each team, one set of ports for all."""

import asyncio
import contextlib
import hashlib
import hmac
import logging
import os
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from awm_fleet.backends.kubernetes import api, catalogues, directory, settings, teams
from awm_registry.router import app, ids, metrics, serving
from awm_registry.router import settings as limits_of_routers
from awm_registry.router import teams as fronts
from awm_registry.tokens import authorities
from awm_runtime import errors

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a router on a cluster is run.

    Attributes:
        config: `config.json`, the controller's.
        keys: A folder with a folder of keys for each team, by its name.
        episode_ids: The file with the key of episodes' ids.
        index: The catalogue's index, or None.
        metadata: The catalogue's folder; scenarios that it does not describe are told by their names.
        kubeconfig: How to reach the cluster; None: as the pod's service account, or as KUBECONFIG says.
        host: The address of its ports.
        url: Where agents reach it, without a path.
        host_names: Host names that are answered beside the loopback ones.
        limits: Its settings.
    """

    config: Path
    keys: Path
    episode_ids: Path
    index: Path | None
    metadata: Path
    kubeconfig: str | None
    host: str
    url: str
    host_names: Sequence[str] = ()
    limits: limits_of_routers.Settings = field(default_factory=limits_of_routers.Settings)


class _Team:
    """What a router has of one team."""

    def __init__(
        self,
        connection: api.Api,
        team: settings.Team,
        config: settings.Config,
        *,
        options: Options,
        index: catalogues.Index,
        meter: metrics.Metrics,
    ) -> None:
        rng = random.Random(os.urandom(8))  # noqa: S311 - spreads attempts in time
        self.view = teams.TeamView(
            connection, team, changed=self._changed, freed=lambda _: None, rng=rng, with_deployments=False
        )
        self.directory = directory.ClusterDirectory(connection, self.view, config.options())
        self.catalogue = catalogues.LiveCatalogue(self.view, options.metadata, index.tiers)
        self.router = app.create(
            self.directory,
            self.catalogue,
            app.Options(
                id_key=_own_key(options.episode_ids, team.name),
                host=options.host,
                url=f"{options.url.rstrip('/')}/t/{team.name}",
                host_names=tuple(options.host_names),
                limits=options.limits,
                team=team.name,
            ),
            tokens=authorities.TokenAuthority(options.keys / team.name, team=team.name),
            meter=meter,
        )

    def _changed(self, key: teams.Key, _is_new: bool) -> None:
        self.catalogue.changed()
        self.directory.changed(key)


async def serve(options: Options, sockets: serving.Sockets) -> None:
    """Serves until SIGTERM or SIGINT comes; requests in flight may end.

    Raises:
        PermanentError: The configuration or a key cannot be read, or there is no way to a cluster.
    """
    config = settings.read(options.config)
    connection = await api.Api.connect(options.kubeconfig)
    try:
        meter = metrics.Metrics()
        index = catalogues.Index(options.index)
        served = [_Team(connection, each, config, options=options, index=index, meter=meter) for each in config.teams]
        front = fronts.Teams(
            {each.view.team.name: each.router for each in served},
            meter,
            stale=lambda: _stale(served, options.limits.stale_s),
        )
        async with _watched(served):
            await serving.serve(front, sockets, options.limits)
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def _watched(served: Sequence[_Team]) -> AsyncIterator[None]:
    """The teams' namespaces are watched for the length of a `with` block; a watch that ends unasked ends it."""
    async with asyncio.TaskGroup() as group:
        watching = [group.create_task(each.view.run(), name=f"watch {each.view.team.namespace}") for each in served]
        try:
            yield
        finally:
            for task in watching:
                task.cancel()


def _stale(served: Sequence[_Team], most_s: float) -> str | None:
    """Why this router should get no requests: it does not know where the instances are.

    A team in whose namespace rights are missing is none of the others' concern.
    """
    heard = [each.view for each in served if not each.view.is_forbidden]
    if not heard:
        return "there are no rights in any team's namespace"
    for view in heard:
        if not view.is_synced:
            return f"what is in {view.team.namespace} was not heard of yet"
        if view.silence() > most_s:
            return f"nothing was heard of {view.team.namespace} for {view.silence():.0f} s"
    return None


def _own_key(path: Path, team: str) -> bytes:
    """A team's key for the ids of its episodes, so that an id of another team's is unknown.

    Raises:
        PermanentError: There is no key.
    """
    if not path.exists():  # one that this process made would be none of the other routers'
        raise errors.PermanentError(f"{path}: the key of episodes' ids is not there; the controller makes it")
    return hmac.digest(ids.load_key(path), f"team {team}".encode(), hashlib.sha256)
