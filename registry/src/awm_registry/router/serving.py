"""Serves a router's apps on sockets that are bound already, until SIGTERM or Ctrl-C."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import uvicorn

from awm_registry.router import settings
from awm_runtime.server import sockets as listeners

logger = logging.getLogger(__name__)

_App = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sockets:
    """Where a router listens: on one port, or on one for each plane."""

    single: socket.socket | None = None
    agent: socket.socket | None = None
    control: socket.socket | None = None
    metrics: socket.socket | None = None


class Planes(Protocol):
    """A router's apps: `app.Router`, or those of several teams."""

    async def agent(self, scope: Any, receive: Any, send: Any) -> None:
        """MCP, for agents."""
        ...

    async def control(self, scope: Any, receive: Any, send: Any) -> None:
        """Episodes and the catalogue."""
        ...

    async def metrics(self, scope: Any, receive: Any, send: Any) -> None:
        """Probes and `/metrics`."""
        ...

    async def single(self, scope: Any, receive: Any, send: Any) -> None:
        """All of them on one port."""
        ...

    def running(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Requests are answered for the length of this `with` block."""
        ...


async def serve(router: Planes, sockets: Sockets, limits: settings.Settings) -> None:
    """Serves until SIGTERM or SIGINT comes; requests in flight may end.

    To be run in the main thread, on uvloop where that is installed: `uvloop.run(serve(...))`.
    """
    stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    await serve_until(stop, router, sockets, limits=limits)


async def serve_until(stop: asyncio.Event, router: Planes, sockets: Sockets, *, limits: settings.Settings) -> None:
    """Serves until `stop` is set; requests in flight may end."""
    planes: list[tuple[_App, socket.socket | None]] = [
        (router.single, sockets.single),
        (router.agent, sockets.agent),
        (router.control, sockets.control),
        (router.metrics, sockets.metrics),
    ]
    servers = [(_Server(_config(plane, limits)), listening) for plane, listening in planes if listening is not None]
    async with router.running(), asyncio.TaskGroup() as group:
        for server, listening in servers:
            group.create_task(server.serve(sockets=[listening]))
        await stop.wait()
        for server, _ in servers:
            server.should_exit = True


def _config(plane: _App, limits: settings.Settings) -> uvicorn.Config:
    return uvicorn.Config(
        plane,
        loop="none",
        http="httptools",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=4096,
        timeout_keep_alive=listeners.IDLE_S,
        timeout_graceful_shutdown=round(limits.shutdown_s),
    )


class _Server(uvicorn.Server):
    """Uvicorn without signal handlers: a router has several servers and one pair of handlers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
