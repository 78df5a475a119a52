"""Waiting for instances: woken once, in a bounded queue, with a deadline, and never for what will not come."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import bundles
import fleets
import pytest

from awm_registry import directory
from awm_registry.router import activation, ids, roster, settings
from awm_runtime.contract import problems

READY = directory.Instance(
    id=directory.InstanceId("shop-1"),
    scenario="shop",
    generation=1,
    bundle="sha256:1",
    state="ready",
    agent_url="http://127.0.0.1:1",
    control_url="http://127.0.0.1:2",
)
T = TypeVar("T")


@pytest.fixture(scope="module")
def catalogues(tmp_path_factory: pytest.TempPathFactory) -> fleets.Catalogues:
    folder = tmp_path_factory.mktemp("fleet")
    (folder / "catalogue").mkdir()
    return fleets.catalogue([bundles.make(folder / "shop", "", tools=())], folder / "catalogue")


class Fleet:
    """A directory, and what waits for its instances."""

    def __init__(self, catalogues: fleets.Catalogues, **limits: Any) -> None:
        self.directory = fleets.Directory()
        self.roster = roster.Roster(self.directory, catalogues)
        self.active = activation.Activation(self.roster, settings.Settings(**limits))


@pytest.fixture
def played(catalogues: fleets.Catalogues) -> Callable[..., T]:
    """Plays a test's coroutine on a fleet that is followed."""

    def play(story: Callable[[Fleet], Awaitable[T]], **limits: Any) -> T:
        async def run() -> T:
            fleet = Fleet(catalogues, **limits)
            async with _following(fleet.roster), asyncio.timeout(20):
                return await story(fleet)

        return asyncio.run(run())

    return play


async def until(condition: Callable[[], object]) -> None:
    """Lets the others run until it is so; every story has a limit of its own."""
    while not condition():  # noqa: ASYNC110 - any condition, not an event of ours
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def _following(known: roster.Roster) -> AsyncIterator[None]:
    task = asyncio.create_task(known.follow())
    await asyncio.sleep(0)
    yield
    task.cancel()
    await asyncio.wait({task})


def test_a_sleeping_scenario_is_woken_once_however_many_ask(played: Callable[..., Any]) -> None:
    async def story(fleet: Fleet) -> None:
        async def wake(_: str) -> None:
            await asyncio.sleep(0)
            fleet.directory.put(dataclasses.replace(READY, state="starting", agent_url=None))

        fleet.directory.on_wake = wake
        waiting = [asyncio.create_task(fleet.active.candidates("shop")) for _ in range(100)]
        await until(lambda: fleet.active.waiting == 100 and fleet.directory.all())
        fleet.directory.put(READY)
        assert await asyncio.gather(*waiting) == [[READY]] * 100
        assert fleet.directory.woken == ["shop"]
        assert fleet.active.waiting == 0

    played(story)


def test_what_serves_already_is_not_woken(played: Callable[..., Any]) -> None:
    async def story(fleet: Fleet) -> None:
        fleet.directory.put(READY)
        assert await fleet.active.candidates("shop") == [READY]
        assert await fleet.active.holder(ids.placement("shop", "shop-1")) == READY
        assert fleet.directory.woken == []

    played(story)


def test_a_scenario_that_does_not_come_is_given_up_with_the_position(played: Callable[..., Any]) -> None:
    async def story(fleet: Fleet) -> list[problems.ProblemError]:
        fleet.directory.put(dataclasses.replace(READY, state="starting", agent_url=None, reason="it loads"))
        results = await asyncio.gather(*(fleet.active.candidates("shop") for _ in range(3)), return_exceptions=True)
        return [each for each in results if isinstance(each, problems.ProblemError)]

    late = played(story, wake_s=0.05)
    assert [each.code for each in late] == [problems.Code.STARTING] * 3
    assert [each.problem.status for each in late] == [503] * 3
    assert all(each.retry_after_s and each.blame == "infrastructure" for each in late)
    assert [(each.diagnostics or {})["position"] for each in late] == [1, 2, 3]
    assert (late[0].diagnostics or {})["instances"] == ["shop-1: starting: it loads"]


def test_the_queue_is_bounded(played: Callable[..., Any]) -> None:
    async def story(fleet: Fleet) -> problems.ProblemError:
        waiting = [asyncio.create_task(fleet.active.candidates("shop")) for _ in range(2)]
        await until(lambda: fleet.active.waiting == 2)
        with pytest.raises(problems.ProblemError) as caught:
            await fleet.active.candidates("shop")
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        assert fleet.active.waiting == 0
        return caught.value

    full = played(story, waiting=2)
    assert (full.code, full.problem.status) == (problems.Code.AT_CAPACITY, 429)
    assert full.retry_after_s
    assert full.diagnostics == {"position": 3, "waiting": 2}


