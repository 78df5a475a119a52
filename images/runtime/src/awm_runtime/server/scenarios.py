"""The scenario of this instance: known from its bundle at once, callable once its code is loaded."""

import asyncio
from dataclasses import dataclass

from awm_runtime import errors
from awm_runtime.contract import problems
from awm_runtime.server import runners, tools


@dataclass(frozen=True, slots=True)
class Loaded:
    """What calls need of loaded code."""

    toolset: tools.ToolSet
    runner: runners.Runner


class LoadingScenario:
    """Code that is loaded, is being loaded, or could not be."""

    def __init__(self) -> None:
        self._loaded: Loaded | None = None
        self._failure: errors.EnvironmentCodeError | None = None
        self._settled = asyncio.Event()

    @property
    def is_loaded(self) -> bool:
        """Whether calls are answered."""
        return self._loaded is not None

    def succeed(self, loaded: Loaded) -> None:
        """Lets the calls through that wait for the code."""
        self._loaded = loaded
        self._settled.set()

    def fail(self, failure: errors.EnvironmentCodeError) -> None:
        """Fails the calls that wait for the code, and all that follow."""
        self._failure = failure
        self._settled.set()

    async def get(self) -> Loaded:
        """Waits until the code is loaded.

        Raises:
            ProblemError: `start_failed`.
        """
        if self._loaded is None:
            await self._settled.wait()
        if self._loaded is None:
            raise problems.ProblemError(
                problems.Code.START_FAILED,
                "the scenario's code cannot be loaded",
                diagnostics={"reason": str(self._failure)},
            )
        return self._loaded
