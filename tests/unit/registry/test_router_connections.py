"""Connections to instances: kept, limited, and what becomes of answers that are none."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
import strangers

from awm_registry.router import pool, requests, settings, wire
from awm_runtime.contract import problems

REQUEST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
LARGE = 3 << 20
T = TypeVar("T")


def played(story: Callable[[pool.Pool], Awaitable[T]], **limits: float) -> T:
    async def run() -> T:
        connections = pool.Pool(settings.Settings(**limits))  # type: ignore[arg-type]
        try:
            async with asyncio.timeout(20):
                return await story(connections)
        finally:
            connections.close()

    return asyncio.run(run())


async def whole(connections: pool.Pool, url: str) -> tuple[int, bytes]:
    async with connections.asked(url, REQUEST) as answer:
        return answer.status, b"".join([part async for part in answer.parts(5)])


async def chunked(exchange: strangers.Exchange) -> None:
    await exchange.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
    await exchange.write(b"4\r\ndefg\r\n0\r\n\r\n")


async def until_the_end(exchange: strangers.Exchange) -> None:
    await exchange.write(b"HTTP/1.1 200 OK\r\n\r\nabc")
    exchange._writer.write_eof()


async def informed(exchange: strangers.Exchange) -> None:
    await exchange.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")


async def piecemeal(exchange: strangers.Exchange) -> None:
    for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok":
        await exchange.write(bytes([byte]))


async def large(exchange: strangers.Exchange) -> None:
    await exchange.answer(b"x" * LARGE)


@pytest.mark.parametrize(
    ("part", "status", "body"),
    [
        (chunked, 200, b"abcdefg"),
        (until_the_end, 200, b"abc"),
        (informed, 202, b""),
        (piecemeal, 200, b"ok"),
        (large, 200, b"x" * LARGE),
    ],
)
def test_every_kind_of_answer_is_read(part: strangers.Part, status: int, body: bytes) -> None:
    with strangers.answering(part) as stranger:

        async def story(connections: pool.Pool) -> list[tuple[int, bytes]]:
            return [await whole(connections, stranger.url) for _ in range(2)]

        assert played(story) == [(status, body)] * 2
        assert stranger.connections == (2 if part is until_the_end else 1)


async def garbage(exchange: strangers.Exchange) -> None:
    await exchange.write(b"\x16\x03\x01 not HTTP at all\r\n\r\n")


async def cut_head(exchange: strangers.Exchange) -> None:
    await exchange.write(b"HTTP/1.1 200 OK\r\nconte")
    exchange.hang_up()


async def cut_body(exchange: strangers.Exchange) -> None:
    await exchange.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")
    exchange.hang_up()


async def cut_stream(exchange: strangers.Exchange) -> None:
    await exchange.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
    exchange.hang_up()


async def twice(exchange: strangers.Exchange) -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n"
    await exchange.write(answer + b"a" + answer + b"b")


async def endless_headers(exchange: strangers.Exchange) -> None:
    await exchange.write(b"HTTP/1.1 200 OK\r\n")
    with contextlib.suppress(ConnectionError):
        while True:
            await exchange.write(b"x-more: " + b"y" * 4000 + b"\r\n")


@pytest.mark.parametrize("part", [garbage, cut_head, cut_body, cut_stream, twice, endless_headers])
def test_what_is_no_whole_answer_never_passes_for_one(part: strangers.Part) -> None:
    with strangers.answering(part) as stranger:

        async def story(connections: pool.Pool) -> None:
            for _ in range(2):
                with pytest.raises(wire.Broken):
                    await whole(connections, stranger.url)
            assert connections.busy == 0

        played(story)
        assert stranger.connections == 2


def test_nobody_there_is_no_byte_sent() -> None:
    with strangers.answering(garbage) as stranger:
        url = stranger.url

    async def story(connections: pool.Pool) -> None:
        with pytest.raises(wire.Unsent):
            await whole(connections, url)
        assert connections.busy == 0

    played(story)


def test_a_connection_that_the_instance_closed_meanwhile_is_not_used_again() -> None:
    async def once(exchange: strangers.Exchange) -> None:
        await exchange.answer(b"ok")
        exchange.hang_up()

    with strangers.answering(once) as stranger:

        async def story(connections: pool.Pool) -> None:
            for _ in range(3):
                assert await whole(connections, stranger.url) == (200, b"ok")
                [kept] = connections._origins[stranger.url]._idle
                while kept.is_reusable:  # noqa: ASYNC110 - until its end arrives
                    await asyncio.sleep(0)

        played(story)
        assert stranger.connections == 3


def test_an_instance_that_hangs_is_given_up() -> None:
    async def hang(_: strangers.Exchange) -> None:
        await asyncio.Event().wait()

    with strangers.answering(hang) as stranger:

        async def story(connections: pool.Pool) -> problems.ProblemError:
            with pytest.raises(problems.ProblemError) as caught:
                await whole(connections, stranger.url)
            assert connections.busy == 0
            return caught.value

        assert played(story, answer_s=0.1).code == problems.Code.TIMEOUT


def test_a_reader_that_stops_reading_stops_the_instance() -> None:
    """A stream is not collected in the router's memory: what nobody reads stays with the instance."""
    sent = 0

    async def pour(exchange: strangers.Exchange) -> None:
        nonlocal sent
        await exchange.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                await exchange.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                sent += 0x10000

    with strangers.answering(pour) as stranger:

        async def story(connections: pool.Pool) -> None:
            async with connections.asked(stranger.url, REQUEST):
                before = -1
                while before != sent:  # the buffers between the two fill up
                    before = sent
                    await asyncio.sleep(0.3)
            assert connections.busy == 0

        played(story)
    assert 0 < sent < 40 << 20


