"""An episode in the hands of a program."""

from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar

from awm_registry.client import messages, operations
from awm_runtime.contract import episodes as contract
from awm_runtime.contract import verdicts

_Answer = TypeVar("_Answer")


class Link(Protocol):
    """What an episode needs of the fleet that it belongs to."""

    async def do(self, operation: operations.Operation[_Answer]) -> _Answer:
        """Asks the control plane."""
        ...

    async def say(self, url: str, token: str | None, message: dict[str, Any]) -> dict[str, Any]:
        """Posts to an MCP URL."""
        ...

    def forget(self, id: str) -> None:
        """Renews its lease no longer."""
        ...


class Episode:
    """An open episode. As a context manager it is closed at the end.

    Attributes:
        view: What the control plane last said of it.
    """

    def __init__(self, link: Link, view: contract.EpisodeView) -> None:
        self._link = link
        self.view = view

    def __repr__(self) -> str:
        return f"Episode({self.id}, {self.view.scenario}, task {self.view.task})"

    @property
    def id(self) -> contract.EpisodeId:
        """Its id, which other programs may use too."""
        return self.view.id

    @property
    def mcp_url(self) -> str:
        """Where agents find its tools: for those who bring an MCP client of their own."""
        return self.view.mcp_url

    @property
    def token(self) -> str | None:
        """What opens `mcp_url`, as `Authorization: Bearer ...`; None where no token is asked for."""
        return self.view.token

    @property
    def instruction(self) -> str | None:
        """What the agent is to do."""
        return self.view.instruction

    @property
    def clock(self) -> datetime:
        """What *now* is in the scenario."""
        return self.view.clock

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def tools(self) -> list[dict[str, Any]]:
        """The tool list, as MCP has it."""
        listed: list[dict[str, Any]] = (await self._say(messages.message("tools/list", {})))["tools"]
        return listed

    async def call(self, tool: str, arguments: dict[str, Any] | None = None) -> messages.Reply:
        """Calls a tool. What the agent or the environment did wrong is a reply too.

        Raises:
            ProblemError: The infrastructure failed, or the episode takes no calls.
            Unreachable: No answer came; the call may have been made.
        """
        return messages.reply(await self._say(messages.call(tool, arguments or {})))

    async def verify(
        self,
        answer: str | None = None,
        *,
        task: str | None = None,
        mode: verdicts.Mode = "code",
        partial_reward: float = 0.1,
        on_environment_error: verdicts.OnEnvironmentError = "mask",
    ) -> verdicts.Verdict:
        """Judges the episode as it is now; it can be judged again, and goes on.

        Args:
            answer: What the agent said at its end.
            task: By which task; by default the one that it was opened for.
            mode: `code` gives a verdict, `sql` evidence for a judge.
            partial_reward: What a partial outcome is worth, from 0 to 1.
            on_environment_error: Whether a failed verdict with errors of the environment is masked or scored.
        """
        wanted = verdicts.VerifyRequest(
            answer=answer,
            task=task,
            mode=mode,
            partial_reward=partial_reward,
            on_environment_error=on_environment_error,
        )
        return await self._link.do(operations.verify(self.id, wanted))

    async def reset(self, *, seed: int | None = None) -> None:
        """Puts it back to the seed, in place: same id, same URL."""
        self._note(await self._link.do(operations.reset(self.id, seed)))

    async def look(self) -> contract.EpisodeView:
        """Asks what has become of it."""
        self._note(await self._link.do(operations.look(self.id)))
        return self.view

    async def diff(self) -> dict[str, Any]:
        """The rows that changed since the seed, by table."""
        return await self._link.do(operations.diff(self.id))

    async def trace(self) -> list[dict[str, Any]]:
        """The call log."""
        return await self._link.do(operations.trace(self.id))

    async def snapshot(self, which: Literal["initial", "current"] = "current") -> bytes:
        """Its SQLite file."""
        return await self._link.do(operations.snapshot(self.id, which))

    async def close(self) -> None:
        """Ends it; twice is fine. Verdict, trace and diff stay readable for `retain_s`."""
        self._link.forget(self.id)
        await self._link.do(operations.close(self.id))

    async def _say(self, message: dict[str, Any]) -> dict[str, Any]:
        return await self._link.say(self.mcp_url, self.token, message)

    def _note(self, view: contract.EpisodeView) -> None:
        """Takes what was said of it, apart from the token, which is said once."""
        self.view = view.model_copy(update={"token": view.token or self.view.token})