def test_the_circuit_breakers_diagnostics_reach_all_who_wait(played: Callable[..., Any]) -> None:
    async def story(fleet: Fleet) -> list[Any]:
        async def wake(_: str) -> None:
            await asyncio.sleep(0)
            raise problems.ProblemError(
                problems.Code.START_FAILED, "it failed 5 times", diagnostics={"log": ["SyntaxError"]}
            )

        fleet.directory.on_wake = wake
        results = await asyncio.gather(*(fleet.active.candidates("shop") for _ in range(5)), return_exceptions=True)
        assert len(fleet.directory.woken) == 1
        return results

    failed = played(story)
    assert {each.code for each in failed} == {problems.Code.START_FAILED}
    assert {each.blame for each in failed} == {"environment"}
    assert failed[0].diagnostics == {"log": ["SyntaxError"]}


def test_an_instance_that_fails_while_one_waits_says_why(played: Callable[..., Any]) -> None:
    async def story(fleet: Fleet) -> problems.ProblemError:
        async def wake(_: str) -> None:
            failed = dataclasses.replace(READY, state="failed", reason="no such table", diagnostics={"log": ["x"]})
            fleet.directory.put(failed)

        fleet.directory.on_wake = wake
        with pytest.raises(problems.ProblemError, match="no such table") as caught:
            await fleet.active.candidates("shop")
        return caught.value

    failed = played(story)
    assert (failed.code, failed.diagnostics) == (problems.Code.START_FAILED, {"log": ["x"]})


def test_an_instance_that_failed_before_is_tried_again(played: Callable[..., Any]) -> None:
    async def story(fleet: Fleet) -> None:
        async def wake(_: str) -> None:
            fleet.directory.put(READY)

        fleet.directory.put(dataclasses.replace(READY, state="failed", reason="no room"))
        fleet.directory.on_wake = wake
        assert await fleet.active.candidates("shop") == [READY]

    played(story)


def test_an_episode_whose_instance_sleeps_wakes_it(played: Callable[..., Any]) -> None:
    async def story(fleet: Fleet) -> None:
        async def wake(_: str) -> None:
            fleet.directory.put(READY)

        fleet.directory.on_wake = wake
        assert await fleet.active.holder(ids.placement("shop", "shop-1")) == READY
        assert fleet.directory.woken == ["shop"]

    played(story)


@pytest.mark.parametrize("awake", [True, False])
def test_an_episode_whose_instance_is_gone_is_lost(played: Callable[..., Any], awake: bool) -> None:
    async def story(fleet: Fleet) -> problems.ProblemError:
        async def wake(_: str) -> None:
            fleet.directory.put(READY)

        fleet.directory.on_wake = wake
        if awake:
            fleet.directory.put(READY)
        with pytest.raises(problems.ProblemError) as caught:
            await fleet.active.holder(ids.placement("shop", "shop-0"))
        return caught.value

    lost = played(story)
    assert (lost.code, lost.blame, lost.problem.status) == (problems.Code.EPISODE_LOST, "infrastructure", 410)
    assert "the instance of shop that held it is gone" in lost.detail


def test_an_episode_waits_for_its_own_instance_beside_others(played: Callable[..., Any]) -> None:
    async def story(fleet: Fleet) -> None:
        other = dataclasses.replace(READY, id=directory.InstanceId("shop-2"))
        fleet.directory.put(other)
        fleet.directory.put(dataclasses.replace(READY, state="starting", agent_url=None))
        waiting = asyncio.create_task(fleet.active.holder(ids.placement("shop", "shop-1")))
        await until(lambda: fleet.active.waiting)
        fleet.directory.put(READY)
        assert await waiting == READY

    played(story)


def test_an_episode_of_a_scenario_that_is_not_served_any_more_is_lost(played: Callable[..., Any]) -> None:
    async def story(fleet: Fleet) -> None:
        with pytest.raises(problems.ProblemError, match="not served here any more"):
            await fleet.active.holder(ids.placement("bakery", "bakery-1"))

    played(story)


def test_a_pin_that_nobody_serves_is_a_conflict_at_once(played: Callable[..., Any]) -> None:
    async def story(fleet: Fleet) -> None:
        fleet.directory.put(READY)
        with pytest.raises(problems.ProblemError, match=r"generation 1 .*, not at generation 7") as caught:
            await fleet.active.candidates("shop", generation=7)
        assert caught.value.code == problems.Code.CONFLICT

    played(story)


