"""Runs in the calling task what FastAPI would send to a worker thread.

Plain `def` handlers, dependencies, exception handlers, background tasks and generators of scenario code run under the
lock of their episode anyway, so a thread would cost a switch and gain nothing.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import anyio.to_thread

T = TypeVar("T")


def install() -> None:
    """Makes every hand-over to a thread a plain call, in this process, from now on.

    `run_in_threadpool`, `iterate_in_threadpool` and `contextmanager_in_threadpool` are imported by value into many
    modules of FastAPI and Starlette, but all of them end in `anyio.to_thread.run_sync`, looked up when it is called.
    """
    anyio.to_thread.run_sync = _run_inline  # type: ignore[assignment]


async def _run_inline(func: Callable[..., T], *args: Any, **_thread_options: Any) -> T:
    """Stands in for `anyio.to_thread.run_sync`; its options are about threads and cancellation."""
    return func(*args)
