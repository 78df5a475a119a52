"""Call deadlines: an interval timer interrupts scenario code that does not return.

Handlers run inline on the event loop, so nothing else of this process runs while one hangs; a signal does. The
handler of SIGALRM raises inside the code that is overdue, and again at each tick for as long as it swallows that. Code
that holds the interpreter in C never gets there: the keeper kills the process by its in-flight table.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import Iterator
from types import FrameType
from typing import cast

from awm_runtime.determinism import context

TICK_S = 0.25


class CallDeadline(BaseException):
    """Raised in a handler that is past its deadline. Not an `Exception`, so that `except Exception` lets it pass."""


class Watch:
    """One call that is being watched; `overdue` says whether it was interrupted."""

    __slots__ = ("call", "cancellations", "overdue", "task")

    def __init__(self, call: context.CallContext, task: "asyncio.Task[object] | None") -> None:
        self.call = call
        self.task = task
        self.overdue = False
        self.cancellations = 0


class Deadlines:
    """Watches the calls of one process. To be made in its main thread."""

    def __init__(self) -> None:
        self._watched: set[Watch] = set()
        signal.signal(signal.SIGALRM, self._tick)

    @contextlib.contextmanager
    def watching(self, call: context.CallContext) -> Iterator[Watch]:
        """Interrupts what runs inside once `call.deadline` has passed."""
        watch = Watch(call, asyncio.current_task())
        if not self._watched:
            signal.setitimer(signal.ITIMER_REAL, TICK_S, TICK_S)
        self._watched.add(watch)
        try:
            yield watch
        finally:
            self._watched.discard(watch)
            if not self._watched:
                signal.setitimer(signal.ITIMER_REAL, 0)
            for _ in range(watch.cancellations):  # the task goes on: it has an answer to give
                cast("asyncio.Task[object]", watch.task).uncancel()

    def _tick(self, _signal: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        for watch in list(self._watched):
            if watch.call.deadline is None or now < watch.call.deadline:
                continue
            watch.overdue = True
            if context.is_current(watch.call):
                raise CallDeadline
            if watch.task is not None:  # it waits for something: wake it
                watch.task.get_loop().call_soon_threadsafe(self._cancel, watch, watch.task)

    def _cancel(self, watch: Watch, task: "asyncio.Task[object]") -> None:
        if watch in self._watched:  # else its call ended meanwhile
            watch.cancellations += 1
            task.cancel()
