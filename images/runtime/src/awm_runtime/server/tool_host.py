"""What the MCP endpoint asks of whoever holds the tools."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class ToolReply:
    """What a call came to, as the agent sees it.

    Args:
        text: The result, or a short text that says what went wrong.
        is_error: Whether the call went wrong by the agent's or the environment's fault.
    """

    text: str
    is_error: bool = False


class ToolHost(Protocol):
    """The tools of one scenario, callable in the episodes of one instance."""

    @property
    def name(self) -> str:
        """The scenario's name."""

    @property
    def title(self) -> str:
        """The scenario's name for people."""

    @property
    def description(self) -> str:
        """What the scenario is about; an agent may read it."""

    @property
    def version(self) -> str:
        """The version of what is served."""

    def listed(self) -> Sequence[Mapping[str, Any]]:
        """The tools as MCP lists them. The same for as long as the host lives."""

    def check(self, episode: str) -> None:
        """Make sure that an episode takes calls.

        Raises:
            ProblemError: It is unknown, closed, expired or lost.
        """

    async def default_episode(self) -> str:
        """The episode behind `/mcp`, opened on first use.

        Raises:
            ProblemError: It cannot be opened now.
        """

    async def call(self, episode: str, tool: str, arguments: dict[str, Any]) -> ToolReply:
        """Call a tool. An unknown tool and wrong arguments are replies, not problems.

        Raises:
            ProblemError: The episode takes no calls, or the infrastructure failed.
        """
