"""MCP, the replies: results and errors as JSON, with what each era of the protocol wants of them.

Everything that does not change from call to call is made once, as bytes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from awm_runtime.contract import problems
from awm_runtime.server import tool_host

MODERN_VERSIONS = ("2026-07-28",)
HANDSHAKE_VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26")
SUPPORTED_VERSIONS = (*MODERN_VERSIONS, *HANDSHAKE_VERSIONS)

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
HEADER_MISMATCH = -32020
UNSUPPORTED_VERSION = -32022
PROBLEM = -32010
"""Ours, from the range that the protocol leaves to implementations: the error's `data` says what it is."""

SERVER_INFO_KEY = "io.modelcontextprotocol/serverInfo"

TOOLS_TTL_MS = 300_000
"""How long a client may keep the tool list. Not longer: another server may take over the port."""

_STATUS = {METHOD_NOT_FOUND: 404, INTERNAL_ERROR: 500}


class Refusal(Exception):
    """A message that is answered with an error.

    Args:
        code: The JSON-RPC error code.
        message: One sentence for whoever wrote the client.
        status: The HTTP status where the era gives errors one.
        data: More fields of the error's `data`.
        retry_after_s: When to try again, in seconds.
    """

    def __init__(
        self,
        code: int,
        message: str,
        *,
        status: int | None = None,
        data: Mapping[str, Any] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status or _STATUS.get(code, 400)
        self.data: dict[str, Any] = {"code": problems.Code.BAD_REQUEST, "class": "agent", **(data or {})}
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP response; one without a body is an acknowledgement."""

    status: int
    body: bytes = b""
    retry_after: bytes | None = None


@dataclass(frozen=True, slots=True)
class Era:
    """How one era answers.

    Args:
        results: The results that never change, by method, as JSON.
        handshakes: The results of `initialize` by version; empty where there is no handshake.
        call_end: What closes the result of a tool call.
        states_errors: Whether an error has an HTTP status of its own, or goes with a 200.
    """

    results: Mapping[str, bytes]
    handshakes: Mapping[str, bytes]
    call_end: bytes
    states_errors: bool


ACCEPTED = Reply(202)


def modern(host: tool_host.ToolHost) -> Era:
    """The era without a handshake: every result says that it is complete, and whose it is."""
    tail: dict[str, Any] = {"resultType": "complete", "_meta": {SERVER_INFO_KEY: _server_info(host)}}
    # Private, because the way to an episode may need its token.
    cached = {**tail, "ttlMs": TOOLS_TTL_MS, "cacheScope": "private"}
    discovered = {"supportedVersions": SUPPORTED_VERSIONS, **_offer(host), **cached}
    return Era(
        results={
            "server/discover": orjson.dumps(discovered),
            "tools/list": orjson.dumps({"tools": list(host.listed()), **cached}),
        },
        handshakes={},
        call_end=b"," + orjson.dumps(tail)[1:],
        states_errors=True,
    )


def handshake(host: tool_host.ToolHost) -> Era:
    """The era that starts with `initialize`."""
    offer = {**_offer(host), "serverInfo": _server_info(host)}
    return Era(
        results={"ping": b"{}", "tools/list": orjson.dumps({"tools": list(host.listed())})},
        handshakes={version: orjson.dumps({"protocolVersion": version, **offer}) for version in HANDSHAKE_VERSIONS},
        call_end=b"}",
        states_errors=False,
    )


def call_result(era: Era, reply: tool_host.ToolReply) -> bytes:
    """The result of a tool call, as JSON."""
    verdict = b'}],"isError":true' if reply.is_error else b'}],"isError":false'
    return b'{"content":[{"type":"text","text":' + orjson.dumps(reply.text) + verdict + era.call_end


def result(request_id: int | str, body: bytes) -> Reply:
    """The reply that carries a result."""
    return Reply(200, b'{"jsonrpc":"2.0","id":' + orjson.dumps(request_id) + b',"result":' + body + b"}")


def error(request_id: int | str | None, refusal: Refusal, *, era: Era | None = None) -> Reply:
    """The reply that carries an error.

    Args:
        request_id: The request's id; None where it could not be read.
        refusal: What went wrong.
        era: The era that the request belongs to; None where it never became a request of one.
    """
    failure = {"code": refusal.code, "message": refusal.message, "data": refusal.data}
    body = orjson.dumps({"jsonrpc": "2.0", "id": request_id, "error": failure})
    wait = None if refusal.retry_after_s is None else b"%d" % math.ceil(refusal.retry_after_s)
    return Reply(refusal.status if era is None or era.states_errors else 200, body, wait)


def refused(status: int, code: problems.Code, message: str) -> Reply:
    """The reply to what never became a message: too large, or of the wrong media type."""
    return error(None, Refusal(INVALID_REQUEST, message, status=status, data={"code": code}))


def from_problem(problem: problems.ProblemError) -> Refusal:
    """A problem as a protocol error: never a tool result, so that nobody blames the agent for it."""
    data: dict[str, Any] = {"code": problem.code, "class": problem.blame}
    if problem.retry_after_s is not None:
        data["retry_after_s"] = problem.retry_after_s
    return Refusal(
        INTERNAL_ERROR if problem.code is problems.Code.INTERNAL else PROBLEM,
        problem.detail,
        status=problems.STATUS[problem.code],
        data=data,
        retry_after_s=problem.retry_after_s,
    )


def _offer(host: tool_host.ToolHost) -> dict[str, Any]:
    return {"capabilities": {"tools": {}}, "instructions": host.description}


def _server_info(host: tool_host.ToolHost) -> dict[str, str]:
    return {"name": host.name, "title": host.title, "version": host.version}
