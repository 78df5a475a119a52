"""An episode's tools over MCP (protocol 2025-11-25), for programs that need no whole SDK."""

import itertools
import json
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx
import pydantic

from awm_registry.client import exchanges
from awm_runtime import errors
from awm_runtime.contract import problems

PROTOCOL = "2025-11-25"
_HEADERS = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": PROTOCOL}


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


class ToolClient:
    """Lists and calls the tools behind an MCP URL.

    Args:
        url: The MCP URL.
        token: The agent's token, where one is asked for.
        timeout_s: How long an answer is waited for.
        transport: How requests are sent; for tests.

    Raises:
        PermanentError: The URL is none.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_s: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {**_HEADERS, **({"Authorization": f"Bearer {token}"} if token else {})}
        self._client = httpx.Client(headers=headers, timeout=timeout_s, transport=transport)
        self._url = exchanges.checked(url)
        self._ids = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.close()

    def initialize(self) -> dict[str, Any]:
        """The handshake; says who serves. The tools can be called without it."""
        params = {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": {"name": "awm", "version": "0.1.0"}}
        return self._ask("initialize", params)

    def tools(self) -> list[dict[str, Any]]:
        """The tool list."""
        listed: list[dict[str, Any]] = self._ask("tools/list", {})["tools"]
        return listed

    def call(self, tool: str, arguments: dict[str, Any]) -> Reply:
        """Calls a tool.

        Raises:
            ProblemError: The infrastructure failed, or the episode takes no calls.
            Unreachable: No answer came; the call may have been made.
        """
        result = self._ask("tools/call", {"name": tool, "arguments": arguments})
        text = "".join(part.get("text", "") for part in result.get("content", []))
        return Reply(text, bool(result.get("isError")))

    def _ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        message = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
        response = exchanges.ask(self._client, "POST", self._url, json=message)
        answer = _message(response)
        if answer is None:
            raise exchanges.problem(response) or _no_server(response)
        if "error" in answer:
            raise _error(answer["error"])
        result: dict[str, Any] = answer["result"]
        return result


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
