"""MCP, the messages: one JSON-RPC message in, one reply out, for both eras of the protocol on one URL.

- 2026-07-28 ("modern"): no handshake and no session. Every request names its version and the client's capabilities in
  `params._meta`, and repeats version, method and tool in headers, which must agree.
- 2025-11-25, 2025-06-18 and 2025-03-26 ("handshake"): `initialize` is answered and nothing is remembered. No session id
  is handed out, and one that a client sends is ignored, so a session can never be lost.

Errors are JSON-RPC errors whose `data` holds `code` and `class` as in `awm_runtime.contract.problems`. What differs is
the HTTP status that goes with them. The 2026 protocol gives each error its own, and its clients read the body of any.
Clients of the 2025 protocol read the body of a 200 only: a 404 means to them that their session ended, and other
statuses break their connection, so an error that belongs to a well-formed request is a 200 there.

The wire names are written out because importing `mcp_types` takes a quarter of a second, more than everything else that
happens before the first tool list. Tests hold them to it.
"""

import base64
import binascii
import json
import logging
from collections.abc import Mapping
from typing import Any

import orjson

from awm_runtime.contract import problems
from awm_runtime.server import mcp_replies as replies
from awm_runtime.server import tool_host

logger = logging.getLogger(__name__)

VERSION_HEADER = b"mcp-protocol-version"
METHOD_HEADER = b"mcp-method"
NAME_HEADER = b"mcp-name"

VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"

BATCH_LIMIT = 100
"""Messages in one batch. The one protocol version that had batches (2025-03-26) sets no limit."""

_BATCH_VERSION = "2025-03-26"
"""Also what a request without a version header speaks."""

Headers = Mapping[bytes, bytes]
Message = dict[str, Any]


class Endpoint:
    """Answers the MCP messages of one host's episodes. Keeps nothing between them.

    Args:
        host: Who holds the tools. Its tool list is read once, here.
    """

    def __init__(self, host: tool_host.ToolHost) -> None:
        self._host = host
        self._modern = replies.modern(host)
        self._handshake = replies.handshake(host)

    async def answer(self, episode: str | None, headers: Headers, body: bytes) -> replies.Reply:
        """Answer a posted body.

        Args:
            episode: The episode that the URL names; None for the default one.
            headers: The request's headers, names in lower case.
            body: A JSON-RPC message, or a batch of them.
        """
        try:
            message = orjson.loads(body)
        except orjson.JSONDecodeError:
            return self._refuse_unreadable(headers, body)
        if isinstance(message, list):
            return await self._answer_batch(episode, headers, message)
        return await self._answer_message(episode, headers, message)

    def _refuse_unreadable(self, headers: Headers, body: bytes) -> replies.Reply:
        """Answers the request itself where only its values are at fault, so that its client does not wait for ever.

        An agent may write half of a surrogate pair or a number beyond all bounds, which its client sends on.
        """
        request_id = _unreadable_id(body)
        if request_id is None:
            return replies.error(None, replies.Refusal(replies.PARSE_ERROR, "The body is not JSON."))
        said = "The params hold what cannot be read: half of a surrogate pair or a number out of range."
        refusal = replies.Refusal(replies.INVALID_PARAMS, said, data={"code": problems.Code.INVALID_ARGUMENTS})
        is_modern = _text(headers.get(VERSION_HEADER)) in replies.MODERN_VERSIONS
        return replies.error(request_id, refusal, era=self._modern if is_modern else self._handshake)

    async def _answer_batch(self, episode: str | None, headers: Headers, messages: list[Any]) -> replies.Reply:
        if (_text(headers.get(VERSION_HEADER)) or _BATCH_VERSION) != _BATCH_VERSION:
            return _malformed("This protocol version has no batches: send one message at a time.")
        if not 0 < len(messages) <= BATCH_LIMIT:
            return _malformed(f"A batch holds 1 to {BATCH_LIMIT} messages.")
        if any(isinstance(message, dict) and message.get("method") == "initialize" for message in messages):
            return _malformed("A batch must not hold initialize.")
        answers = [(await self._answer_message(episode, headers, message)).body for message in messages]
        bodies = [body for body in answers if body]
        return replies.Reply(200, b"[" + b",".join(bodies) + b"]") if bodies else replies.ACCEPTED

    async def _answer_message(self, episode: str | None, headers: Headers, message: Any) -> replies.Reply:
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            return _malformed("The body is not a JSON-RPC 2.0 message.")
        if "id" not in message or "method" not in message:
            return _acknowledged(headers, message)
        request_id = message["id"]
        if type(request_id) is not int and not isinstance(request_id, str):
            return _malformed("A request's id is a string or a whole number.")
        era = self._modern
        try:
            method, params = _request(message)
            if not _is_modern(headers, params):
                era = self._handshake
            else:
                _check_envelope(headers, method, params)
            return replies.result(request_id, await self._result(era, episode, method, params))
        except replies.Refusal as refusal:
            return replies.error(request_id, refusal, era=era)
        except problems.ProblemError as problem:
            return replies.error(request_id, replies.from_problem(problem), era=era)
        except Exception:
            # The top of a request. What broke is for the log; the agent learns only that it was not to blame.
            logger.exception("an MCP request failed", extra={"episode": episode, "method": message.get("method")})
            broken = problems.ProblemError(problems.Code.INTERNAL, "Internal error.")
            return replies.error(request_id, replies.from_problem(broken), era=era)

    async def _result(self, era: replies.Era, episode: str | None, method: str, params: Message) -> bytes:
        if method == "tools/call":
            tool, arguments = _tool_call(params)
            reply = await self._host.call(episode or await self._host.default_episode(), tool, arguments)
            return replies.call_result(era, reply)
        found = _handshake_result(era, params) if method == "initialize" else era.results.get(method)
        if found is None:
            raise replies.Refusal(replies.METHOD_NOT_FOUND, "Method not found: this server offers tools only.")
        if method == "tools/list" and params.get("cursor") is not None:
            raise replies.Refusal(replies.INVALID_PARAMS, "Unknown cursor: the tool list is one page.")
        self._host.check(episode or await self._host.default_episode())
        return found


