"""Call deadlines: an interval timer interrupts scenario code that does not return.

Handlers run inline on the event loop, so nothing else of this process runs while one hangs; a signal does. The
handler of SIGALRM raises inside the code that is overdue, and again at each tick for as long as it swallows that. Code
that holds the interpreter in C never gets there: the keeper kills the process by its in-flight table.
"""

import asyncio
import atexit
import signal
import time
from types import FrameType
from typing import Self, cast

from awm_runtime.determinism import context

TICK_S = 0.25


class CallDeadline(BaseException):
    """Raised in a handler that is past its deadline. Not an `Exception`, so that `except Exception` lets it pass."""


class Watch:
    """One call that is being watched, for the length of a `with` block; `overdue` says whether it was interrupted."""

    __slots__ = ("_deadlines", "call", "cancellations", "overdue", "task")

    def __init__(self, call: context.CallContext, deadlines: "Deadlines") -> None:
        self.call = call
        self.task = asyncio.current_task()
        self.overdue = False
        self.cancellations = 0
        self._deadlines = deadlines

    def __enter__(self) -> Self:
        self._deadlines.add(self)
        return self

    def __exit__(self, *_failure: object) -> None:
        self._deadlines.discard(self)
        for _ in range(self.cancellations):  # the task goes on: it has an answer to give
            cast("asyncio.Task[object]", self.task).uncancel()


class Deadlines:
    """Watches the calls of one process. To be made in its main thread."""

    def __init__(self) -> None:
        self._watched: set[Watch] = set()
        self._ticking = False
        signal.signal(signal.SIGALRM, self._tick)
        atexit.register(self._stop)  # Python's own end restores SIGALRM's default, by which a tick would kill us

    def watching(self, call: context.CallContext) -> Watch:
        """Interrupts what runs inside the `with` block once `call.deadline` has passed."""
        return Watch(call, self)

    def add(self, watch: Watch) -> None:
        """Begins to watch a call."""
        self._watched.add(watch)  # first: a tick that finds nothing to watch stops the timer
        if not self._ticking:
            self._ticking = True
            signal.setitimer(signal.ITIMER_REAL, TICK_S, TICK_S)

    def discard(self, watch: Watch) -> None:
        """Ends it. The timer goes on for a tick, so that the next call need not start it again."""
        self._watched.discard(watch)

    def _tick(self, _signal: int, _frame: FrameType | None) -> None:
        if not self._watched:
            self._stop()
            return
        now = time.monotonic()
        for watch in list(self._watched):
            if watch.call.deadline is None or now < watch.call.deadline:
                continue
            watch.overdue = True
            if context.is_current(watch.call):
                raise CallDeadline
            if watch.task is not None:  # it waits for something: wake it
                watch.task.get_loop().call_soon_threadsafe(self._cancel, watch, watch.task)

    def _stop(self) -> None:
        self._ticking = False
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _cancel(self, watch: Watch, task: "asyncio.Task[object]") -> None:
        if watch in self._watched:  # else its call ended meanwhile
            watch.cancellations += 1
            task.cancel()
