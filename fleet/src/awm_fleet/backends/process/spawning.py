"""How instances and judges are started: forked from zygotes, or as fresh processes where the system is not Linux."""

import contextlib
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from awm_runtime import families
from awm_runtime.server import configuration, lives
from awm_runtime.verification import sandbox
from awm_runtime.zygote import client

logger = logging.getLogger("awm.fleet")

INSTANCES = "awm_runtime.server.instance_zygote"
JUDGES = "awm_runtime.verification.judge_zygote"
_STANDARD_ERROR = 2


class Spawner(Protocol):
    """Starts the processes of environments."""

    async def instance(
        self,
        config: configuration.InstanceConfig,
        descriptors: configuration.Descriptors,
        *,
        name: str,
        settings: Mapping[str, str],
        log: int,
    ) -> lives.Process:
        """Starts an instance.

        Raises:
            OSError: There is no room for another process.
        """
        ...

    async def judge(self, sock: socket.socket, *, name: str, within: Path) -> lives.Process:
        """Starts a judge on a socket.

        Raises:
            OSError: There is no room for another process.
        """
        ...

    def tend(self) -> None:
        """Starts again what ended and will be needed."""
        ...

    def pids(self) -> set[int]:
        """The processes that this keeps for itself."""
        ...

    def close(self) -> None:
        """Ends them."""
        ...


def spawner(environment: Mapping[str, str], *, owner: str) -> Spawner:
    """The best that this system has.

    Args:
        environment: What instances see of the environment, scrubbed.
        owner: Whom they serve, for `ps`.
    """
    if families.SUPPORTED:
        return ZygoteSpawner(environment, owner=owner)
    logger.warning("this system has no zygotes: every scenario is a fresh process, which takes longer and more memory")
    return PlainSpawner(environment)


class PlainSpawner:
    """Starts fresh processes."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    async def instance(
        self,
        config: configuration.InstanceConfig,
        descriptors: configuration.Descriptors,
        *,
        name: str,  # noqa: ARG002 - only a fork can be named
        settings: Mapping[str, str],
        log: int,
    ) -> lives.Process:
        return lives.spawn(config, descriptors, environment={**self._environment, **settings}, log=log)

    async def judge(self, sock: socket.socket, *, name: str, within: Path) -> lives.Process:  # noqa: ARG002
        return sandbox.spawn_on(sock, within=within)

    def tend(self) -> None:
        """Nothing is kept."""

    def pids(self) -> set[int]:
        return set()

    def close(self) -> None:
        """Nothing is kept."""


class ZygoteSpawner:
    """Forks from two zygotes: one with all that serving needs, one with what verifiers import.

    The first starts at once, because the first scenario waits for it; the second with the first verification.
    """

    def __init__(self, environment: Mapping[str, str], *, owner: str) -> None:
        families.adopt()
        self._environment = environment
        self._owner = owner
        self._zygotes: dict[str, client.Zygote] = {}
        self._zygote(INSTANCES)

    async def instance(
        self,
        config: configuration.InstanceConfig,
        descriptors: configuration.Descriptors,
        *,
        name: str,
        settings: Mapping[str, str],
        log: int,
    ) -> lives.Process:
        inherited = (descriptors.agent, descriptors.control, descriptors.judge, descriptors.report, log)
        request = {"config": config.text(), "name": name, "settings": dict(settings)}
        return await self._fork(INSTANCES, request, inherited)

    async def judge(self, sock: socket.socket, *, name: str, within: Path) -> lives.Process:
        return await self._fork(JUDGES, {"name": name, "within": str(within)}, [sock.fileno()])

    def tend(self) -> None:
        for module, zygote in list(self._zygotes.items()):
            if zygote.process.poll() is not None:
                logger.warning("%s ended; it is started again, what it forked goes on", module)
                self._zygote(module)

    def pids(self) -> set[int]:
        return {zygote.process.pid for zygote in self._zygotes.values()}

    def close(self) -> None:
        for zygote in self._zygotes.values():
            zygote.close()
        families.adopt(False)

    async def _fork(self, module: str, request: Mapping[str, Any], descriptors: Sequence[int]) -> lives.Process:
        try:
            return await self._zygote(module).fork(request, descriptors)
        except client.ZygoteGone as exc:
            logger.warning("%s; another one is started", exc)
            return await self._zygote(module).fork(request, descriptors)

    def _zygote(self, module: str) -> client.Zygote:
        """The running one, or a new one."""
        found = self._zygotes.get(module)
        if found is not None and found.process.poll() is None:
            return found
        if found is not None:
            found.close()
        made = client.Zygote(module, owner=self._owner, environment=self._zygote_environment(), log=_STANDARD_ERROR)
        self._zygotes[module] = made
        return made

    def _zygote_environment(self) -> dict[str, str]:
        variables = dict(self._environment)
        with contextlib.suppress(KeyError):  # without this the interpreter may not start
            variables["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        return variables
