"""Asks the instance that something is on: finds it, wakes it, and asks again where that does no harm."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from awm_registry import directory
from awm_registry.router import pool, settings, wire
from awm_runtime.contract import problems

_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 0.5
_RETRY_S = 1.0

Locate = Callable[[], Awaitable[directory.Instance]]
"""Where the instance is now."""
Request = Callable[[directory.Instance], tuple[str, bytes]]
"""What to send to it: the plane's URL, and the bytes."""


class Asking:
    """Requests to instances.

    Args:
        connections: How they travel.
        limits: How long to try.
    """

    def __init__(self, connections: pool.Pool, limits: settings.Settings) -> None:
        self._pool = connections
        self._limits = limits

    @contextlib.asynccontextmanager
    async def asked(self, locate: Locate, request: Request, *, repeatable: bool) -> AsyncIterator[wire.Answer]:
        """The answer of an instance, for the length of a `with` block.

        A request of which nothing was sent is sent again, to wherever the instance is by then. One that broke off is
        sent again only if it may be `repeatable`: making it twice comes to the same as making it once.

        Raises:
            ProblemError: What `locate` raises; `starting`: the instance cannot be reached; `episode_interrupted`: it
                broke off; `timeout`, `at_capacity`.
        """
        deadline = time.monotonic() + self._limits.wake_s
        pause_s = _FIRST_PAUSE_S
        async with contextlib.AsyncExitStack() as held:
            while True:
                instance = await locate()
                try:
                    answer = await held.enter_async_context(self._pool.asked(*request(instance)))
                except wire.Unsent as exc:
                    if time.monotonic() + pause_s > deadline:
                        raise _unreachable(instance) from exc
                except wire.Broken as exc:
                    if not repeatable or time.monotonic() + pause_s > deadline:
                        raise broken_off(exc) from exc
                else:
                    break
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            yield answer

    async def whole(self, answer: wire.Answer, *, limit: int) -> bytes:
        """The body of an answer.

        Raises:
            ProblemError: It broke off, was too slow, or is longer than makes sense.
        """
        if answer.is_whole:
            return answer.body
        parts, size = [], 0
        try:
            async for part in answer.parts(self._limits.answer_s):
                size += len(part)
                if size > limit:
                    raise problems.ProblemError(problems.Code.INTERNAL, "the instance's answer has no end")
                parts.append(part)
        except TimeoutError as exc:
            raise problems.ProblemError(problems.Code.TIMEOUT, "the instance did not finish its answer") from exc
        except wire.Broken as exc:
            raise broken_off(exc) from exc
        return b"".join(parts)


def broken_off(exc: wire.Broken) -> problems.ProblemError:
    """The problem of an instance that took a request and gave no answer to it."""
    return problems.ProblemError(
        problems.Code.EPISODE_INTERRUPTED,
        f"the instance broke off before it answered ({exc}); whether the call was made is not known",
    )


def _unreachable(instance: directory.Instance) -> problems.ProblemError:
    return problems.ProblemError(
        problems.Code.STARTING,
        f"the instance of {instance.scenario} cannot be reached; ask again",
        retry_after_s=_RETRY_S,
    )
