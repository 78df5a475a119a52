"""The docker backend under `awm up`: one fleet per state folder, ended with it."""

import contextlib
import hashlib
import importlib.metadata
import logging
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx

from awm_fleet.backends import identities, protocol
from awm_fleet.backends.docker import backend as containers
from awm_fleet.backends.docker import engine, plans
from awm_fleet.backends.process import states
from awm_generator.images import references
from awm_registry import directory

_PATIENCE_S = 2.0
_OPEN = "awm_episodes_open "


class LocalDockerBackend(containers.DockerBackend):
    """The docker backend, with what a fleet on this machine wants to know beside."""

    @property
    def version(self) -> int:
        """How many changes of instances there were."""
        return self.feed.version

    def open_episodes(self, specs: Sequence[protocol.EnvironmentSpec]) -> list[int | None]:
        """How many the awake ones say are open; episodes of a sleeping one are on its volume, where it has one."""
        try:
            volumes = self.engine.volumes()
        except engine.Away:
            volumes = None
        return [self._open_episodes(identities.instance_id(each), volumes) for each in specs]

    def _open_episodes(self, id: directory.InstanceId, volumes: frozenset[str] | None) -> int | None:
        present = self.feed.get(id)
        if present is not None and present.state in ("ready", "draining"):
            return _told_open(present)
        return 0 if volumes is not None and plans.object_name(self.engine.fleet, id) not in volumes else None

    def pids(self) -> set[int]:
        """None: containers are the engine's children."""
        return set()


def _told_open(instance: directory.Instance) -> int | None:
    try:
        metrics = httpx.get(f"{instance.control_url}/metrics", timeout=_PATIENCE_S, trust_env=False).text
    except httpx.TransportError:
        return None
    return next((int(float(line.split()[1])) for line in metrics.splitlines() if line.startswith(_OPEN)), None)


@contextlib.asynccontextmanager
async def backend(state: Path, base: str | None, *, keys: Path | None = None) -> AsyncIterator[LocalDockerBackend]:
    """The backend of a state folder, which this process holds meanwhile. At its end the containers end, in order.

    Args:
        state: The state folder.
        base: The runtime's base image; by default the one that `make images` left at the engine.
        keys: The public keys of the tokens that routers sign; None: no tokens are asked for.

    Raises:
        PermanentError: The state folder is in use, or the engine may not be used.
        TransientError: No engine answers.
    """
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line per look at a container is too many
    held = states.take(state)
    try:
        fleet = hashlib.sha256(bytes(held.folder)).hexdigest()[:8]
        chosen = base or f"docker:awm-runtime:{importlib.metadata.version('awm-fleet')}"
        running = LocalDockerBackend(held.folder, fleet=fleet, base=references.parse(chosen), keys=keys)
        try:
            yield running
        finally:
            await running.sleep_all()
            await running.close()
    finally:
        held.release()