OLDER, NEWER = (
    dataclasses.replace(READY, id=directory.InstanceId(f"shop-g{number}"), generation=number, bundle=f"sha256:{number}")
    for number in (1, 2)
)


def _two_generations(fleet: Fleet) -> None:
    """Each can be woken by itself."""
    fleet.directory.sleeping = [directory.Dormant(each.id, each.generation, each.bundle) for each in (NEWER, OLDER)]

    async def wake(_: str) -> None:
        fleet.directory.put(OLDER if fleet.directory.woken[-1] == "shop@1" else NEWER)

    fleet.directory.on_wake = wake


@pytest.mark.parametrize("pin", [{"generation": 1}, {"bundle": "sha256:1"}])
def test_a_generation_that_is_pinned_is_woken_also_beside_a_newer_one(
    played: Callable[..., Any], pin: dict[str, Any]
) -> None:
    async def story(fleet: Fleet) -> None:
        _two_generations(fleet)
        fleet.directory.put(NEWER)
        assert await fleet.active.candidates("shop", **pin) == [OLDER]
        assert fleet.directory.woken == ["shop@1"]

    played(story)


def test_an_episode_wakes_the_generation_that_holds_it(played: Callable[..., Any]) -> None:
    async def story(fleet: Fleet) -> None:
        _two_generations(fleet)
        fleet.directory.put(NEWER)
        assert await fleet.active.holder(ids.placement("shop", OLDER.id)) == OLDER
        with pytest.raises(problems.ProblemError, match="is gone; others serve now"):
            await fleet.active.holder(ids.placement("shop", "shop-g0"))
        assert fleet.directory.woken == ["shop@1"]

    played(story)


def test_new_episodes_wake_the_newest_generation_though_an_older_one_is_awake(played: Callable[..., Any]) -> None:
    async def story(fleet: Fleet) -> None:
        _two_generations(fleet)
        fleet.directory.put(OLDER)
        assert fleet.active.serving("shop") == []
        assert await fleet.active.candidates("shop") == [NEWER]
        assert fleet.directory.woken == ["shop"]

    played(story)


def test_a_generation_that_does_not_start_says_so_though_another_serves(played: Callable[..., Any]) -> None:
    async def story(fleet: Fleet) -> None:
        _two_generations(fleet)
        fleet.directory.put(NEWER)

        async def wake(_: str) -> None:
            fleet.directory.put(dataclasses.replace(OLDER, state="failed", reason="it is broken"))

        fleet.directory.on_wake = wake
        with pytest.raises(problems.ProblemError, match="it is broken") as caught:
            await fleet.active.holder(ids.placement("shop", OLDER.id))
        assert caught.value.code is problems.Code.START_FAILED

    played(story)


def test_a_directory_that_breaks_off_is_followed_again(
    catalogues: fleets.Catalogues, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(roster, "_PAUSE_S", 0.0)

    class Shaky(fleets.Directory):
        broken = 0

        async def watch(self) -> AsyncIterator[directory.Change]:
            if self.broken < 2:
                self.broken += 1
                raise OSError("no connection")
            async for each in super().watch():
                yield each

    async def story() -> None:
        fleet = Shaky()
        known = roster.Roster(fleet, catalogues)
        async with _following(known), asyncio.timeout(20):
            await until(lambda: fleet.broken == 2 and known.is_following)
            fleet.put(READY)
            assert await activation.Activation(known, settings.Settings()).candidates("shop") == [READY]

    asyncio.run(story())
    assert caplog.text.count("the directory cannot be followed") == 2


def test_the_directory_is_read_anew_by_each_request(tmp_path: Path, catalogues: fleets.Catalogues) -> None:
    async def story() -> None:
        fleet = Fleet(catalogues)
        fleet.directory.put(READY)
        moved = dataclasses.replace(READY, agent_url="http://127.0.0.1:3")
        assert await fleet.active.holder(ids.placement("shop", "shop-1")) == READY
        fleet.directory.put(moved)
        assert await fleet.active.holder(ids.placement("shop", "shop-1")) == moved

    asyncio.run(story())


def test_a_wake_that_is_never_accepted_is_given_up_and_asked_for_again(played: Callable[..., Any]) -> None:
    async def story(fleet: Fleet) -> None:
        async def wake(_: str) -> None:
            if len(fleet.directory.woken) == 1:
                await asyncio.Event().wait()
            fleet.directory.put(READY)

        fleet.directory.on_wake = wake
        with pytest.raises(problems.ProblemError) as caught:
            await fleet.active.candidates("shop")
        assert caught.value.code == problems.Code.STARTING
        await until(lambda: not fleet.active._wakes)
        assert await fleet.active.candidates("shop") == [READY]

    played(story, wake_s=0.1)
