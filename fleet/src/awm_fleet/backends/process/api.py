"""The supervisor's API: HTTP on a socket file that only this user opens. For routers, and for the commands of a fleet.

It hands out the tokens of instances' control planes, so it is never served anywhere else.
"""

import asyncio
import contextlib
import dataclasses
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette import applications, requests, responses, routing

from awm_fleet.backends.process import fleets
from awm_registry import directory
from awm_runtime import errors
from awm_runtime.contract import problems
from awm_runtime.server import sockets

_STILL_HERE_S = 5.0
"""A watch says at least so often that it is still there."""
_MOST_LINES = 10_000

Status = Callable[[], Awaitable[dict[str, Any]]]


def create(fleet: fleets.LocalFleet, *, status: Status, stop: Callable[[], None]) -> applications.Starlette:
    """The API as an ASGI app.

    Args:
        fleet: The fleet.
        status: What `awm status` shows.
        stop: Begins the end of the fleet.
    """

    async def watch(_request: requests.Request) -> responses.Response:
        return responses.StreamingResponse(_lines(fleet), media_type="application/x-ndjson")

    async def wake(request: requests.Request) -> responses.Response:
        generation = request.query_params.get("generation", "")
        await fleet.wake(request.path_params["scenario"], int(generation) if generation.isdecimal() else None)
        return _json({"version": fleet.version}, 202)

    async def logs(request: requests.Request) -> responses.Response:
        wanted = request.query_params.get("lines", "100")
        lines = min(int(wanted), _MOST_LINES) if wanted.isdecimal() else 100
        return responses.PlainTextResponse(await fleet.logs(request.path_params["scenario"], lines=lines))

    async def look(_request: requests.Request) -> responses.Response:
        return _json(await status())

    async def end(_request: requests.Request) -> responses.Response:
        stop()
        return responses.Response(status_code=202)

    routes = [
        routing.Route("/v1/watch", watch),
        routing.Route("/v1/wake/{scenario}", wake, methods=["POST"]),
        routing.Route("/v1/logs/{scenario}", logs),
        routing.Route("/v1/status", look),
        routing.Route("/v1/stop", end, methods=["POST"]),
    ]
    return applications.Starlette(routes=routes, exception_handlers={problems.ProblemError: _refused})


@contextlib.asynccontextmanager
async def serving(app: applications.Starlette, path: Path) -> AsyncIterator[None]:
    """Serves the API on a socket file for the length of a `with` block.

    Raises:
        PermanentError: The socket cannot be made.
    """
    listening = _listen(path)
    server = _Server(
        uvicorn.Config(
            app,
            loop="none",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=sockets.IDLE_S,
            timeout_graceful_shutdown=1,
        )
    )
    task = asyncio.create_task(server.serve(sockets=[listening]), name="serve the supervisor's API")
    try:
        while not server.started:
            if task.done():
                raise errors.PermanentError(f"the supervisor cannot listen on {path}")
            await asyncio.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        await asyncio.wait([task])
        _unlink(path)


def document(instance: directory.Instance) -> dict[str, Any]:
    """An instance as JSON values."""
    return dataclasses.asdict(instance)


def instance(said: dict[str, Any]) -> directory.Instance:
    """The other way round."""
    return directory.Instance(**said)


async def _lines(fleet: fleets.LocalFleet) -> AsyncIterator[bytes]:
    """All instances in one line, then a line for each change, and an empty object where there is none for long.

    Each has the version that it leads to, so that whoever woke something knows when they have heard of it.
    """
    changes, present, version = fleet.watch(), await fleet.instances(), fleet.version
    for _ in present:
        await anext(changes)
    yield _line({"version": version, "instances": [document(each) for each in present]})
    following = asyncio.ensure_future(anext(changes))
    try:
        while True:
            done, _ = await asyncio.wait([following], timeout=_STILL_HERE_S)
            if not done:
                yield _line({})
                continue
            try:
                change = following.result()
            except StopAsyncIteration:
                return
            version += 1
            told = document(change.instance) if change.instance else None
            yield _line({"version": version, "id": change.id, "instance": told})
            following = asyncio.ensure_future(anext(changes))
    finally:
        following.cancel()


def _listen(path: Path) -> socket.socket:
    """A socket file for this user only.

    Raises:
        PermanentError: It cannot be made.
    """
    listening = socket.socket(socket.AF_UNIX)
    earlier = os.umask(0o177)
    try:
        _unlink(path)  # of a supervisor that was killed: this one holds the state folder
        listening.bind(str(path))
        listening.listen()
    except OSError as exc:
        listening.close()
        raise errors.PermanentError(f"the supervisor cannot listen on {path}: {exc.strerror}") from exc
    finally:
        os.umask(earlier)
    return listening


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _json(value: Any, status: int = 200) -> responses.Response:
    return responses.Response(json.dumps(value), status, media_type="application/json")


async def _refused(_request: requests.Request, exc: Exception) -> responses.Response:
    assert isinstance(exc, problems.ProblemError)
    return responses.Response(exc.body(), exc.problem.status, media_type=problems.MEDIA_TYPE)


class _Server(uvicorn.Server):
    """Uvicorn without signal handlers: the supervisor has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
