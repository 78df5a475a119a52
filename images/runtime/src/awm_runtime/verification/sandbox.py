"""The judge's clients: `Judge` for an event loop, `local_judge` for commands and importers."""

import asyncio
import contextlib
import itertools
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from awm_runtime.verification import wire
from awm_runtime.verification.wire import JudgeReply, JudgeRequest

__all__ = ["Judge", "JudgeReply", "JudgeRequest", "LocalJudge", "judge_once", "local_judge", "spawn"]

_GRACE_S = 10.0
"""How long a reply may come after the request's own deadline, on a busy machine."""

_CHUNK = 65536
_KEPT_VARIABLES = ("PYTHONPATH", "LD_LIBRARY_PATH")  # without these the interpreter may not start

_GONE = JudgeReply(failure="unavailable", detail="the judge is gone")
_SILENT = JudgeReply(failure="unavailable", detail="the judge did not answer in time")

_log = logging.getLogger(__name__)


def spawn(*, within: Path | None = None) -> tuple["subprocess.Popen[bytes]", socket.socket]:
    """Starts a judge, with nothing of this process but its standard error; and the socket that speaks with it.

    The judge ends when the socket is closed in every process that has it. A socket serves one client for the client's
    life: one that takes over from another would find half a frame in it.

    Args:
        within: The only folder whose databases it shows to verifiers. An instance shares its process with scenario
            code, which could ask the judge for any file of this user's.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with theirs:
        return spawn_on(theirs, within=within), ours


def spawn_on(sock: socket.socket, *, within: Path | None = None) -> "subprocess.Popen[bytes]":
    """Starts a judge that serves this socket; otherwise like `spawn`."""
    environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    environment |= {"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "utf-8"}
    # -P: the working directory is no place to import from, and none that a verifier may read.
    command = [sys.executable, "-P", "-m", "awm_runtime.verification.judge", "--fd", str(sock.fileno())]
    if within is not None:
        command += ["--within", str(within.resolve())]
    return subprocess.Popen(
        command,
        env=environment,
        pass_fds=(sock.fileno(),),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        cwd="/",
    )


class Judge:
    """Speaks with a judge from an event loop; any number of requests at once, a few of which run side by side.

    Args:
        sock: The socket that `spawn` made.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._numbers = itertools.count()
        self._slots = asyncio.Semaphore(wire.AT_ONCE)  # so that a request's time runs from when the judge can start it
        self._opening: asyncio.Task[_Channel] | None = None

    async def run(self, request: JudgeRequest) -> JudgeReply:
        """Judges. Never raises for what the verifier or the judge does; a cancelled request is ended at once."""
        async with self._slots:
            channel = await self._open()
            if channel.closed:
                return _GONE
            number = next(self._numbers)
            try:
                async with asyncio.timeout(request.deadline_s + _GRACE_S):
                    reply = await channel.ask(number, request)
            except TimeoutError:
                return _SILENT
        _report_output(reply)
        return reply

    async def aclose(self) -> None:
        """Hangs up; a judge that no other process speaks with ends."""
        if self._opening is None:
            self._sock.close()
        else:
            await (await self._opening).aclose()

    async def _open(self) -> "_Channel":
        # A task of its own: the first request may be cancelled, and the others need the connection.
        if self._opening is None:
            self._opening = asyncio.create_task(_connect(self._sock), name="connect to the judge")
        return await asyncio.shield(self._opening)


class _Channel(asyncio.Protocol):
    """The connection: whole frames out, replies to their requests in."""

    def __init__(self) -> None:
        self._lost = asyncio.Event()
        self._frames = wire.Frames()
        self._pending: dict[int, asyncio.Future[JudgeReply]] = {}
        self._transport: asyncio.WriteTransport | None = None

    async def ask(self, number: int, request: JudgeRequest) -> JudgeReply:
        future: asyncio.Future[JudgeReply] = asyncio.get_running_loop().create_future()
        self._pending[number] = future
        self._send(request.message(number))
        try:
            return await future
        except asyncio.CancelledError:
            self._send({"cancel": number})
            raise
        finally:
            del self._pending[number]

    @property
    def closed(self) -> bool:
        return self._lost.is_set()

    async def aclose(self) -> None:
        if self._transport is not None:
            self._transport.close()
            await self._lost.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is one in all but its class

    def data_received(self, data: bytes) -> None:
        for message in self._frames.feed(data):
            future = self._pending.get(message["id"])
            if future is not None and not future.done():
                future.set_result(_reply(message))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._lost.set()
        for future in self._pending.values():
            if not future.done():
                future.set_result(_GONE)

    def _send(self, message: dict[str, Any]) -> None:
        if self._transport is not None and not self.closed:
            self._transport.write(wire.frame(message))


async def _connect(sock: socket.socket) -> _Channel:
    sock.setblocking(False)
    _, channel = await asyncio.get_running_loop().create_unix_connection(_Channel, sock=sock)
    return channel


class LocalJudge:
    """Speaks with a judge of its own, one request after another.

    Args:
        sock: The socket that `spawn` made.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._frames = wire.Frames()
        self._numbers = itertools.count()

    def run(self, request: JudgeRequest) -> JudgeReply:
        """Judges. Never raises for what the verifier or the judge does."""
        number = next(self._numbers)
        try:
            self._sock.settimeout(request.deadline_s + _GRACE_S)
            self._sock.sendall(wire.frame(request.message(number)))
            reply = self._receive(number, time.monotonic() + request.deadline_s + _GRACE_S)
        except TimeoutError:
            return _SILENT
        except (BrokenPipeError, ConnectionResetError):
            return _GONE
        _report_output(reply)
        return reply

    def _receive(self, number: int, deadline: float) -> JudgeReply:
        while True:
            self._sock.settimeout(max(0.001, deadline - time.monotonic()))
            data = self._sock.recv(_CHUNK)
            if not data:
                return _GONE
            for message in self._frames.feed(data):
                if message["id"] == number:
                    return _reply(message)


@contextlib.contextmanager
def local_judge() -> Iterator[LocalJudge]:
    """A judge for the length of a `with` block."""
    process, sock = spawn()
    try:
        with sock:
            yield LocalJudge(sock)
    finally:
        process.wait()


def judge_once(request: JudgeRequest) -> JudgeReply:
    """Judges one request with a judge of its own."""
    with local_judge() as judge:
        return judge.run(request)


def _reply(message: dict[str, Any]) -> JudgeReply:
    return JudgeReply(**{name: value for name, value in message.items() if name != "id"})


def _report_output(reply: JudgeReply) -> None:
    if reply.log:
        _log.info("verifier printed: %s", reply.log)
