"""The instances of a fleet as this router knows them, and a way to hear of their changes."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence

from awm_registry import directory
from awm_registry.router import ids, served

logger = logging.getLogger(__name__)

_PAUSE_S = 1.0


class Roster:
    """Follows a directory.

    Args:
        fleet: Where instances are found.
        catalogues: What may be found there.
    """

    def __init__(self, fleet: directory.Directory, catalogues: served.Catalogues) -> None:
        self._fleet = fleet
        self._catalogues = catalogues
        self._scenario_of: dict[directory.InstanceId, str] = {}
        self._waiting: dict[str, set[asyncio.Future[None]]] = defaultdict(set)
        self._marks: dict[bytes, str] = {}
        self._marks_of: object = None
        self.is_following = False
        """Whether changes are heard of; false before the start and while the directory does not answer."""

    async def follow(self) -> None:
        """Hears of changes for as long as it runs; begins again where the directory breaks off."""
        while True:
            self.is_following = True
            try:
                async for change in self._fleet.watch():
                    self._note(change)
                logger.error("the directory stopped telling of changes; asking again")
            except Exception:
                logger.exception("the directory cannot be followed; asking again")
            self.is_following = False
            await asyncio.sleep(_PAUSE_S)

    def of(self, scenario: str) -> Sequence[directory.Instance]:
        """A scenario's instances, newest generation first."""
        return self._fleet.instances(scenario)

    def all(self) -> Sequence[directory.Instance]:
        """Every instance."""
        return self._fleet.all()

    def dormant(self, scenario: str) -> Sequence[directory.Dormant]:
        """What can be woken by generation; see `Directory.dormant`."""
        return self._fleet.dormant(scenario)

    async def wake(self, scenario: str, generation: int | None = None) -> None:
        """Asks for an instance; see `Directory.wake`."""
        await self._fleet.wake(scenario, generation)

    def scenario(self, where: ids.Placement) -> str | None:
        """The scenario whose mark an episode's id carries; None where the fleet serves none like it any more."""
        current = self._catalogues.current
        if current is not self._marks_of:
            self._marks = {ids.scenario_mark(name): name for name in self._names()}
            self._marks_of = current
        return self._marks.get(where.scenario)

    def change_of(self, scenario: str) -> "asyncio.Future[None]":
        """Done at the next change of one of the scenario's instances. To be taken before one looks at them."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting[scenario]
        waiting.add(future)
        future.add_done_callback(waiting.discard)
        return future

    def _note(self, change: directory.Change) -> None:
        if change.instance is not None:
            scenario = change.instance.scenario
            self._scenario_of[change.id] = scenario
            self._marks.setdefault(ids.scenario_mark(scenario), scenario)
        else:
            scenario = self._scenario_of.pop(change.id, "")
        for future in self._waiting.pop(scenario, ()):
            if not future.done():
                future.set_result(None)

    def _names(self) -> Iterator[str]:
        yield from (card.entry.name for card in self._catalogues.current.cards)
        yield from (each.scenario for each in self._fleet.all())


def at(instances: Sequence[directory.Instance], where: ids.Placement) -> directory.Instance | None:
    """The instance of a placement, if it is among these."""
    for each in instances:
        if ids.placement(each.scenario, each.id) == where:
            return each
    return None
