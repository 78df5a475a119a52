"""The router processes beside a supervisor: kept running, each on a socket of its own for the same port."""

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

from awm_runtime import errors
from awm_runtime.server import lives, logs, sockets

logger = logging.getLogger("awm.fleet")

_TICK_S = 0.1
_POLL_S = 0.02
_PATIENCE_S = 12.0
_LASTED_S = 10.0
_STANDARD_ERROR = 2


@dataclass(frozen=True, kw_only=True)
class Options:
    """What routers serve, and where.

    Attributes:
        state: The fleet's state folder.
        host: The address.
        port: The port; 0: any.
        count: How many routers share it.
        keys: The folder of the keys that tokens are signed with; None: no tokens are asked for.
        host_names: Host names that are answered beside the loopback ones and `host`.
        log_format: How they log.
    """

    state: Path
    host: str = "127.0.0.1"
    port: int = 8080
    count: int = 1
    keys: Path | None = None
    host_names: Sequence[str] = ()
    log_format: logs.Format = "text"


class Routers:
    """Holds the port, and keeps the processes that answer on it.

    Connections are queued by the kernel while a router is started again: its socket is held here.

    Raises:
        PermanentError: Somebody else has the port.
    """

    def __init__(self, options: Options, environment: Mapping[str, str]) -> None:
        self._options = options
        self._environment = dict(environment)
        self._sockets = _bound(options.host, options.port, options.count)
        self.url = sockets.url(options.host, self._sockets[0])
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

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
        """Gives up the port."""
        for each in self._sockets:
            each.close()

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
        own = self._sockets[number].fileno()
        options = self._options
        command = [
            "--fd",
            str(own),
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
            pass_fds=(own,),
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


def require_tokens(host: str, keys: Path | None) -> None:
    """Refuses to serve other machines without tokens.

    Raises:
        PermanentError: `host` is no loopback address, and there are no keys.
    """
    if keys is None and not sockets.is_loopback(host):
        raise errors.PermanentError(
            f"{host} is reachable from other machines: name the keys that tokens are signed with (--keys)"
        )
