"""The router processes beside a supervisor: kept running, each on sockets of its own for the same ports."""

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from awm_runtime import errors
from awm_runtime.server import lives, logs, sockets

logger = logging.getLogger("awm.fleet")

_TICK_S = 0.1
_POLL_S = 0.02
_PATIENCE_S = 12.0
_LASTED_S = 10.0
_STANDARD_ERROR = 2
_MOST = 65535

Plane = Literal["single", "agent", "control", "metrics"]
"""What a port carries: everything, or one of three."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What routers serve, and where.

    Attributes:
        state: The fleet's state folder.
        host: The address.
        ports: The port of each plane, see `ports_of`; 0: any.
        count: How many routers share them.
        keys: The folder of the keys that tokens are signed with; None: no tokens are asked for.
        host_names: Host names that are answered beside the loopback ones and `host`.
        log_format: How they log.
    """

    state: Path
    host: str = "127.0.0.1"
    ports: Mapping[Plane, int]
    count: int = 1
    keys: Path | None = None
    host_names: Sequence[str] = ()
    log_format: logs.Format = "text"


class Routers:
    """Holds the ports, and keeps the processes that answer on them.

    Connections are queued by the kernel while a router is started again: its sockets are held here.

    Raises:
        PermanentError: Somebody else has a port.
    """

    def __init__(self, options: Options, environment: Mapping[str, str]) -> None:
        self._options = options
        self._environment = dict(environment)
        with contextlib.ExitStack() as undo:
            self._sockets = {
                plane: [undo.enter_context(each) for each in _bound(options.host, port, options.count)]
                for plane, port in options.ports.items()
            }
            self._held = undo.pop_all()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def url(self, plane: Plane) -> str:
        """Where a plane is reached on this machine, without a path."""
        of_plane = self._sockets.get(plane) or self._sockets["single"]
        return sockets.url(self._options.host, of_plane[0])

    @property
    def pids(self) -> list[int]:
        """The routers that run now."""
        return [each.pid for each in self._processes.values() if each.poll() is None]

    async def run(self) -> None:
        """Keeps the routers running until it is cancelled; then they end in order."""
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self._options.count):
                    group.create_task(self._keep(number), name=f"router {number}")
        finally:
            await asyncio.shield(self._end())

    def close(self) -> None:
        """Gives up the ports."""
        self._held.close()

    async def _keep(self, number: int) -> None:
        backoff = lives.Backoff()
        while True:
            began = time.monotonic()
            process = self._processes[number] = self._start(number)
            while process.poll() is None:  # noqa: ASYNC110 - nothing else tells of a child's end on every system
                await asyncio.sleep(_TICK_S)
            backoff.note(came_back=time.monotonic() - began > _LASTED_S)
            logger.error("router %d ended (%s); it is started again", number, process.returncode)
            await asyncio.sleep(backoff.next_s)

    def _start(self, number: int) -> "subprocess.Popen[bytes]":
        own = {plane: each[number].fileno() for plane, each in self._sockets.items()}
        options = self._options
        command = [
            *(word for plane, descriptor in own.items() for word in (f"--{plane}", str(descriptor))),
            "--state",
            str(options.state),
            "--host",
            options.host,
            "--parent",
            str(os.getpid()),
            "--log_format",
            options.log_format,
        ]
        if options.keys is not None:
            command += ["--keys", str(options.keys)]
        for name in options.host_names:
            command += ["--allow-host", name]
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "awm_fleet.backends.process.routing", *command],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=_STANDARD_ERROR,
            pass_fds=tuple(own.values()),
            cwd="/",
            start_new_session=True,
        )

    async def _end(self) -> None:
        for each in self._processes.values():
            each.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                while self.pids:  # noqa: ASYNC110 - as above
                    await asyncio.sleep(_POLL_S)
        for each in self._processes.values():
            each.kill()
            each.wait()


def _bound(host: str, port: int, count: int) -> list[socket.socket]:
    """A listening socket for each router, all on one port that nobody else has.

    Raises:
        PermanentError: Somebody has it.
    """
    sockets.listen(host, port).close()  # a shared one would be let in beside another fleet's
    with contextlib.ExitStack() as undo:
        made = [undo.enter_context(sockets.bound(host, port, shared=True))]
        shared = made[0].getsockname()[1]
        made += [undo.enter_context(sockets.bound(host, shared, shared=True)) for _ in range(count - 1)]
        for each in made:
            sockets.listening(each)
        undo.pop_all()
    return made


def ports_of(host: str, port: int, *, control: int | None, metrics: int | None) -> dict[Plane, int]:
    """The port of each plane: one for all on a loopback address; elsewhere, or where others are named, three.

    Args:
        host: The address.
        port: The port of agents, or of everything; 0: any.
        control: The port of trainers and operators; None: the one after `port`.
        metrics: The port of probes and metrics; None: the second after `port`.

    Raises:
        PermanentError: There are no two ports after `port`.
    """
    if sockets.is_loopback(host) and control is None and metrics is None:
        return {"single": port}
    ports: dict[Plane, int] = {
        "agent": port,
        "control": _following(port, 1) if control is None else control,
        "metrics": _following(port, 2) if metrics is None else metrics,
    }
    if max(ports.values()) > _MOST:
        raise errors.PermanentError(f"there are no two ports after {port}: name --control_port and --metrics_port")
    return ports


def _following(port: int, places: int) -> int:
    return port + places if port else 0


def require_tokens(host: str, keys: Path | None) -> None:
    """Refuses to serve other machines without tokens.

    Raises:
        PermanentError: `host` is no loopback address, and there are no keys.
    """
    if keys is None and not sockets.is_loopback(host):
        raise errors.PermanentError(
            f"{host} is reachable from other machines: name the keys that tokens are signed with (--keys)"
        )
