"""A process per episode, for code that keeps state in its module (`isolation: process`).

The instance loads the code once and forks for each episode on its first call. What a child says is data: it is framed
JSON and bytes, never unpickled. A child that dies takes its module's state along; the database stays.
"""

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

import orjson

from awm_runtime.contract import problems
from awm_runtime.determinism import context
from awm_runtime.server import asgi, deadlines, episodes, runners, tools

logger = logging.getLogger(__name__)

_FRAME = struct.Struct("<II")
_LARGEST = 64 * 1024 * 1024
_PR_SET_PDEATHSIG = 1


class ChildFailed(Exception):
    """The exception text that an episode's own process reported, or why it could not."""


@dataclass(slots=True)
class _Child:
    episode: episodes.Episode
    pid: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class ForkingRunner:
    """Runs each episode's calls in a process forked for it.

    A fork of an episode has its database, and the module's state from before any call.

    Args:
        app: The loaded app.
        confine: Called in each child with its episode, before any of its calls.
        wait_s: How long an answer is waited for; then the child is killed. Longer than a call's deadline, which the
            child keeps by itself where it can.
    """

    def __init__(self, app: asgi.StartedApp, *, confine: Callable[[episodes.Episode], None], wait_s: float) -> None:
        self._app = app
        self._confine = confine
        self._wait_s = wait_s
        self._children: dict[str, _Child] = {}

    async def run(
        self, episode: episodes.Episode, call: context.CallContext, request: tools.AppRequest
    ) -> asgi.AppReply:
        child = self._children.get(episode.id) or await self._fork(episode)
        try:
            async with asyncio.timeout(self._wait_s):
                child.writer.write(_frame(_question(call, request), request.body))
                await child.writer.drain()
                return _reply(*await _read_frame(child.reader))
        except TimeoutError as exc:
            await self.leave(episode)
            raise problems.ProblemError(
                problems.Code.EPISODE_INTERRUPTED,
                "the call ran past its deadline and the episode's process was killed; reset the episode",
            ) from exc
        except (OSError, EOFError, ValueError, TypeError, KeyError) as exc:  # it is gone, or what it says is nonsense
            await self.leave(episode)
            raise problems.ProblemError(
                problems.Code.EPISODE_INTERRUPTED,
                "the episode's process ended in the middle of the call; reset the episode",
            ) from exc
        except asyncio.CancelledError:  # its answer would be taken for the next call's
            await self.leave(episode)
            raise

    async def leave(self, episode: episodes.Episode) -> None:
        child = self._children.pop(episode.id, None)
        if child is None:
            return
        child.writer.close()
        # A kernel whose Landlock cannot hold signals to the own children lets us send none: there the child ends when
        # it sees the closed socket, and the keeper ends all of us where it never looks.
        with contextlib.suppress(PermissionError):
            os.kill(child.pid, signal.SIGKILL)
        await asyncio.to_thread(os.waitpid, child.pid, 0)

    async def tidy(self) -> None:
        for child in list(self._children.values()):
            if child.episode.meta.state != "open" and not child.episode.lock.locked():
                await self.leave(child.episode)

    async def _fork(self, episode: episodes.Episode) -> _Child:
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            _be_child(theirs, episode, self._app, self._confine, parent=parent)
        theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours, limit=_LARGEST)
        child = self._children[episode.id] = _Child(episode, pid, reader, writer)
        return child


def die_with(parent: int) -> None:
    """Asks the kernel to kill this process when its parent dies, so that none is left behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)


def _be_child(
    peer: socket.socket,
    episode: episodes.Episode,
    app: asgi.StartedApp,
    confine: Callable[[episodes.Episode], None],
    *,
    parent: int,
) -> NoReturn:
    """The whole life of an episode's process; never returns into the server that it was forked from."""
    status = 1
    try:
        die_with(parent)
        gc.freeze()
        keep = peer.fileno()
        os.closerange(3, keep)
        os.closerange(keep + 1, os.sysconf("SC_OPEN_MAX"))
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        confine(episode)
        asyncio._set_running_loop(None)
        loop = asyncio.SelectorEventLoop()
        loop.run_until_complete(_answer_calls(peer, episode, app))
        status = 0
    except Exception:
        logger.exception("the process of %s failed", episode.id)
    finally:
        os._exit(status)


async def _answer_calls(peer: socket.socket, episode: episodes.Episode, app: asgi.StartedApp) -> None:
    reader, writer = await asyncio.open_connection(sock=peer, limit=_LARGEST)
    runner = runners.InlineRunner(app, deadlines.Deadlines())
    while True:
        try:
            question, body = await _read_frame(reader)
        except EOFError:
            return
        call = context.CallContext(
            clock=datetime.fromisoformat(question["clock"]), seed=question["seed"], number=question["number"]
        )
        call.deadline = question["deadline"]
        try:
            reply = await runner.run(episode, call, _request_of(question, body))
        except problems.ProblemError:
            writer.write(_frame({"status": 500, "overdue": True}, b""))
        else:
            failure = f"{type(reply.failure).__name__}: {reply.failure}" if reply.failure else None
            writer.write(_frame({"status": reply.status, "failure": failure}, reply.body))
        await writer.drain()


def _question(call: context.CallContext, request: tools.AppRequest) -> dict[str, Any]:
    return {
        "clock": call.clock.isoformat(),
        "seed": call.seed,
        "number": call.number,
        "deadline": call.deadline,
        "method": request.method,
        "path": request.path,
        "raw_path": request.raw_path.decode("latin-1"),
        "query": request.query_string.decode("latin-1"),
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in request.headers],
    }


def _reply(header: dict[str, Any], body: bytes) -> asgi.AppReply:
    """What a child answered, which is not to be trusted to be of any form.

    Raises:
        ProblemError: `timeout`.
        ValueError, TypeError, KeyError: it is no answer.
    """
    if header.get("overdue"):
        raise problems.ProblemError(problems.Code.TIMEOUT, "the call ran past its deadline and was stopped")
    failure = ChildFailed(header["failure"]) if header.get("failure") else None
    return asgi.AppReply(int(header["status"]), body, failure)


def _request_of(question: dict[str, Any], body: bytes) -> tools.AppRequest:
    return tools.AppRequest(
        method=question["method"],
        path=question["path"],
        raw_path=question["raw_path"].encode("latin-1"),
        query_string=question["query"].encode("latin-1"),
        headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in question["headers"]],
        body=body,
    )


def _frame(header: dict[str, Any], body: bytes) -> bytes:
    encoded = orjson.dumps(header)
    return _FRAME.pack(len(encoded), len(body)) + encoded + body


async def _read_frame(reader: asyncio.StreamReader) -> tuple[dict[str, Any], bytes]:
    head, tail = _FRAME.unpack(await reader.readexactly(_FRAME.size))
    if head + tail > _LARGEST:
        raise ValueError("a frame larger than allowed")
    header = orjson.loads(await reader.readexactly(head))
    if not isinstance(header, dict):
        raise ValueError("a frame's header is no object")
    return header, await reader.readexactly(tail)
