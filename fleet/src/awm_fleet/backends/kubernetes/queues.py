"""What has to be looked at: each key once, later ones in time, failed ones after longer and longer waits."""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Generic, TypeVar

_Key = TypeVar("_Key")

_FIRST_BACKOFF_S = 0.5
_LONGEST_BACKOFF_S = 60.0


class Queue(Generic[_Key]):
    """Keys to be worked on. A key that is being worked on comes again when it is done, if it was added meanwhile.

    Args:
        now: A clock in seconds that never goes back.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._ready: asyncio.PriorityQueue[tuple[bool, int, _Key]] = asyncio.PriorityQueue()
        self._waiting: set[_Key] = set()
        self._working: set[_Key] = set()
        self._again: set[_Key] = set()
        self._later: list[tuple[float, int, _Key]] = []
        self._due: dict[_Key, float] = {}
        self._order = itertools.count()
        self._failures: dict[_Key, int] = {}
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, key: _Key, *, first: bool = False) -> None:
        """Looks at a key as soon as there is a hand free; before others where it is `first`."""
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait((not first, next(self._order), key))

    def add_after(self, key: _Key, delay_s: float) -> None:
        """Looks at a key after a while; the soonest of several counts."""
        due = self._now() + delay_s
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._later, (due, next(self._order), key))
            self._changed.set()

    def failed(self, key: _Key) -> float:
        """Looks at a key again after a wait that doubles each time; returns the wait."""
        count = self._failures[key] = self._failures.get(key, 0) + 1
        delay_s = min(_FIRST_BACKOFF_S * float(2 ** min(count - 1, 16)), _LONGEST_BACKOFF_S)
        self.add_after(key, delay_s)
        return delay_s

    def succeeded(self, key: _Key) -> None:
        """Forgets a key's failures."""
        self._failures.pop(key, None)

    async def get(self) -> _Key:
        """The next key; say `done` afterwards."""
        _, _, key = await self._ready.get()
        self._waiting.discard(key)
        self._working.add(key)
        return key

    def done(self, key: _Key) -> None:
        """A key was worked on."""
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    async def run(self) -> None:
        """Brings keys back at their times, until it is cancelled."""
        while True:
            self._changed.clear()
            while self._later and self._later[0][0] <= self._now():
                due, _, key = heapq.heappop(self._later)
                if self._due.get(key) == due:
                    del self._due[key]
                    self.add(key)
            wait_s = max(0.0, self._later[0][0] - self._now()) if self._later else None
            try:
                await asyncio.wait_for(self._changed.wait(), wait_s)
            except TimeoutError:
                continue
