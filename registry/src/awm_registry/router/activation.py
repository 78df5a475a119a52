"""Instances for those who need one: found, or woken once for all who wait, in a queue that is bounded."""

import asyncio
import functools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

from awm_registry import directory
from awm_registry.router import ids, placing, roster, settings
from awm_runtime.contract import problems

_RETRY_S = 2.0
_Found = TypeVar("_Found")
_Pick = Callable[[Sequence[directory.Instance]], _Found | None]
"""What a request needs of a scenario's instances, or None while it is not there.

It raises a `ProblemError` where waiting would not help.
"""


class Activation:
    """Waits for instances.

    Args:
        known: Where they are heard of.
        limits: How long a request waits, and how many may.
    """

    def __init__(self, known: roster.Roster, limits: settings.Settings) -> None:
        self._roster = known
        self._limits = limits
        self._wakes: dict[tuple[str, int | None], asyncio.Task[None]] = {}
        self._waiting: Counter[str] = Counter()

    @property
    def waiting(self) -> int:
        """How many requests wait for an instance."""
        return self._waiting.total()

    async def candidates(
        self, scenario: str, *, generation: int | None = None, bundle: str | None = None, wait_s: float | None = None
    ) -> list[directory.Instance]:
        """Where new episodes of a scenario may go; woken if need be.

        Raises:
            ProblemError: `conflict`: what is pinned is not served; `start_failed`, `at_capacity`, `starting`.
        """
        if generation is None and bundle is None:
            return await self._get(scenario, lambda _: self.serving(scenario) or None, wait_s)
        dormant = self._roster.dormant(scenario)
        known = [each for each in dormant if generation in (None, each.generation) and bundle in (None, each.bundle)]

        def pick(instances: Sequence[directory.Instance]) -> list[directory.Instance] | None:
            found = placing.candidates(instances, generation=generation, bundle=bundle)
            if not found and not known and (others := placing.candidates(instances)):
                raise _not_pinned(scenario, others[0], generation, bundle)
            return found or None

        return await self._get(scenario, pick, wait_s, known[0].generation if known else None)

    def serving(self, scenario: str) -> list[directory.Instance]:
        """Where new episodes go that pin nothing; empty while that has to be woken, whatever else is awake."""
        return placing.candidates(self._roster.of(scenario), generation=self._newest(scenario))

    async def holder(self, where: ids.Placement) -> directory.Instance:
        """The instance that holds an episode; woken if need be.

        Raises:
            ProblemError: `episode_lost`: it is gone for good; `start_failed`, `at_capacity`, `starting`.
        """
        scenario = self._roster.scenario(where)
        if scenario is None:
            raise _lost("its scenario is not served here any more")
        found = roster.at(self._roster.of(scenario), where)
        if found is not None and placing.reachable([found]):
            return found
        dormant = [each for each in self._roster.dormant(scenario) if ids.placement(scenario, each.id) == where]

        def pick(instances: Sequence[directory.Instance]) -> directory.Instance | None:
            found = roster.at(instances, where)
            if found is None:
                if not dormant and placing.reachable(instances):
                    raise _lost(f"the instance of {scenario} that held it is gone; others serve now")
                return None
            return found if placing.reachable([found]) else None

        return await self._get(scenario, pick, None, dormant[0].generation if dormant else None)

    async def _get(
        self, scenario: str, pick: _Pick[_Found], wait_s: float | None, generation: int | None = None
    ) -> _Found:
        """What `pick` finds; `generation` is woken for it, by default the newest."""
        found = pick(self._roster.of(scenario))
        if found is not None:
            return found
        position = self._waiting[scenario] + 1
        if position > self._limits.waiting:
            raise _full(scenario, position)
        self._waiting[scenario] = position
        try:
            async with asyncio.timeout(self._limits.wake_s if wait_s is None else wait_s):
                return await self._wait(scenario, pick, generation)
        except TimeoutError as exc:
            raise self._late(scenario, position) from exc
        finally:
            self._waiting[scenario] -= 1
            if not self._waiting[scenario]:
                del self._waiting[scenario]

    async def _wait(self, scenario: str, pick: _Pick[_Found], generation: int | None) -> _Found:
        while True:
            change = self._roster.change_of(scenario)
            try:
                if all(each.state == "failed" for each in self._fitting(scenario, generation)):
                    await self.wake(scenario, generation)
                found = pick(self._roster.of(scenario))
                if found is not None:
                    return found
                await change
            finally:
                change.cancel()
            found = pick(self._roster.of(scenario))
            if found is not None:
                return found
            _raise_failure(scenario, self._fitting(scenario, generation))

    def _newest(self, scenario: str) -> int | None:
        """The generation that is woken where none is named; None where a scenario is woken as a whole."""
        return max((each.generation for each in self._roster.dormant(scenario)), default=None)

    def _fitting(self, scenario: str, generation: int | None) -> list[directory.Instance]:
        """A scenario's instances, or those of the generation that was woken."""
        wanted = generation or self._newest(scenario)
        return [each for each in self._roster.of(scenario) if wanted in (None, each.generation)]

    async def wake(self, scenario: str, generation: int | None = None) -> None:
        """Asks for an instance, once however many want it."""
        key = (scenario, generation)
        task = self._wakes.get(key)
        if task is None:
            task = asyncio.create_task(self._ask_for(*key), name=f"wake {scenario}")
            self._wakes[key] = task
            task.add_done_callback(functools.partial(self._woken, key))
        await asyncio.shield(task)

    async def _ask_for(self, scenario: str, generation: int | None) -> None:
        try:
            async with asyncio.timeout(self._limits.wake_s):
                await self._roster.wake(scenario, generation)
        except TimeoutError as exc:
            raise problems.ProblemError(
                problems.Code.STARTING, "the fleet does not answer; ask again", retry_after_s=_RETRY_S
            ) from exc

    def _woken(self, key: tuple[str, int | None], task: "asyncio.Task[None]") -> None:
        del self._wakes[key]
        if not task.cancelled():
            task.exception()  # seen here, in case that everybody who waited has gone

    def _late(self, scenario: str, position: int) -> problems.ProblemError:
        seen = [": ".join(filter(None, (each.id, each.state, each.reason))) for each in self._roster.of(scenario)]
        return problems.ProblemError(
            problems.Code.STARTING,
            f"{scenario} is still starting; ask again",
            retry_after_s=_RETRY_S,
            diagnostics={"position": position, "waiting": self._waiting[scenario], "instances": seen},
        )


