"""The agent plane: what an agent may reach, as an ASGI application.

`POST /e/{episode}/mcp` and `POST /mcp` (the default episode) speak MCP; nothing else exists here. Every tool call
passes through, so this is plain ASGI: no routing table, no middleware, no request object.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from awm_runtime.contract import problems
from awm_runtime.server import hosts, mcp, tool_host
from awm_runtime.server import mcp_replies as replies

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = dict[bytes, bytes]

_JSON = b"application/json"
_ACCEPTABLE = (b"*/*", b"application/*", _JSON)
_ALLOW = (b"allow", b"POST, OPTIONS")


class _Disconnected(Exception):
    """The client went away before it had sent everything."""


class AgentPlane:
    """The ASGI application.

    Args:
        host: Who holds the tools.
        guard: Which Host and Origin headers are answered.
        request_limit_bytes: How long a request's body may be.
    """

    def __init__(
        self,
        host: tool_host.ToolHost,
        *,
        guard: hosts.HostGuard,
        request_limit_bytes: int,
    ) -> None:
        self._endpoint = mcp.Endpoint(host)
        self._guard = guard
        self._limit = request_limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise RuntimeError("the agent plane speaks HTTP only")
        headers = _folded(scope["headers"])
        try:
            self._guard.check(headers)
            episode = _episode(scope["path"])
        except problems.ProblemError as problem:
            await _send(send, problem.problem.status, problem.body(), problems.MEDIA_TYPE.encode())
            return
        if scope["method"] != "POST":
            # Streams and sessions, which GET and DELETE are for, are optional; clients take a 405 for "not here".
            await _send(send, 204 if scope["method"] == "OPTIONS" else 405, b"", None, _ALLOW)
            return
        try:
            reply = _unfit(headers) or await self._answer(episode, headers, receive)
        except _Disconnected:
            return
        wait = () if reply.retry_after is None else ((b"retry-after", reply.retry_after),)
        await _send(send, reply.status, reply.body, _JSON if reply.body else None, *wait)

    async def _answer(self, episode: str | None, headers: Headers, receive: Receive) -> replies.Reply:
        body = await _body(headers, receive, self._limit)
        if body is None:
            return _refused(413, problems.Code.TOO_LARGE, f"A request is at most {self._limit} bytes long.")
        return await self._endpoint.answer(episode, headers, body)


def _folded(raw: list[tuple[bytes, bytes]]) -> Headers:
    """Headers as a mapping; one that came twice holds both values, so that it equals neither where one is expected."""
    headers = dict(raw)
    if len(headers) == len(raw):
        return headers
    folded: Headers = {}
    for name, value in raw:
        folded[name] = folded[name] + b", " + value if name in folded else value
    return folded


def _episode(path: str) -> str | None:
    """The episode that a path names; None for the default one.

    Raises:
        ProblemError: The path leads nowhere.
    """
    if path == "/mcp":
        return None
    if path.startswith("/e/") and path.endswith("/mcp"):
        episode = path[3:-4]
        if episode and "/" not in episode:
            return episode
    raise problems.ProblemError(problems.Code.UNKNOWN_EPISODE, "MCP is served at /mcp and at /e/{episode}/mcp.")


def _unfit(headers: Headers) -> replies.Reply | None:
    """The refusal of a body that is not JSON, or of a client that takes no JSON. An absent Accept takes anything."""
    if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != _JSON:
        return _refused(415, problems.Code.BAD_REQUEST, "The Content-Type is application/json.")
    accepted = headers.get(b"accept")
    if accepted is not None and not any(kind in accepted.lower() for kind in _ACCEPTABLE):
        return _refused(406, problems.Code.BAD_REQUEST, "The reply is application/json, which Accept leaves out.")
    return None


def _refused(status: int, code: problems.Code, message: str) -> replies.Reply:
    return replies.error(None, replies.Refusal(replies.INVALID_REQUEST, message, status=status, data={"code": code}))


async def _body(headers: Headers, receive: Receive, limit: int) -> bytes | None:
    """The request's body; None where it is longer than the limit, of which no more than the limit was kept.

    Raises:
        _Disconnected: The client went away.
    """
    declared = headers.get(b"content-length")
    if declared is not None and declared.isdigit() and int(declared) > limit:
        return None
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Disconnected
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            return None
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


async def _send(
    send: Send, status: int, body: bytes, content_type: bytes | None, *headers: tuple[bytes, bytes]
) -> None:
    described = [(b"content-type", content_type)] if content_type else []
    lengths = [] if status == 204 else [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": [*described, *lengths, *headers]})
    await send({"type": "http.response.body", "body": body})
