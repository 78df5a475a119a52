"""The backend of processes: every environment is a process of this machine, forked from a zygote."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from awm_fleet.backends import feeds, identities, protocol
from awm_fleet.backends.process import environments, journals, spawning, states, wakings
from awm_registry import directory
from awm_runtime.server import configuration, folders, keeper, sockets

logger = logging.getLogger("awm.fleet")

_TEND_S = 1.0


class ProcessBackend:
    """Runs environments as processes. To be made and used in one event loop, in the main thread.

    Args:
        state: The state folder; this process alone holds it.
        variables: The environment variables; what instances see of them is scrubbed.
        keys: The public keys of the tokens that routers sign; None: no tokens are asked for.

    Raises:
        PermanentError: The state folder is in use, is another version's, or cannot be written; private keys are beside
            the public ones.
    """

    def __init__(self, state: Path, variables: Mapping[str, str] = os.environ, *, keys: Path | None = None) -> None:
        if keys is not None:
            keeper.refuse_private_keys(keys)
        self._keys = keys
        self._state = states.take(state)
        sockets.raise_descriptor_limit()
        self._variables = configuration.scrubbed(variables)
        self._feed = feeds.Feed()
        self._environments: dict[protocol.Key, environments.Environment] = {}
        checking = {} if keys is None else {configuration.PRELOAD_VARIABLE: "awm_runtime.token_checking"}
        self._spawner = spawning.spawner(self._variables | checking, owner=str(self._state.folder))
        self._closed = False
        self._tending = asyncio.create_task(self._tend(), name="tend the zygotes")

    async def ensure(self, spec: protocol.EnvironmentSpec) -> None:
        self._environment(spec.key).want(spec)

    async def stop(self, key: protocol.Key) -> None:
        await self._environment(key).forget()
        self._environments.pop(key, None)

    @property
    def version(self) -> int:
        """How many changes of instances there were."""
        return self._feed.version

    async def instances(self) -> Sequence[directory.Instance]:
        return self._feed.all()

    def watch(self) -> AsyncIterator[directory.Change]:
        return self._feed.watch()

    async def logs(self, key: protocol.Key, *, lines: int = 100) -> str:
        return journals.tail(self._home(key) / wakings.LOG, lines)

    async def close(self) -> None:
        """Ends every instance in order; their episodes stay. Twice is fine."""
        if self._closed:
            return
        self._closed = True
        self._tending.cancel()
        await asyncio.gather(*(each.sleep() for each in self._environments.values()))
        self._spawner.close()
        self._feed.close()
        self._state.release()

    def open_episodes(self, specs: Sequence[protocol.EnvironmentSpec]) -> list[int | None]:
        """How many episodes of each environment take calls, default ones not counted; by their folders if it sleeps."""
        return [self._open_episodes(each) for each in specs]

    def _open_episodes(self, spec: protocol.EnvironmentSpec) -> int:
        id = identities.instance_id(spec)
        if any(each.id == id and each.state != "failed" for each in self._feed.all()):
            return self._environments[spec.key].open_episodes
        return folders.count_in_use(wakings.state_folder(spec, self._home(spec.key)) / "episodes")

    def pids(self) -> set[int]:
        """Every process that this backend started and watches."""
        return self._spawner.pids().union(*(each.pids for each in self._environments.values()))

    def _environment(self, key: protocol.Key) -> environments.Environment:
        if key not in self._environments:
            self._environments[key] = environments.Environment(
                key, self._home(key), spawner=self._spawner, feed=self._feed, variables=self._variables, keys=self._keys
            )
        return self._environments[key]

    def _home(self, key: protocol.Key) -> Path:
        return self._state.environments / identities.folder_name(key)

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(_TEND_S)
            try:
                self._spawner.tend()
            except OSError:
                logger.exception("a zygote cannot be started; it is tried again")
