"""The agent plane: what an agent may reach, as an ASGI application.

`POST /e/{episode}/mcp` and `POST /mcp` (the default episode) speak MCP; nothing else exists here. Every tool call
passes through, so this is plain ASGI: no routing table, no middleware, no request object.
"""

from awm_runtime.contract import problems
from awm_runtime.server import admission, exchanges, hosts, mcp, tool_host
from awm_runtime.server import mcp_replies as replies

_JSON = b"application/json"
_ACCEPTABLE = (b"*/*", b"application/*", _JSON)
_PROBLEM = problems.MEDIA_TYPE.encode()
_ASKS = (b"www-authenticate", b"Bearer")
_ALLOW = (b"allow", b"POST, OPTIONS")


class AgentPlane:
    """The ASGI application.

    Args:
        host: Who holds the tools.
        guard: Which Host and Origin headers are answered.
        request_limit_bytes: How long a request's body may be.
        admitted: Who may use an episode; None: anybody.
    """

    def __init__(
        self,
        host: tool_host.ToolHost,
        *,
        guard: hosts.HostGuard,
        request_limit_bytes: int,
        admitted: admission.Admission | None = None,
    ) -> None:
        self._endpoint = mcp.Endpoint(host)
        self._guard = guard
        self._limit = request_limit_bytes
        self._admitted = admitted

    async def __call__(self, scope: exchanges.Scope, receive: exchanges.Receive, send: exchanges.Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise RuntimeError("the agent plane speaks HTTP only")
        headers = exchanges.folded(scope["headers"])
        try:
            self._guard.check(headers)
            episode = _episode(scope["path"])
            if self._admitted is not None:
                self._admitted.agent(headers.get(b"authorization"), episode)
        except problems.ProblemError as problem:
            asks = (_ASKS,) if problem.code is problems.Code.UNAUTHENTICATED else ()
            await exchanges.send(send, problem.problem.status, problem.body(), _PROBLEM, *asks)
            return
        if scope["method"] != "POST":
            # Streams and sessions, which GET and DELETE are for, are optional; clients take a 405 for "not here".
            await exchanges.send(send, 204 if scope["method"] == "OPTIONS" else 405, b"", None, _ALLOW)
            return
        try:
            reply = _unfit(headers) or await self._answer(episode, headers, receive)
        except exchanges.Disconnected:
            return
        wait = () if reply.retry_after is None else ((b"retry-after", reply.retry_after),)
        await exchanges.send(send, reply.status, reply.body, _JSON if reply.body else None, *wait)

    async def _answer(
        self, episode: str | None, headers: exchanges.Headers, receive: exchanges.Receive
    ) -> replies.Reply:
        body = await exchanges.body(headers, receive, self._limit)
        if body is None:
            return replies.refused(413, problems.Code.TOO_LARGE, f"A request is at most {self._limit} bytes long.")
        return await self._endpoint.answer(episode, headers, body)


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


def _unfit(headers: exchanges.Headers) -> replies.Reply | None:
    """The refusal of a body that is not JSON, or of a client that takes no JSON. An absent Accept takes anything."""
    if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != _JSON:
        return replies.refused(415, problems.Code.BAD_REQUEST, "The Content-Type is application/json.")
    accepted = headers.get(b"accept")
    if accepted is not None and not any(kind in accepted.lower() for kind in _ACCEPTABLE):
        return replies.refused(
            406, problems.Code.BAD_REQUEST, "The reply is application/json, which Accept leaves out."
        )
    return None
