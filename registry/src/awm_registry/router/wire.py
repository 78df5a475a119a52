"""HTTP/1.1 to an instance: one kept connection, one exchange at a time. The bytes are parsed by httptools."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from typing import cast

import httptools

_SMALL_BYTES = 1 << 19
"""An answer that says to be no longer than this is handed on whole; any other as a stream."""
_PAUSE_BYTES = 1 << 18
_MOST_HEADER_BYTES = 1 << 16

Headers = list[tuple[bytes, bytes]]


class Unsent(Exception):
    """Not a byte of the request was sent, so that it may be sent again."""


class Broken(Exception):
    """The instance broke off, or answered with something else than HTTP; the request may have had its effect."""


class Answer:
    """An answer whose head has come.

    Attributes:
        status: The HTTP status.
        headers: Its headers, names in small letters.
        body: The whole body where `is_whole`.
        is_whole: Whether all of it has come; else the rest is a stream.
    """

    __slots__ = ("_connection", "body", "headers", "is_whole", "status")

    def __init__(self, connection: "Connection", status: int, headers: Headers) -> None:
        self._connection = connection
        self.status = status
        self.headers = headers
        self.body = b""
        self.is_whole = False

    def header(self, name: bytes) -> bytes | None:
        """The first header of this name."""
        return next((value for each, value in self.headers if each == name), None)

    async def parts(self, within_s: float) -> AsyncIterator[bytes]:
        """The body, part by part as it comes.

        Args:
            within_s: How long each part may take.

        Raises:
            TimeoutError: A part took longer.
            Broken: The instance broke off.
        """
        if self.is_whole:
            yield self.body
            return
        while True:
            async with asyncio.timeout(within_s):
                part = await self._connection.part()
            if part is None:
                return
            yield part


class Connection(asyncio.Protocol):
    """A connection to an instance's plane."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._head: asyncio.Future[Answer] | None = None
        self._headers: Headers = []
        self._header_bytes = 0
        self._parts: deque[bytes] = deque()
        self._held = 0
        self._paused = False
        self._more: asyncio.Future[None] | None = None
        self._whole = True
        self._small = False
        self._to_the_end = False
        self._fault: str | None = None
        self.used_at = self._loop.time()

    @property
    def is_reusable(self) -> bool:
        """Whether another request can be sent: it is open, and the last answer has come as a whole."""
        return self._whole and self._fault is None and self._transport is not None and not self._transport.is_closing()

    @property
    def was_cut(self) -> bool:
        """Whether it was closed, or answered nonsense, before an answer had come as a whole."""
        return not self._whole and self._fault is not None

    async def exchange(self, request: bytes) -> Answer:
        """Sends a request and waits for its answer: whole if it is small, else its head.

        Raises:
            Unsent: The connection was closed before.
            Broken: It was closed afterwards, or what came is no HTTP.
        """
        if not self.is_reusable or self._transport is None:
            raise Unsent
        self._whole = False
        self._head = self._loop.create_future()
        self._transport.write(request)
        return await self._head

    async def part(self) -> bytes | None:
        """The next part of a streamed body; None at its end.

        Raises:
            Broken: The instance broke off.
        """
        while not self._parts:
            if self._whole:
                return None
            if self._fault is not None:
                raise Broken(self._fault)
            self._more = self._loop.create_future()
            await self._more
        part = self._parts.popleft()
        self._held -= len(part)
        if self._paused and self._held < _PAUSE_BYTES and self._transport is not None:
            self._paused = False
            with contextlib.suppress(RuntimeError):  # it was closed meanwhile
                self._transport.resume_reading()
        return part

    def close(self) -> None:
        """Hangs up at once, whatever still was to come."""
        if self._transport is not None:
            self._transport.abort()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        if self._whole:  # nobody asked for anything
            self._fail("it answered before it was asked")
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("its answer is not HTTP")
            return
        self._hand_on()

    def eof_received(self) -> bool:
        if self._to_the_end and self._answer is not None and self._fault is None:
            self.on_message_complete()
            self._fault = "closed"
            self._hand_on()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._fail("it closed the connection")

    # What httptools calls.

    def on_message_begin(self) -> None:
        if self._whole:
            raise httptools.HttpParserError("a second answer to one request")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > _MOST_HEADER_BYTES:
            raise httptools.HttpParserError("too many headers")
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        headers, self._headers, self._header_bytes = self._headers, [], 0
        if status < 200:  # 100 Continue and its like: the answer is still to come
            return
        self._answer = Answer(self, status, headers)
        length = self._answer.header(b"content-length")
        chunked = self._answer.header(b"transfer-encoding") is not None
        self._small = length is not None and length.isdigit() and int(length) <= _SMALL_BYTES
        self._to_the_end = length is None and not chunked and status not in (204, 304)

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)
        self._held += len(body)

    def on_message_complete(self) -> None:
        if self._answer is None:
            return
        self._whole = True
        if not self._parser.should_keep_alive():
            self._fault = "it does not keep connections"

    def _hand_on(self) -> None:
        """Tells whoever waits what has come."""
        answer = self._answer
        if answer is None:
            return
        if self._head is not None and not self._head.done() and (self._whole or not self._small):
            if self._whole:
                answer.body, answer.is_whole = b"".join(self._parts), True
                self._parts.clear()
                self._held = 0
            self._head.set_result(answer)
        if self._more is not None and not self._more.done():
            self._more.set_result(None)
        if self._whole:
            self._answer = None
        elif self._held > _PAUSE_BYTES and not self._paused and not self._small and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def _fail(self, reason: str) -> None:
        if self._fault is None:
            self._fault = reason
        self.close()
        if self._head is not None and not self._head.done():
            self._head.set_exception(Broken(self._fault))
        if self._more is not None and not self._more.done():
            self._more.set_result(None)
