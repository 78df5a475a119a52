"""Keeps scenario code that exits from ending the server.

`sys.exit()` and `KeyboardInterrupt` in a handler are failures of its call. In the call's own task they are caught like
any other, but an event loop ends itself when they come out of another task, and middleware runs handlers in one.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from awm_runtime.determinism import context

T = TypeVar("T")


class ScenarioExit(Exception):
    """Scenario code tried to exit."""


def install(loop: asyncio.AbstractEventLoop) -> None:
    """Makes every task that a call starts on `loop` fail where it would end the loop."""
    loop.set_task_factory(_task)


def _task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> "asyncio.Task[Any]":
    return asyncio.Task(_contained(coroutine) if _is_in_call() else coroutine, loop=loop, **options)


def _is_in_call() -> bool:
    try:
        context.current()
    except context.OutsideEpisode:
        return False
    return True


async def _contained(coroutine: Coroutine[Any, Any, T]) -> T:
    try:
        return await coroutine
    except (SystemExit, KeyboardInterrupt) as exc:
        raise ScenarioExit(f"scenario code raised {type(exc).__name__}") from exc
