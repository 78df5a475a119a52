"""The queue of environments to look at, on a clock that the test moves, and watches against an API that fails."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, cast

import pytest

from awm_fleet.backends.kubernetes import api, queues, watching


def test_a_key_is_handed_out_once_however_often_it_was_added() -> None:
    async def play() -> list[str]:
        queue: queues.Queue[str] = queues.Queue(lambda: 0.0)
        for key in ("a", "a", "b", "a"):
            queue.add(key)
        got = [await queue.get() for _ in range(2)]
        assert len(queue) == 0
        return got

    assert asyncio.run(play()) == ["a", "b"]


def test_a_key_that_is_worked_on_comes_again_when_it_was_added_meanwhile() -> None:
    async def play() -> str:
        queue: queues.Queue[str] = queues.Queue(lambda: 0.0)
        queue.add("a")
        await queue.get()
        queue.add("a")
        assert len(queue) == 0
        queue.done("a")
        return await asyncio.wait_for(queue.get(), 5)

    assert asyncio.run(play()) == "a"


def test_a_first_look_comes_before_others() -> None:
    async def play() -> list[str]:
        queue: queues.Queue[str] = queues.Queue(lambda: 0.0)
        queue.add("a")
        queue.add("b", first=True)
        return [await queue.get() for _ in range(2)]

    assert asyncio.run(play()) == ["b", "a"]


def test_failures_wait_longer_and_longer_until_one_look_succeeds() -> None:
    queue: queues.Queue[str] = queues.Queue(lambda: 0.0)
    assert [queue.failed("a") for _ in range(3)] == [0.5, 1.0, 2.0]
    assert [queue.failed("a") for _ in range(20)][-1] == 60.0
    queue.succeeded("a")
    assert queue.failed("a") == 0.5


@pytest.mark.parametrize("delays", [(5.0, 1.0), (1.0, 5.0)])
def test_the_soonest_of_several_times_counts(delays: tuple[float, float]) -> None:
    async def play() -> str:
        now = [0.0]
        queue: queues.Queue[str] = queues.Queue(lambda: now[0])
        for delay in delays:
            queue.add_after("a", delay)
        now[0] = 1.0
        running = asyncio.create_task(queue.run())
        try:
            return await asyncio.wait_for(queue.get(), 5)
        finally:
            running.cancel()

    assert asyncio.run(play()) == "a"


@dataclass(frozen=True)
class _Named:
    name: str
    value: int


class _Script:
    """An API whose lists and watches go as the test says: a version is an error, or a list of events."""

    def __init__(self, lists: list[list[tuple[str, int]]], watches: list[Any]) -> None:
        self._lists, self._watches = lists, watches
        self.begun: list[str] = []

    async def list(self, *_: Any) -> tuple[list[dict[str, Any]], str]:
        return [_document(name, value) for name, value in self._lists.pop(0)], "10"

    async def watch(self, _kind: Any, _namespace: str, _selector: str, version: str) -> AsyncIterator[api.Event]:
        self.begun.append(version)
        if not self._watches:
            await asyncio.Event().wait()
        for each in self._watches.pop(0):
            if isinstance(each, Exception):
                raise each
            yield each


def _document(name: str, value: int, version: str = "11") -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": version}, "value": value}


def _watched(script: _Script, until: int) -> tuple[list[tuple[Any, Any]], dict[str, _Named]]:
    """The changes that a watcher told of before its watch number `until` began."""

    async def play() -> tuple[list[tuple[Any, Any]], dict[str, _Named]]:
        told: list[tuple[Any, Any]] = []
        watcher: watching.Watcher[_Named] = watching.Watcher(
            cast(api.Api, script),
            api.PODS,
            "ns",
            read=lambda document: _Named(document["metadata"]["name"], document["value"]),
            changed=lambda before, after: told.append((before, after)),
            rng=random.Random(1),
        )
        running = asyncio.create_task(watcher.run())
        async with asyncio.timeout(10):
            while len(script.begun) < until:  # noqa: ASYNC110 - the double is plain
                await asyncio.sleep(0)
        running.cancel()
        return told, watcher.items

    return asyncio.run(play())


def test_a_watch_that_began_too_long_ago_lists_anew_and_finds_what_is_gone() -> None:
    gone = api.ApiError(410, "Expired", "too old")
    script = _Script([[("a", 1), ("b", 1)], [("b", 2)]], [[gone]])
    told, items = _watched(script, 2)
    assert told[2:] == [(_Named("a", 1), None), (_Named("b", 1), _Named("b", 2))]
    assert items == {"b": _Named("b", 2)}


def test_a_watch_that_broke_goes_on_where_it_was() -> None:
    broken = api.ApiError(0, "Disconnected", "silence")
    events = [api.Event("MODIFIED", _document("a", 2, "15")), api.Event("BOOKMARK", _document("", 0, "20")), broken]
    script = _Script([[("a", 1)]], [events, []])
    told, _ = _watched(script, 2)
    assert script.begun[:2] == ["10", "20"]
    assert told == [(None, _Named("a", 1)), (_Named("a", 1), _Named("a", 2))]


def test_what_was_learned_from_a_write_of_our_own_is_told_once() -> None:
    script = _Script([[("a", 1)]], [[api.Event("MODIFIED", _document("a", 1))], []])
    told, _ = _watched(script, 2)
    assert told == [(None, _Named("a", 1))]
