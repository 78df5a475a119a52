"""Bounded and adaptive concurrency: asks again what may succeed, and asks less where the endpoint has too much."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from awm_generator import errors
from awm_generator.model import language

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long one request is tried, in seconds of waiting.

    Attributes:
        overloaded_s: Where the endpoint asks for fewer requests.
        failing_s: Where it fails or is not there.
        first_pause_s: The first wait; each further one is twice as long.
        longest_pause_s: The longest.
    """

    overloaded_s: float = 900.0
    failing_s: float = 30.0
    first_pause_s: float = 0.5
    longest_pause_s: float = 60.0


@dataclass
class _Waits:
    """How long one request has waited for one reason."""

    allowed_s: float
    total_s: float = 0.0
    count: int = 0


class Limited:
    """Lets a few requests through at a time, and tries again those that got no reply.

    At an overload the limit is halved and nobody asks before `Retry-After`; each full round of replies raises the limit
    by one. What is refused once and for all is remembered, so that a thousand requests do not meet the same refusal.

    Args:
        model: The model to ask.
        most: How many requests may be under way.
        patience: How long one is tried.
        dice: For the jitter of pauses.
    """

    def __init__(
        self, model: language.LanguageModel, most: int, *, patience: Patience | None = None, dice: random.Random
    ) -> None:
        self.name, self.embedding_name = model.name, model.embedding_name
        self._model = model
        self._gate = Gate(most)
        self._patience = patience or Patience()
        self._dice = dice
        self._refusal: Exception | None = None

    async def complete(self, request: language.Request) -> language.Reply:
        """See `LanguageModel`; `ModelUnavailable` comes when patience is at its end."""
        if self._refusal is not None:
            raise self._refusal
        try:
            return await self._patiently(lambda: self._model.complete(request))
        except (errors.ModelRefused, errors.ModelUnavailable) as exc:
            self._refusal = exc
            raise

    async def embed(self, texts: Sequence[str]) -> language.Embedded:
        """See `LanguageModel`."""
        return await self._patiently(lambda: self._model.embed(texts))

    async def _patiently(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        overloaded, failing = _Waits(self._patience.overloaded_s), _Waits(self._patience.failing_s)
        while True:
            try:
                async with self._gate.passed() as wave:
                    if self._refusal is not None:
                        raise self._refusal
                    try:
                        return await ask()
                    except errors.ModelUnavailable as exc:
                        if exc.overloaded:
                            self._gate.narrow(wave, exc.retry_after_s)
                        raise
            except errors.ModelUnavailable as exc:
                waits = overloaded if exc.overloaded else failing
                if exc is self._refusal or waits.total_s >= waits.allowed_s:
                    raise
                delay = max(exc.retry_after_s, self._pause(waits.count))
            await asyncio.sleep(delay)
            waits.count += 1
            waits.total_s += delay

    def _pause(self, before: int) -> float:
        """How long to wait after so many waits: each up to twice as long as the one before, none beyond the longest."""
        longest = min(self._patience.longest_pause_s, self._patience.first_pause_s * float(1 << min(before, 30)))
        return longest * self._dice.uniform(0.5, 1.0)


class Gate:
    """Lets so many through at once; how many, it learns.

    Args:
        most: The limit that it starts with and never passes.

    Attributes:
        limit: How many it lets through now.
    """

    def __init__(self, most: int) -> None:
        self.limit = most
        self._most = most
        self._inside = 0
        self._good = 0  # since the last narrowing
        self._wave = 0  # counts the narrowings: what was asked before the last one says nothing about the new limit
        self._opens_at = 0.0
        self._changed = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def passed(self) -> AsyncIterator[int]:
        """Waits to be let in and gives the wave, for `narrow`; a block that ends without an error counts as good."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._inside < self.limit)
            self._inside += 1
        try:
            await self._opened()
            wave = self._wave
            yield wave
            if wave == self._wave:
                self._widen()
        finally:
            async with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def narrow(self, wave: int, pause_s: float) -> None:
        """Halves the limit, unless that was done since this wave was let in, and lets nobody ask for a while."""
        now = asyncio.get_running_loop().time()
        self._opens_at = max(self._opens_at, now + pause_s)
        if wave == self._wave:
            self.limit = max(1, self.limit // 2)
            self._wave += 1
            self._good = 0

    def _widen(self) -> None:
        self._good += 1
        if self._good % max(1, self.limit) == 0 and self.limit < self._most:
            self.limit += 1

    async def _opened(self) -> None:
        loop = asyncio.get_running_loop()
        while True:  # it may be put off again meanwhile
            left = self._opens_at - loop.time()
            if left <= 0:
                return
            await asyncio.sleep(left)
