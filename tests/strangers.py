"""Servers that stand in for an instance and misbehave, byte by byte."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import fleets

from awm_registry import directory

Part = Callable[["Exchange"], Awaitable[None]]


class Exchange:
    """One request that a stranger got, and the way to answer it.

    Attributes:
        number: Which of all requests it is, from 1.
        head: The request's first line and headers.
        body: Its body.
    """

    def __init__(self, number: int, head: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.head = head
        self.body = body
        self._writer = writer

    async def write(self, content: bytes) -> None:
        self._writer.write(content)
        await self._writer.drain()

    async def answer(self, body: bytes, *, status: str = "200 OK", kind: str = "application/json") -> None:
        """A proper answer."""
        head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
        await self.write(head.encode() + body)

    async def answer_json(self, value: Any, *, status: str = "200 OK", kind: str = "application/json") -> None:
        """A proper answer in JSON."""
        await self.answer(json.dumps(value).encode(), status=status, kind=kind)

    def hang_up(self) -> None:
        """Closes the connection at once."""
        self._writer.transport.abort()


class Stranger:
    """A server whose answers a test writes.

    Attributes:
        url: Where it answers.
        seen: The requests so far.
        connections: How many connections were made.
    """

    def __init__(self, part: Part) -> None:
        self.url = ""
        self.seen: list[Exchange] = []
        self.connections = 0
        self._part = part

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while not writer.transport.is_closing():
                    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                    lines = head.lower().split("\r\n")
                    length = next((int(line[15:]) for line in lines if line.startswith("content-length:")), 0)
                    exchange = Exchange(len(self.seen) + 1, head, await reader.readexactly(length), writer)
                    self.seen.append(exchange)
                    await self._part(exchange)
        finally:
            writer.transport.abort()

    async def run(self, stop: asyncio.Event, started: Callable[[], None]) -> None:
        """Serves until `stop` is set."""
        serving: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            serving.add(asyncio.create_task(self._serve(reader, writer)))

        server = await asyncio.start_server(accept, "127.0.0.1", 0, backlog=4096)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        started()
        await stop.wait()
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await asyncio.sleep(0)  # aborted transports are closed by then


@contextlib.contextmanager
def answering(part: Part) -> Iterator[Stranger]:
    """A stranger, for the length of a `with` block."""
    stranger = Stranger(part)
    started = threading.Event()
    with fleets.in_a_thread(lambda stop: stranger.run(stop, started.set)):
        assert started.wait(10)
        yield stranger


def as_instance(stranger: Stranger, scenario: str, *, id: str = "stranger-1") -> directory.Instance:
    """A stranger as a directory would speak of it."""
    return directory.Instance(
        id=directory.InstanceId(id),
        scenario=scenario,
        generation=1,
        bundle="sha256:1",
        state="ready",
        agent_url=stranger.url,
        control_url=stranger.url,
    )
