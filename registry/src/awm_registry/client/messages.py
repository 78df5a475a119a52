"""MCP (protocol 2025-11-25) as the client speaks it: what is posted, and how an answer is read."""

import itertools
import json
from dataclasses import dataclass
from typing import Any

import httpx
import pydantic

from awm_registry.client import exchanges
from awm_runtime import errors
from awm_runtime.contract import problems

PROTOCOL = "2025-11-25"
HEADERS = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": PROTOCOL}

_ids = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a tool answered.

    Attributes:
        text: As an agent reads it.
        is_error: Whether it is an error of the agent's or of the environment's.
    """

    text: str
    is_error: bool

    def data(self) -> Any:
        """The text as JSON, where it is JSON; else the text."""
        try:
            return json.loads(self.text)
        except json.JSONDecodeError:
            return self.text


def message(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """A request."""
    return {"jsonrpc": "2.0", "id": next(_ids), "method": method, "params": params}


def initialize() -> dict[str, Any]:
    """The handshake's request."""
    client = {"name": "awm", "version": "0.1.0"}
    return message("initialize", {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": client})


def call(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """A tool call's request."""
    return message("tools/call", {"name": tool, "arguments": arguments})


def reply(result: dict[str, Any]) -> Reply:
    """What a tool call's result says."""
    text = "".join(part.get("text", "") for part in result.get("content", []))
    return Reply(text, bool(result.get("isError")))


def result(response: httpx.Response) -> dict[str, Any]:
    """The result that an answer holds.

    Raises:
        ProblemError: The infrastructure failed, or the episode takes no calls.
        Unreachable: The server is in trouble.
        PermanentError: Whoever answers there is no MCP server of ours.
    """
    answer = _message(response)
    if answer is None:
        raise exchanges.problem(response) or _no_server(response)
    if "error" in answer:
        raise _error(answer["error"])
    found: dict[str, Any] = answer["result"]
    return found


def _message(response: httpx.Response) -> dict[str, Any] | None:
    """The JSON-RPC message that an answer is, if it is one."""
    try:
        answer = response.json()
    except ValueError:
        return None
    fits = isinstance(answer, dict) and (
        isinstance(answer.get("result"), dict) or isinstance(answer.get("error"), dict)
    )
    return answer if fits and answer.get("jsonrpc") == "2.0" else None


def _no_server(response: httpx.Response) -> errors.AwmError:
    if response.is_server_error:
        return exchanges.stranger(response)
    kind = response.headers.get("content-type", "no content type")
    return errors.PermanentError(
        f"{response.request.url} is no MCP server that answers in JSON: {response.status_code}, {kind}"
    )


class _Blamed(pydantic.BaseModel):
    """What our servers add to a JSON-RPC error."""

    code: problems.Code
    blame: problems.Blame = pydantic.Field(alias="class")
    retry_after_s: float | None = None


def _error(error: dict[str, Any]) -> errors.AwmError:
    """What a JSON-RPC error stands for: ours carry a code and whose fault it is."""
    message = str(error.get("message", error))
    try:
        said = _Blamed.model_validate(error.get("data"))
    except pydantic.ValidationError:
        return errors.PermanentError(f"the MCP server refused: {message}")
    return problems.ProblemError(said.code, message, blame=said.blame, retry_after_s=said.retry_after_s)
