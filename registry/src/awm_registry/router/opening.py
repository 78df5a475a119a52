"""Opens batches: each item's copies are placed, each instance is asked once, and the answers are put together again."""

import asyncio
import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

from awm_registry import directory
from awm_registry.router import activation, controls, ids, placing, roster, served
from awm_runtime.contract import episodes, problems

MOST_EPISODES = 16_384
"""Of one request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A request to open episodes.

    Attributes:
        request: What is asked for.
        subject: Who asks.
        key: An idempotency key: the same subject, key and items come to the same episodes.
        lines: Headers to send along.
    """

    request: episodes.FleetOpenRequest
    subject: str = ""
    key: str | None = None
    lines: bytes = b""


@dataclass(frozen=True, slots=True)
class _Choice:
    """Where the copies of an item may go."""

    scenario: str
    instances: Sequence[directory.Instance]


@dataclass(slots=True)
class _Share:
    """What one instance is to open: items, and the index of each in the request."""

    instance: directory.Instance
    items: list[episodes.EpisodeSpec] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)


class Opening:
    """Opens episodes over the instances of a fleet.

    Args:
        control: How instances are asked.
        active: Where episodes may go.
        known: What scenarios an episode's id may mean.
        catalogues: What scenarios there are.
        made: Makes ids.
    """

    def __init__(
        self,
        control: controls.Controls,
        active: activation.Activation,
        known: roster.Roster,
        *,
        catalogues: served.Catalogues,
        made: ids.EpisodeIds,
    ) -> None:
        self._control = control
        self._active = active
        self._roster = known
        self._catalogues = catalogues
        self._ids = made
        self._given = placing.Given()

    async def open(self, wanted: Wanted) -> episodes.OpenResponse:
        """Opens what it can; each item that cannot be opened is refused by itself.

        Raises:
            ProblemError: `bad_request`: too many at once.
        """
        items = wanted.request.episodes
        if sum(item.count for item in items) > MOST_EPISODES:
            raise problems.ProblemError(
                problems.Code.BAD_REQUEST, f"one request opens at most {MOST_EPISODES} episodes; send several"
            )
        choices = await self._choices(items)
        rejected = {index: each for index, each in enumerate(choices) if isinstance(each, problems.ProblemError)}
        order: list[str] = []
        shares = self._shares(wanted, choices, order)
        views: dict[str, episodes.EpisodeView] = {}
        async with asyncio.TaskGroup() as group:
            for share in shares:
                group.create_task(self._open_share(wanted, share, views, rejected))
        return episodes.OpenResponse(
            episodes=[views[id] for id in order if id in views],
            rejected=[
                episodes.Rejection(index=index, error=error.problem) for index, error in sorted(rejected.items())
            ],
        )

    async def _choices(self, items: Sequence[episodes.FleetEpisodeSpec]) -> list[_Choice | problems.ProblemError]:
        """Where each item may go; items that want the same wait together."""
        tasks: dict[tuple[object, ...], asyncio.Task[_Choice | problems.ProblemError]] = {}
        async with asyncio.TaskGroup() as group:
            keys = [(each.scenario, each.generation, each.bundle, each.source) for each in items]
            for key, item in zip(keys, items, strict=True):
                if key not in tasks:
                    tasks[key] = group.create_task(self._choice(item))
        return [tasks[key].result() for key in keys]

    async def _choice(self, item: episodes.FleetEpisodeSpec) -> _Choice | problems.ProblemError:
        try:
            if item.source is not None:
                return await self._source(item, item.source)
            scenario = self._catalogues.current.entry(item.scenario or "").name
            found = await self._active.candidates(scenario, generation=item.generation, bundle=item.bundle)
            return _Choice(scenario, found)
        except problems.ProblemError as exc:
            return exc

    async def _source(self, item: episodes.FleetEpisodeSpec, source: str) -> _Choice:
        """A fork goes where its source is."""
        where = self._ids.placement(source)
        scenario = self._roster.scenario(where)
        if item.scenario is not None and self._catalogues.current.entry(item.scenario).name != scenario:
            raise problems.ProblemError(
                problems.Code.BAD_REQUEST, f"the episode to fork is of {scenario}, not of {item.scenario}"
            )
        instance = await self._active.holder(where)
        return _Choice(instance.scenario, [instance])

    def _shares(
        self, wanted: Wanted, choices: Sequence[_Choice | problems.ProblemError], order: list[str]
    ) -> list[_Share]:
        """What each instance is to open; `order` becomes the ids as the request has them."""
        shares: dict[directory.InstanceId, _Share] = {}
        for index, (item, choice) in enumerate(zip(wanted.request.episodes, choices, strict=True)):
            if isinstance(choice, problems.ProblemError):
                continue
            placed: dict[directory.InstanceId, list[str]] = {}
            for copy in range(item.count):
                instance, id = self._placed(wanted, choice, (index, copy))
                shares.setdefault(instance.id, _Share(instance))
                placed.setdefault(instance.id, []).append(id)
                order.append(id)
            for instance_id, chosen in placed.items():
                shares[instance_id].items.append(_spec(item, choice.scenario, chosen))
                shares[instance_id].indexes.append(index)
        return list(shares.values())

    def _placed(
        self, wanted: Wanted, choice: _Choice, which: tuple[int, int]
    ) -> tuple[directory.Instance, episodes.EpisodeId]:
        """The instance and the id of one copy of one item."""
        if wanted.key is None:
            instance = self._given.least(choice.instances)
            return instance, self._ids.new(ids.placement(choice.scenario, instance.id))
        parts = ("open", wanted.subject, wanted.key, choice.scenario, *which)
        instance = placing.by_key(choice.instances, self._ids.draw(*parts))
        return instance, self._ids.repeatable(ids.placement(choice.scenario, instance.id), *parts)

    async def _open_share(
        self,
        wanted: Wanted,
        share: _Share,
        views: dict[str, episodes.EpisodeView],
        rejected: dict[int, problems.ProblemError],
    ) -> None:
        terms = wanted.request
        request = episodes.OpenRequest(
            episodes=share.items, ttl_s=terms.ttl_s, retain_s=terms.retain_s, wait=terms.wait
        )
        where = ids.placement(share.instance.scenario, share.instance.id)
        locate = functools.partial(self._active.holder, where)
        try:
            answer = await self._control.open(share.instance, locate, request, lines=wanted.lines)
        except problems.ProblemError as exc:
            rejected.update(dict.fromkeys(share.indexes, exc))
            return
        views.update((each.id, each) for each in answer.episodes)
        for each in answer.rejected:
            rejected[share.indexes[each.index]] = problems.ProblemError.of(each.error)


def _spec(item: episodes.FleetEpisodeSpec, scenario: str, chosen: list[str]) -> episodes.EpisodeSpec:
    return episodes.EpisodeSpec(
        scenario=scenario,
        generation=item.generation,
        bundle=item.bundle,
        task=item.task,
        seed=item.seed,
        count=len(chosen),
        group=item.group,
        source=item.source,
        ids=chosen,
    )
