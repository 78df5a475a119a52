"""Which episode, and which call of it, scenario code is running for."""

import contextlib
import hashlib
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from random import Random


class OutsideEpisode(RuntimeError):
    """Scenario code asked for its episode where there is none, for example in a thread that it started."""


@dataclass
class CallContext:
    """What one call of an episode sees.

    Attributes:
        clock: The bundle's clock, aware, in UTC.
        seed: The episode's seed.
        number: The call's number in its episode, from 1; 0 at import and start-up.
        connections: What engines check connections out of (`awm_runtime.server.storage.EpisodeConnections`).
        deadline: When the call is to be stopped, on the clock of `time.monotonic`; None: never.
    """

    clock: datetime
    seed: int
    number: int
    connections: object | None = None
    deadline: float | None = None
    readings: int = field(default=0, init=False)

    def now(self) -> datetime:
        """The frozen clock: one second on per call, one microsecond on per reading. Aware, in UTC."""
        moment = self.clock + timedelta(seconds=self.number, microseconds=self.readings)
        self.readings += 1
        return moment

    def is_overdue(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and time.monotonic() > self.deadline

    @cached_property
    def random(self) -> Random:
        """Randomness from H(seed, number), so that a restart repeats no value of an earlier call."""
        return self._generator("")

    @cached_property
    def entropy(self) -> Random:
        """What stands for the system's randomness: `uuid`, `secrets`, `os.urandom` and SQL's `random()`.

        Apart from `random`, so that a handler that calls `random.seed(42)` does not make the same ids in every call.
        """
        return self._generator("/entropy")

    def _generator(self, purpose: str) -> Random:
        digest = hashlib.sha256(f"{self.seed}/{self.number}{purpose}".encode()).digest()
        return Random(digest)  # noqa: S311 - reproducible on purpose


_current: ContextVar[CallContext] = ContextVar("awm_call")


def current() -> CallContext:
    """The running call's context.

    Raises:
        OutsideEpisode: in a thread or task that no call started.
    """
    try:
        return _current.get()
    except LookupError:
        raise OutsideEpisode("scenario code ran outside a call of an episode (in a thread of its own?)") from None


def is_current(call: CallContext) -> bool:
    """Whether `call` is the one that runs right now; safe to ask in a signal handler."""
    return _current.get(None) is call


@contextlib.contextmanager
def entered(context: CallContext) -> Iterator[CallContext]:
    """Makes `context` the current one inside a `with` block."""
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)
