"""A process per episode, for code that keeps state in its module (`isolation: process`).

The instance loads the code once and forks for each episode on its first call. What a child says is data: it is framed
JSON and bytes, never unpickled. A child that dies takes its module's state along; the database stays.
"""

import asyncio
import contextlib
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


class ChildFailed(Exception):
    """The exception text that an episode's own process reported, or why it could not."""


@dataclass(slots=True)
class _Child:
    pid: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class ForkingRunner:
    """Runs each episode's calls in a process forked for it.

    Args:
        app: The loaded app.
        confine: Called in each child with its episode, before any of its calls.
        wait_s: How long an answer is waited for; then the child is killed.
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
                header, body = await _read_frame(child.reader)
        except TimeoutError as exc:
            await self.leave(episode)
            raise problems.ProblemError(
                problems.Code.TIMEOUT, "the call ran past its deadline and was stopped"
            ) from exc
        except (OSError, EOFError, ValueError) as exc:
            await self.leave(episode)
            raise problems.ProblemError(
                problems.Code.EPISODE_INTERRUPTED,
                "the episode's process ended in the middle of the call; reset the episode",
            ) from exc
        if header.get("overdue"):
            raise problems.ProblemError(problems.Code.TIMEOUT, "the call ran past its deadline and was stopped")
        failure = ChildFailed(header["failure"]) if header.get("failure") else None
        return asgi.AppReply(int(header["status"]), body, failure)

    async def leave(self, episode: episodes.Episode) -> None:
        child = self._children.pop(episode.id, None)
        if child is None:
            return
        child.writer.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
        await asyncio.to_thread(os.waitpid, child.pid, 0)

    async def _fork(self, episode: episodes.Episode) -> _Child:
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            _be_child(theirs, episode, self._app, self._confine)
        theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours, limit=_LARGEST)
        child = self._children[episode.id] = _Child(pid, reader, writer)
        return child


def _be_child(
    peer: socket.socket, episode: episodes.Episode, app: asgi.StartedApp, confine: Callable[[Any], None]
) -> NoReturn:
    """The whole life of an episode's process; never returns into the server that it was forked from."""
    status = 1
    try:
        gc.freeze()
        keep = peer.fileno()
        os.closerange(3, keep)
        os.closerange(keep + 1, os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") < 65536 else 65536)
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