def _raise_failure(scenario: str, instances: Sequence[directory.Instance]) -> None:
    """Raises what the newest instance failed with, where all failed."""
    if instances and all(each.state == "failed" for each in instances):
        newest = instances[0]
        raise problems.ProblemError(
            problems.Code.START_FAILED,
            f"{scenario} does not start: {newest.reason or 'no reason was given'}",
            diagnostics=newest.diagnostics,
            retry_after_s=_RETRY_S,
        )


def _full(scenario: str, position: int) -> problems.ProblemError:
    return problems.ProblemError(
        problems.Code.AT_CAPACITY,
        f"{position - 1} requests wait for {scenario} already; ask again later",
        retry_after_s=_RETRY_S,
        diagnostics={"position": position, "waiting": position - 1},
    )


def _lost(reason: str) -> problems.ProblemError:
    return problems.ProblemError(problems.Code.EPISODE_LOST, f"the episode is lost: {reason}; open another")


def _not_pinned(
    scenario: str, serves: directory.Instance, generation: int | None, bundle: str | None
) -> problems.ProblemError:
    wanted = f"generation {generation}" if generation is not None else f"bundle {bundle}"
    return problems.ProblemError(
        problems.Code.CONFLICT,
        f"{scenario} is served at generation {serves.generation} ({serves.bundle}), not at {wanted}",
    )