def test_so_many_at_once_and_the_others_in_their_order() -> None:
    running, most, order = 0, 0, []

    async def slow(exchange: strangers.Exchange) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        await exchange.answer(b"ok")

    with strangers.answering(slow) as stranger:

        async def one(connections: pool.Pool, number: int) -> None:
            await whole(connections, stranger.url)
            order.append(number)

        async def story(connections: pool.Pool) -> None:
            await asyncio.gather(*(one(connections, number) for number in range(30)))
            assert (connections.busy, connections.waiting) == (0, 0)

        played(story, connections=3)
    assert most == 3
    assert all(abs(number - place) <= 3 for place, number in enumerate(order))


def test_a_full_queue_and_a_long_wait_are_refused_with_the_position() -> None:
    async def hang(_: strangers.Exchange) -> None:
        await asyncio.Event().wait()

    with strangers.answering(hang) as stranger:

        async def story(connections: pool.Pool) -> list[problems.ProblemError]:
            asked = [asyncio.create_task(whole(connections, stranger.url)) for _ in range(4)]
            refused = []
            for task in asked[1:]:
                with pytest.raises(problems.ProblemError) as caught:
                    await task
                refused.append(caught.value)
            asked[0].cancel()
            await asyncio.wait(asked)
            assert (connections.busy, connections.waiting) == (0, 0)
            return refused

        refused = played(story, connections=1, waiting=2, wake_s=0.2)
    assert [each.code for each in refused] == [problems.Code.AT_CAPACITY] * 3
    assert [each.diagnostics for each in refused] == [{"position": 1}, {"position": 2}, {"position": 3}]
    assert all(each.retry_after_s for each in refused)


def test_whoever_leaves_the_queue_takes_no_place_with_him() -> None:
    with strangers.answering(lambda exchange: exchange.answer(b"ok")) as stranger:

        async def story(connections: pool.Pool) -> None:
            for _ in range(20):
                asked = [asyncio.create_task(whole(connections, stranger.url)) for _ in range(6)]
                await asyncio.sleep(0.001)
                for task in asked[::2]:
                    task.cancel()
                await asyncio.wait(asked)
            assert (connections.busy, connections.waiting) == (0, 0)
            assert await whole(connections, stranger.url) == (200, b"ok")

        played(story, connections=2)


def test_only_headers_that_an_instance_has_a_use_for_are_passed_on() -> None:
    headers = [
        (b"host", b"evil"),
        (b"origin", b"http://evil"),
        (b"authorization", b"Bearer secret"),
        (b"cookie", b"secret"),
        (b"connection", b"keep-alive, x-mine"),
        (b"transfer-encoding", b"chunked"),
        (b"x-forwarded-for", b"1.2.3.4"),
        (b"accept", b"application/json"),
        (b"mcp-protocol-version", b"2025-11-25"),
        (b"traceparent", b"00-1-2-01"),
    ]
    passed = b"accept: application/json\r\nmcp-protocol-version: 2025-11-25\r\ntraceparent: 00-1-2-01\r\n"
    assert requests.passed_on(headers) == passed
    assert requests.traced(headers) == b"traceparent: 00-1-2-01\r\n"


def test_scenario_code_sets_no_cookie_and_redirects_nobody() -> None:
    headers = [(b"set-cookie", b"a=b"), (b"location", b"http://evil"), (b"content-type", b"application/json")]
    assert requests.answered(headers) == [(b"content-type", b"application/json")]
