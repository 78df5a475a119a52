"""What every backend promises (`awm_fleet.backends.protocol`), faults included. One suite for all of them."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import pytest
from backend_harness import Harness

from awm_fleet.backends import protocol
from awm_registry import directory

pytestmark = pytest.mark.anyio

_PATIENCE_S = 30.0
Condition = Callable[[directory.Instance], bool]


async def until(harness: Harness, key: protocol.Key, wanted: Condition) -> directory.Instance:
    """Waits for an instance of an environment to be so."""
    seen: list[directory.Instance] = []
    try:
        async with asyncio.timeout(_PATIENCE_S), aclosing(harness.backend.watch()) as changes:
            async for change in changes:
                if change.instance is not None and _key(change.instance) == key:
                    seen.append(change.instance)
                    if wanted(change.instance):
                        return change.instance
    except TimeoutError:
        raise AssertionError(f"not so within {_PATIENCE_S:g} s: {seen}") from None
    raise AssertionError("the watch ended")


async def until_gone(harness: Harness, key: protocol.Key) -> None:
    async with asyncio.timeout(_PATIENCE_S), aclosing(harness.backend.watch()) as changes:
        while any(_key(each) == key for each in await harness.backend.instances()):
            await anext(changes)


async def ready(harness: Harness, spec: protocol.EnvironmentSpec) -> directory.Instance:
    await harness.backend.ensure(spec)
    return await until(harness, spec.key, lambda each: is_ready(each) and each.bundle == spec.digest)


def is_ready(instance: directory.Instance) -> bool:
    return instance.state == "ready"


def has_failed(instance: directory.Instance) -> bool:
    return instance.state == "failed"


def _key(instance: directory.Instance) -> protocol.Key:
    return protocol.Key(instance.team, instance.scenario, instance.generation)


async def test_what_is_wanted_becomes_ready_and_says_where(harness: Harness) -> None:
    spec = harness.spec()
    assert list(await harness.backend.instances()) == []
    instance = await ready(harness, spec)
    assert (instance.scenario, instance.generation, instance.bundle) == ("plain", 1, spec.digest)
    assert instance.agent_url is not None
    assert instance.control_url is not None
    assert instance.reason is None
    assert await harness.backend.instances() == [instance]


async def test_asking_again_changes_nothing(harness: Harness) -> None:
    instance = await ready(harness, harness.spec())
    episode = await harness.open_episode(instance)
    await harness.backend.ensure(harness.spec())
    await asyncio.sleep(0)
    assert await harness.backend.instances() == [instance]
    assert await harness.has_episode(instance, episode)


async def test_ids_are_short_plain_and_differ_by_scenario_generation_and_bundle(harness: Harness) -> None:
    first = harness.spec()
    specs = (first, harness.spec("other"), harness.spec("third", generation=2), harness.regenerated(first))
    ids = {(await ready(harness, each)).id for each in specs}
    assert len(ids) == 4
    assert all(len(id) <= 64 and set(id) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for id in ids)


async def test_a_watch_begins_with_what_is_there_and_sees_every_change(harness: Harness) -> None:
    spec = harness.spec()
    async with aclosing(harness.backend.watch()) as early:
        instance = await ready(harness, spec)
        async with aclosing(harness.backend.watch()) as late:
            assert await anext(late) == directory.Change(instance.id, instance)
            await harness.backend.stop(spec.key)
            assert await _states(early, instance.id) == ["starting", "ready", "draining", "gone"]
            assert await _states(late, instance.id) == ["draining", "gone"]


async def _states(changes: AsyncIterator[directory.Change], id: directory.InstanceId) -> list[str]:
    """The states of an instance until it is gone."""
    states: list[str] = []
    async with asyncio.timeout(_PATIENCE_S):
        while not states or states[-1] != "gone":
            change = await anext(changes)
            if change.id == id:
                states.append(change.instance.state if change.instance is not None else "gone")
    return states


async def test_an_environment_that_sleeps_finds_its_episodes_again_under_the_same_id(harness: Harness) -> None:
    spec = harness.spec()
    before = await ready(harness, spec)
    episode = await harness.open_episode(before)
    await harness.backend.ensure(dataclasses.replace(spec, replicas=0))
    await until_gone(harness, spec.key)
    after = await ready(harness, spec)
    assert after.id == before.id
    assert await harness.has_episode(after, episode)


async def test_stopping_forgets_the_episodes(harness: Harness) -> None:
    spec = harness.spec()
    episode = await harness.open_episode(await ready(harness, spec))
    await harness.backend.stop(spec.key)
    assert list(await harness.backend.instances()) == []
    assert not await harness.has_episode(await ready(harness, spec), episode)


async def test_stopping_twice_or_what_is_not_there_is_fine(harness: Harness) -> None:
    spec = harness.spec()
    await harness.backend.stop(spec.key)
    await ready(harness, spec)
    await harness.backend.stop(spec.key)
    await harness.backend.stop(spec.key)
    assert list(await harness.backend.instances()) == []


async def test_stopping_one_leaves_the_others(harness: Harness) -> None:
    other = await ready(harness, harness.spec("other"))
    spec = harness.spec()
    await ready(harness, spec)
    await harness.backend.stop(spec.key)
    assert await harness.backend.instances() == [other]


async def test_stopping_what_is_still_starting_leaves_nothing(harness: Harness) -> None:
    spec = harness.spec()
    await harness.backend.ensure(spec)
    await harness.backend.stop(spec.key)
    assert list(await harness.backend.instances()) == []


async def test_another_setting_replaces_the_instance_and_keeps_its_episodes(harness: Harness) -> None:
    spec = harness.spec()
    before = await ready(harness, spec)
    episode = await harness.open_episode(before)
    async with aclosing(harness.backend.watch()) as changes:
        await anext(changes)
        await harness.backend.ensure(harness.changed(spec))
        assert await _states(changes, before.id) == ["draining", "gone"]
    after = await until(harness, spec.key, is_ready)
    assert after.id == before.id
    assert await harness.has_episode(after, episode)


async def test_another_bundle_replaces_the_instance_by_another(harness: Harness) -> None:
    spec = harness.spec()
    before = await ready(harness, spec)
    after = await ready(harness, harness.regenerated(spec))
    assert after.id != before.id
    assert await harness.backend.instances() == [after]


async def test_two_generations_run_side_by_side(harness: Harness) -> None:
    one = await ready(harness, harness.spec("plain"))
    two = await ready(harness, dataclasses.replace(harness.regenerated(harness.spec("plain")), generation=2))
    assert {each.id for each in await harness.backend.instances()} == {one.id, two.id}


async def test_a_crashed_instance_comes_back_with_its_episodes_and_its_address(harness: Harness) -> None:
    spec = harness.spec()
    before = await ready(harness, spec)
    episode = await harness.open_episode(before)
    async with aclosing(harness.backend.watch()) as changes:
        await anext(changes)
        await harness.crash(before)
        async with asyncio.timeout(_PATIENCE_S):
            back = [await anext(changes), await anext(changes)]
    assert [each.instance and each.instance.state for each in back] == ["starting", "ready"]
    after = back[-1].instance
    assert after == before
    assert await harness.has_episode(before, episode)


async def test_code_that_does_not_load_fails_with_its_reason(harness: Harness) -> None:
    spec = harness.broken_spec()
    await harness.backend.ensure(spec)
    failed = await until(harness, spec.key, has_failed)
    assert failed.reason
    assert "no_such_module" in f"{failed.reason} {failed.diagnostics}"
    assert (failed.agent_url, failed.control_url) == (None, None)


async def test_what_crashes_at_every_start_fails_with_diagnostics_and_leaves_the_others_alone(harness: Harness) -> None:
    other = await ready(harness, harness.spec("other"))
    spec = harness.crashing_spec()
    await harness.backend.ensure(spec)
    failed = await until(harness, spec.key, has_failed)
    assert "ended before it was ready" in (failed.reason or "")
    assert failed.diagnostics is not None
    assert failed.diagnostics["log"]
    assert other in await harness.backend.instances()


async def test_what_failed_can_be_stopped(harness: Harness) -> None:
    spec = harness.crashing_spec()
    await harness.backend.ensure(spec)
    await until(harness, spec.key, has_failed)
    await harness.backend.stop(spec.key)
    assert list(await harness.backend.instances()) == []


async def test_logs_are_the_last_lines_and_empty_for_strangers(harness: Harness) -> None:
    spec = harness.spec()
    await ready(harness, spec)
    log = await harness.backend.logs(spec.key)
    assert "plain is ready" in log
    assert await harness.backend.logs(spec.key, lines=1) == log.splitlines(keepends=True)[-1]
    assert await harness.backend.logs(protocol.Key("", "stranger", 1)) == ""


async def test_closing_ends_the_watch(harness: Harness) -> None:
    await ready(harness, harness.spec())
    changes = harness.backend.watch()
    await harness.backend.close()
    async with asyncio.timeout(_PATIENCE_S):
        assert [change async for change in changes]
