"""The docker backend under `awm up`: one fleet per state folder, ended with it."""

import contextlib
import hashlib
import importlib.metadata
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import httpx

from awm_fleet.backends import identities, protocol
from awm_fleet.backends.docker import backend as containers
from awm_fleet.backends.process import states
from awm_generator.images import references

_PATIENCE_S = 2.0
_OPEN = "awm_episodes_open "


class LocalDockerBackend(containers.DockerBackend):
    """The docker backend, with what a fleet on this machine wants to know beside."""

    @property
    def version(self) -> int:
        """How many changes of instances there were."""
        return self.feed.version

    def open_episodes(self, spec: protocol.EnvironmentSpec) -> int:
        """How many episodes the awake instance says are open; those of a sleeping one are on its volume, unseen."""
        present = self.feed.get(identities.instance_id(spec))
        if present is None or present.state not in ("ready", "draining"):
            return 0
        try:
            metrics = httpx.get(f"{present.control_url}/metrics", timeout=_PATIENCE_S, trust_env=False).text
        except httpx.TransportError:
            return 0
        return next((int(float(line.split()[1])) for line in metrics.splitlines() if line.startswith(_OPEN)), 0)

    def pids(self) -> set[int]:
        """None: containers are the engine's children."""
        return set()


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
