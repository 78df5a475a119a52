"""Problems of the router as an MCP client has to be told them, and problems inside an instance's replies.

The table is that of `docs/adr/0006-own-mcp-endpoint.md`: clients of the 2025 versions read the body of a 200 only.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from awm_runtime.contract import problems
from awm_runtime.server import mcp
from awm_runtime.server import mcp_replies as replies

_MODERN = replies.Era(results={}, handshakes={}, call_end=b"", states_errors=True)
_HANDSHAKE = replies.Era(results={}, handshakes={}, call_end=b"", states_errors=False)
_MOST_READ = 4096
"""An error of an instance is shorter; a tool's result that is longer is not looked at."""


def reply(headers: Mapping[bytes, bytes], body: bytes, problem: problems.ProblemError) -> replies.Reply | None:
    """The reply to an MCP message that could not be handed on.

    Args:
        headers: The request's headers, names in small letters.
        body: What was posted.
        problem: Why not.

    Returns:
        None: what was posted is no message, so that the problem itself is the answer.
    """
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        return None
    era = _MODERN if _is_modern(headers, message) else _HANDSHAKE
    id = message.get("id")
    if type(id) is int or isinstance(id, str):
        return replies.error(id, replies.from_problem(problem), era=era)
    # A notification: the old era's clients break on anything but an acknowledgement, and nothing was lost.
    return replies.ACCEPTED if era is _HANDSHAKE and id is None else None


def is_call(body: bytes) -> bool:
    """Whether what was posted is a tool call, which may have had its effect; a batch counts as one."""
    return b'"tools/call"' in body


def code_in(body: bytes) -> str | None:
    """The problem's code of an instance's reply that refuses to serve an episode; None for any other reply."""
    if len(body) > _MOST_READ or b'"error":' not in body:
        return None
    try:
        message: Any = orjson.loads(body)
        code = message["error"]["data"]["code"]
    except (orjson.JSONDecodeError, TypeError, KeyError):
        return None
    return code if isinstance(code, str) else None


def _is_modern(headers: Mapping[bytes, bytes], message: dict[str, Any]) -> bool:
    version = headers.get(mcp.VERSION_HEADER, b"").strip().decode("latin-1")
    params = message.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    return version in replies.MODERN_VERSIONS or (isinstance(meta, dict) and mcp.VERSION_KEY in meta)