def _unreadable_id(body: bytes) -> int | str | None:
    """The id of a request that only a more lenient parser can read; None where there is none."""
    try:
        request_id = json.loads(body)["id"]
        orjson.dumps(request_id)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return request_id if type(request_id) is int or isinstance(request_id, str) else None


def _request(message: Message) -> tuple[str, Message]:
    method, params = message["method"], message.get("params")
    if not isinstance(method, str):
        raise replies.Refusal(replies.INVALID_REQUEST, "A request's method is a string.")
    if params is None:
        return method, {}
    if not isinstance(params, dict):
        raise replies.Refusal(replies.INVALID_REQUEST, "A request's params are an object.")
    return method, params


def _tool_call(params: Message) -> tuple[str, Message]:
    tool, arguments = params.get("name"), params.get("arguments")
    if not isinstance(tool, str):
        raise replies.Refusal(replies.INVALID_PARAMS, "A tool call names its tool.")
    if arguments is None:
        return tool, {}
    if not isinstance(arguments, dict):
        raise replies.Refusal(replies.INVALID_PARAMS, "A tool call's arguments are an object.")
    return tool, arguments


def _handshake_result(era: replies.Era, params: Message) -> bytes | None:
    """The answer to `initialize`: at the client's version where it is served, else at our newest."""
    if not era.handshakes:
        return None
    asked = params.get("protocolVersion")
    if not isinstance(asked, str):
        raise replies.Refusal(replies.INVALID_PARAMS, "initialize names a protocolVersion.")
    return era.handshakes.get(asked) or era.handshakes[replies.HANDSHAKE_VERSIONS[0]]


def _is_modern(headers: Headers, params: Message) -> bool:
    """Tell the eras apart: a request is modern when its header or its envelope says so.

    Raises:
        Refusal: The header names a version of neither era.
    """
    version = _text(headers.get(VERSION_HEADER))
    if version in replies.MODERN_VERSIONS:
        return True
    meta = params.get("_meta")
    if isinstance(meta, dict) and VERSION_KEY in meta:
        return True
    if version is None or version in replies.HANDSHAKE_VERSIONS:
        return False
    raise _unsupported(version)


def _check_envelope(headers: Headers, method: str, params: Message) -> None:
    """Check what every modern request carries, in the order that the reference server checks it.

    Raises:
        Refusal: A key is missing, a header disagrees with the body, or the version is not served.
    """
    meta = params.get("_meta")
    if not isinstance(meta, dict) or VERSION_KEY not in meta or CAPABILITIES_KEY not in meta:
        raise replies.Refusal(replies.INVALID_PARAMS, f"params._meta holds {VERSION_KEY} and {CAPABILITIES_KEY}.")
    version = meta[VERSION_KEY]
    if _text(headers.get(VERSION_HEADER)) != version:
        raise _mismatch("MCP-Protocol-Version", VERSION_KEY)
    if _text(headers.get(METHOD_HEADER)) != method:
        raise _mismatch("Mcp-Method", "method")
    if method == "tools/call" and _decoded(_text(headers.get(NAME_HEADER))) != params.get("name"):
        raise _mismatch("Mcp-Name", "params.name")
    if not isinstance(meta[CAPABILITIES_KEY], dict):
        raise replies.Refusal(replies.INVALID_PARAMS, f"{CAPABILITIES_KEY} is an object.")
    if version not in replies.MODERN_VERSIONS:
        raise _unsupported(version)


def _acknowledged(headers: Headers, message: Message) -> replies.Reply:
    """The reply to a message that wants none: a notification, or a response to a request that we never make."""
    version = _text(headers.get(VERSION_HEADER))
    if version is not None and version not in replies.SUPPORTED_VERSIONS:
        return replies.error(None, _unsupported(version))
    is_notification = isinstance(message.get("method"), str)
    is_response = version not in replies.MODERN_VERSIONS and ("result" in message or "error" in message)
    if is_notification or is_response:
        return replies.ACCEPTED
    return _malformed("The message is neither a request nor a notification.")


def _malformed(message: str) -> replies.Reply:
    return replies.error(None, replies.Refusal(replies.INVALID_REQUEST, message))


def _mismatch(header: str, field: str) -> replies.Refusal:
    return replies.Refusal(replies.HEADER_MISMATCH, f"The {header} header and the body's {field} differ.")


def _unsupported(version: str) -> replies.Refusal:
    data = {"supported": replies.SUPPORTED_VERSIONS, "requested": version}
    return replies.Refusal(replies.UNSUPPORTED_VERSION, "This protocol version is not supported.", data=data)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.strip(b" \t").decode("latin-1")


def _decoded(value: str | None) -> str | None:
    """A header's value, taken out of the `=?base64?...?=` that carries what a header cannot."""
    if value is None or not (value.startswith("=?base64?") and value.endswith("?=")):
        return value
    try:
        return base64.b64decode(value[9:-2], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
