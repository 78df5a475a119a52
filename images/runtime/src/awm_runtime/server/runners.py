"""Runs a call's request in the scenario's app: inline in this process, on the episode's own connection."""

import asyncio
import logging
from typing import Protocol

from awm_runtime.contract import problems
from awm_runtime.determinism import context
from awm_runtime.server import asgi, deadlines, engines, episodes, tools

logger = logging.getLogger(__name__)


class Runner(Protocol):
    """Where a scenario's handlers run: in this process, or in one of each episode's own."""

    async def run(
        self, episode: episodes.Episode, call: context.CallContext, request: tools.AppRequest
    ) -> asgi.AppReply:
        """Runs one request; the episode's lock is held.

        Raises:
            ProblemError: `timeout` past the deadline, or another failure of the infrastructure.
        """
        ...

    async def leave(self, episode: episodes.Episode) -> None:
        """Lets go of what is held for an episode, which is about to be reset or closed."""
        ...

    async def tidy(self) -> None:
        """Lets go of what is held for episodes that have ended by themselves."""
        ...


class InlineRunner:
    """Runs handlers on the event loop; one context variable says for which episode."""

    def __init__(self, app: asgi.StartedApp, watcher: deadlines.Deadlines) -> None:
        self._app = app
        self._watcher = watcher

    async def run(
        self, episode: episodes.Episode, call: context.CallContext, request: tools.AppRequest
    ) -> asgi.AppReply:
        call.connections = episode.connections
        return await run_in_app(self._app, self._watcher, call, request)

    async def leave(self, episode: episodes.Episode) -> None:
        episode.connections.close()

    async def tidy(self) -> None:
        """Nothing: the store closes the connections of what it ends."""


async def run_in_app(
    app: asgi.StartedApp, watcher: deadlines.Deadlines, call: context.CallContext, request: tools.AppRequest
) -> asgi.AppReply:
    """Runs one request under its deadline; afterwards no session or connection of it is left open.

    Raises:
        ProblemError: `timeout`.
    """
    watch: deadlines.Watch | None = None
    with context.entered(call):
        try:
            with watcher.watching(call) as watch:
                reply = await asgi.request(app, request)
        except BaseException as failure:  # whatever it raises, and be it KeyboardInterrupt, is the scenario's failure
            if isinstance(failure, asyncio.CancelledError) and _is_cancelled():
                raise
            logger.exception("the scenario's code failed in %s %s", request.method, request.path)
            reply = asgi.AppReply(500, b"", failure)
        finally:
            engines.release_leaks()
            call.connections = None  # a task that the call left behind must not write once the call is recorded
    if (watch is not None and watch.overdue) or call.is_overdue():  # its SQL may have been stopped, unseen by the watch
        raise problems.ProblemError(problems.Code.TIMEOUT, "the call ran past its deadline and was stopped")
    return reply


def _is_cancelled() -> bool:
    """Whether this task was cancelled by someone else than the deadline or the scenario's code."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
