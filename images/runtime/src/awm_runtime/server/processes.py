"""A process per episode, for code that keeps state in its module (`isolation: process`).

The instance loads the code once; each episode's process is forked on its first call. What a child says is data: it is
framed JSON and bytes, never unpickled. A child that dies takes its module's state along; the database stays.
"""

import asyncio
import contextlib
import os
import signal
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from awm_runtime.contract import problems
from awm_runtime.determinism import context
from awm_runtime.server import asgi, deadlines, episodes, exits, nursery, runners, storage, tools

_FRAME = struct.Struct("<II")
_LARGEST = 64 * 1024 * 1024
_CHUNK = 64 * 1024


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
        confine: Called in each child with its episode's folder, before any of its calls.
        connect: Makes the connections of a database.
        wait_s: How long an answer is waited for; then the child is killed. Longer than a call's deadline, which the
            child keeps by itself where it can.
    """

    def __init__(
        self,
        app: asgi.StartedApp,
        *,
        confine: Callable[[Path], None],
        connect: Callable[[Path], storage.EpisodeConnections],
        wait_s: float,
    ) -> None:
        self._nursery = nursery.Nursery(partial(_live, app, confine, connect))
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
        # A kernel whose Landlock cannot hold signals to the own children lets us send none: there the child ends when
        # it sees that we hung up, and the keeper ends all of us where it never looks.
        with contextlib.suppress(OSError, RuntimeError):
            child.writer.write_eof()
        if not child.reader.at_eof():
            with contextlib.suppress(PermissionError, ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                while await child.reader.read(_CHUNK):  # until it is gone: it may be writing to the database
                    pass
        child.writer.close()

    async def tidy(self) -> None:
        for child in list(self._children.values()):
            if child.episode.meta.state != "open" and not child.episode.lock.locked():
                await self.leave(child.episode)

    async def _fork(self, episode: episodes.Episode) -> _Child:
        try:
            pid, peer = self._nursery.fork(episode.database)
        except nursery.NurseryGone as exc:
            os.kill(os.getpid(), signal.SIGTERM)  # the keeper starts the next instance
            raise problems.ProblemError(problems.Code.INTERNAL, "the instance has to be restarted") from exc
        except OSError as exc:
            raise problems.ProblemError(
                problems.Code.AT_CAPACITY, "this instance has no room for another process", retry_after_s=5
            ) from exc
        reader, writer = await asyncio.open_connection(sock=peer, limit=_LARGEST)
        child = self._children[episode.id] = _Child(episode, pid, reader, writer)
        return child


def _live(
    app: asgi.StartedApp,
    confine: Callable[[Path], None],
    connect: Callable[[Path], storage.EpisodeConnections],
    peer: socket.socket,
    database: Path,
) -> None:
    """The whole life of an episode's process."""
    confine(database.parent)
    asyncio._set_running_loop(None)  # the server's, which was running when all this was forked
    asyncio.SelectorEventLoop().run_until_complete(_answer_calls(peer, connect(database), app))


async def _answer_calls(peer: socket.socket, connections: storage.EpisodeConnections, app: asgi.StartedApp) -> None:
    reader, writer = await asyncio.open_connection(sock=peer, limit=_LARGEST)
    watcher = deadlines.Deadlines()
    exits.install(asyncio.get_running_loop())
    while True:
        try:
            question, body = await _read_frame(reader)
        except EOFError:
            return
        call = context.CallContext(
            clock=datetime.fromisoformat(question["clock"]),
            seed=question["seed"],
            number=question["number"],
            connections=connections,
        )
        call.deadline = question["deadline"]
        try:
            reply = await runners.run_in_app(app, watcher, call, _request_of(question, body))
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
