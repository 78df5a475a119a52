"""Kept connections to instances: so many to each at most, first come first served, and a bounded queue before them."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator
from urllib import parse

from awm_registry.router import settings, wire
from awm_runtime import errors
from awm_runtime.contract import problems

_CONNECT_S = 5.0
_RETRY_S = 1.0


class Pool:
    """Connections to the planes of instances, by address.

    Args:
        limits: How many, and for how long.
    """

    def __init__(self, limits: settings.Settings) -> None:
        self._limits = limits
        self._origins: dict[str, _Origin] = {}

    def in_flight(self, url: str) -> int:
        """How many requests are with a plane or wait for it."""
        origin = self._origins.get(url)
        return 0 if origin is None else origin.busy + len(origin.waiting)

    @property
    def busy(self) -> int:
        """How many requests are with instances."""
        return sum(each.busy for each in self._origins.values())

    @property
    def waiting(self) -> int:
        """How many wait for a free connection."""
        return sum(len(each.waiting) for each in self._origins.values())

    @contextlib.asynccontextmanager
    async def asked(self, url: str, request: bytes) -> AsyncIterator[wire.Answer]:
        """Sends a request to a plane and holds the connection while the answer is read.

        Args:
            url: The plane's, without a path.
            request: Head and body, as they go over the wire.

        Raises:
            Unsent: The plane cannot be reached.
            Broken: It broke off.
            ProblemError: `at_capacity`: too many wait for it; `timeout`: it does not answer.
        """
        origin = self._origins.get(url)
        if origin is None:
            origin = self._origins[url] = _Origin(url, self._limits)
        connection = await origin.take()
        try:
            try:
                async with asyncio.timeout(self._limits.answer_s):
                    answer = await connection.exchange(request)
            except TimeoutError as exc:
                raise problems.ProblemError(
                    problems.Code.TIMEOUT, f"the instance did not answer within {self._limits.answer_s:g} s"
                ) from exc
            yield answer
        finally:
            origin.give_back(connection)

    async def tidy(self) -> None:
        """Closes connections that nobody uses, for as long as it runs."""
        while True:
            await asyncio.sleep(self._limits.idle_s)
            for url, origin in list(self._origins.items()):
                origin.close_idle()
                if origin.is_unused:
                    del self._origins[url]

    def close(self) -> None:
        """Closes what is not in use."""
        for origin in self._origins.values():
            origin.close_idle(all_of_them=True)


class _Origin:
    """The connections to one address."""

    def __init__(self, url: str, limits: settings.Settings) -> None:
        parts = parse.urlsplit(url)
        if parts.scheme != "http" or parts.hostname is None:
            raise errors.PermanentError(f"{url}: an instance is asked over http://HOST:PORT")
        self._address = (parts.hostname, parts.port or 80)
        self._limits = limits
        self._idle: deque[wire.Connection] = deque()
        self.busy = 0
        self.waiting: deque[asyncio.Future[None]] = deque()

    @property
    def is_unused(self) -> bool:
        return not self.busy and not self.waiting and not self._idle

    async def take(self) -> wire.Connection:
        """A connection that is open, of which no more than the limit are in use.

        Raises:
            Unsent: None can be made.
            ProblemError: `at_capacity`.
        """
        if self.busy < self._limits.connections:
            self.busy += 1
        else:
            await self._turn()
        try:
            return self._kept() or await self._made()
        except BaseException:
            self._leave()
            raise

    def give_back(self, connection: wire.Connection) -> None:
        """Keeps a connection for the next request, or closes it where something is still to come."""
        if connection.is_reusable:
            connection.used_at = time.monotonic()
            self._idle.append(connection)
        else:
            connection.close()
            if connection.was_cut:  # the others will end too, if its process has
                self.close_idle(all_of_them=True)
        self._leave()

    def close_idle(self, *, all_of_them: bool = False) -> None:
        """Closes the ones that were not used for a while."""
        oldest = time.monotonic() - self._limits.idle_s
        while self._idle and (all_of_them or self._idle[0].used_at < oldest):
            self._idle.popleft().close()

    def _kept(self) -> wire.Connection | None:
        """The one used last, since the others may soon be let go."""
        self.close_idle()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_reusable:
                return connection
        return None

    async def _made(self) -> wire.Connection:
        try:
            async with asyncio.timeout(_CONNECT_S):
                _, connection = await asyncio.get_running_loop().create_connection(wire.Connection, *self._address)
        except (OSError, TimeoutError) as exc:
            raise wire.Unsent(f"no connection: {exc}") from exc
        return connection

    async def _turn(self) -> None:
        """Waits in the queue.

        Raises:
            ProblemError: `at_capacity`: it is full, or the wait too long.
        """
        position = len(self.waiting) + 1
        if position > self._limits.waiting:
            raise _busy(position)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(turn)
        try:
            async with asyncio.timeout(self._limits.wake_s):
                await turn
        except BaseException as exc:
            if turn.done() and not turn.cancelled():  # both at once: it is somebody else's turn then
                self._leave()
            elif turn in self.waiting:
                self.waiting.remove(turn)
            if isinstance(exc, TimeoutError):
                raise _busy(position) from exc
            raise

    def _leave(self) -> None:
        """Hands the place over to whoever waits longest."""
        while self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.busy -= 1


def _busy(position: int) -> problems.ProblemError:
    return problems.ProblemError(
        problems.Code.AT_CAPACITY,
        "the instance is busy; ask again later",
        retry_after_s=_RETRY_S,
        diagnostics={"position": position},
    )
