"""What everybody who watches is told."""

import asyncio
from contextlib import aclosing

import pytest

from awm_fleet.backends import feeds
from awm_registry import directory

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def instance(name: str, state: directory.State = "ready") -> directory.Instance:
    id = directory.InstanceId(name)
    return directory.Instance(id=id, scenario=name, generation=1, bundle="sha256:0", state=state)


async def test_a_watch_begins_with_what_is_there_and_counts_from_its_call_on() -> None:
    feed = feeds.Feed()
    feed.publish(instance("one"))
    async with aclosing(feed.watch()) as changes:
        feed.publish(instance("two"))
        feed.remove(directory.InstanceId("one"))
        seen = [await anext(changes) for _ in range(3)]
    assert [(each.id, each.instance is not None) for each in seen] == [("one", True), ("two", True), ("one", False)]


async def test_what_is_known_already_is_not_said_again() -> None:
    feed = feeds.Feed()
    feed.publish(instance("one"))
    version = feed.version
    feed.publish(instance("one"))
    feed.remove(directory.InstanceId("never there"))
    assert feed.version == version
    feed.publish(instance("one", "draining"))
    assert feed.version == version + 1


async def test_replacing_says_what_went_what_came_and_what_changed() -> None:
    feed = feeds.Feed()
    for name in ("goes", "stays", "changes"):
        feed.publish(instance(name))
    async with aclosing(feed.watch()) as changes:
        for _ in range(3):
            await anext(changes)
        feed.replace([instance("stays"), instance("changes", "failed"), instance("comes")])
        seen = [await anext(changes) for _ in range(3)]
    assert {(each.id, each.instance.state if each.instance else None) for each in seen} == {
        ("goes", None),
        ("changes", "failed"),
        ("comes", "ready"),
    }


async def test_a_closed_feed_ends_every_watch_also_the_next() -> None:
    feed = feeds.Feed()
    feed.publish(instance("one"))
    early = feed.watch()
    feed.close()
    async with asyncio.timeout(5):
        assert [each.id async for each in early] == ["one"]
        assert [each.id async for each in feed.watch()] == ["one"]


async def test_a_reader_who_is_hopelessly_behind_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "_MOST_BEHIND", 3)
    feed = feeds.Feed()
    slow = feed.watch()
    for number in range(10):
        feed.publish(instance(f"i{number}"))
    async with asyncio.timeout(5):
        assert len([change async for change in slow]) == 3
