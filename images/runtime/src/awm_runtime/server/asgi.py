"""Calls a scenario's app in process, as an HTTP server would."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from awm_runtime.server import tools

Message = MutableMapping[str, Any]
App = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

_ADDRESS = ("127.0.0.1", 80)


@dataclass(frozen=True, slots=True)
class AppReply:
    """What the app answered.

    Attributes:
        status: The HTTP status; 500 where the app raised.
        body: The body.
        failure: What the app raised, for the log; never for the agent.
    """

    status: int
    body: bytes
    failure: BaseException | None = None


@dataclass(frozen=True, slots=True)
class StartedApp:
    """An app that can be called.

    Attributes:
        app: The ASGI application.
        state: What its lifespan yielded; each request carries a copy.
    """

    app: App
    state: Mapping[str, Any]


async def request(started: StartedApp, wanted: tools.AppRequest) -> AppReply:
    """Sends one request and waits for the whole answer. What the app raises goes through."""
    body: bytes | None = wanted.body
    status = 500
    chunks: list[bytes] = []

    async def receive() -> Message:
        nonlocal body
        if body is None:  # a streaming response waits for the client to go: it never does
            await asyncio.get_running_loop().create_future()
        sent, body = body, None
        return {"type": "http.request", "body": sent, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        elif message["type"] == "http.response.body":
            chunk = message.get("body", b"")
            if chunk:
                chunks.append(chunk)

    await started.app(_scope(wanted, started.state), receive, send)
    return AppReply(status, chunks[0] if len(chunks) == 1 else b"".join(chunks))


def _scope(wanted: tools.AppRequest, state: Mapping[str, Any]) -> MutableMapping[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": wanted.method,
        "scheme": "http",
        "path": wanted.path,
        "raw_path": wanted.raw_path,
        "query_string": wanted.query_string,
        "root_path": "",
        "headers": wanted.headers,
        "client": _ADDRESS,
        "server": _ADDRESS,
        "state": {**state},
    }
