"""An episode's tools over MCP, for programs that need no whole SDK."""

from types import TracebackType
from typing import Any, Self

import httpx

from awm_registry.client import exchanges, messages


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
        headers = messages.HEADERS | exchanges.bearer(token)
        self._client = httpx.Client(headers=headers, timeout=timeout_s, limits=exchanges.LIMITS, transport=transport)
        self._url = exchanges.checked(url)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.close()

    def initialize(self) -> dict[str, Any]:
        """The handshake; says who serves. The tools can be called without it."""
        return self._ask(messages.initialize())

    def tools(self) -> list[dict[str, Any]]:
        """The tool list."""
        listed: list[dict[str, Any]] = self._ask(messages.message("tools/list", {}))["tools"]
        return listed

    def call(self, tool: str, arguments: dict[str, Any]) -> messages.Reply:
        """Calls a tool.

        Raises:
            ProblemError: The infrastructure failed, or the episode takes no calls.
            Unreachable: No answer came; the call may have been made.
        """
        return messages.reply(self._ask(messages.call(tool, arguments)))

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        return messages.result(exchanges.ask(self._client, "POST", self._url, json=message))
