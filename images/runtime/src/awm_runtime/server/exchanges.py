"""Requests and answers of the agent plane's ASGI applications, without a framework."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = dict[bytes, bytes]


class Disconnected(Exception):
    """The client went away before it had sent everything."""


def folded(raw: list[tuple[bytes, bytes]]) -> Headers:
    """Headers as a mapping; one that came twice holds both values, so that it equals neither where one is expected."""
    headers = dict(raw)
    if len(headers) == len(raw):
        return headers
    folded: Headers = {}
    for name, value in raw:
        folded[name] = folded[name] + b", " + value if name in folded else value
    return folded


async def body(headers: Headers, receive: Receive, limit: int) -> bytes | None:
    """The request's body; None where it is longer than the limit, of which no more than the limit was kept.

    Raises:
        Disconnected: The client went away.
    """
    declared = headers.get(b"content-length")
    if declared is not None and declared.isdigit() and int(declared) > limit:
        return None
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            return None
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


async def send(to: Send, status: int, body: bytes, content_type: bytes | None, *headers: tuple[bytes, bytes]) -> None:
    described = [(b"content-type", content_type)] if content_type else []
    lengths = [] if status == 204 else [(b"content-length", b"%d" % len(body))]
    await to({"type": "http.response.start", "status": status, "headers": [*described, *lengths, *headers]})
    await to({"type": "http.response.body", "body": body})


def replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body that was read already, then what the client does: streams wait for it to go."""
    unread = [body]

    async def replay() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": unread.pop(), "more_body": False} if unread else await receive()

    return replay
