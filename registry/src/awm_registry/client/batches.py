"""A batch that is being opened: what to ask for next, and what came of the rest."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pydantic

from awm_registry import errors
from awm_registry.client import operations
from awm_runtime.contract import episodes as contract
from awm_runtime.contract import problems

_LONGEST_WAIT_S = 30.0
_SHORTEST_WAIT_S = 0.05
_STUMBLES = 2


class Item(contract.EpisodeItem):
    """What to open of a task: `scenario`, `task`, `seed`, `count`, `group`, `generation`, or `source` to fork from."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An item that was refused, and why."""

    item: Item
    error: problems.ProblemError


class _Request(pydantic.BaseModel):
    episodes: list[Item]
    ttl_s: float
    retain_s: float


class Opening:
    """Every copy of an item counts by itself, so that each is answered, refused or postponed by itself.

    Args:
        items: What to open.
        ttl_s: How long the episodes live without a heartbeat.
        retain_s: How long they can be read after their end.
    """

    def __init__(self, items: Iterable[Item | Mapping[str, Any]], *, ttl_s: float, retain_s: float) -> None:
        self._items = [copy for item in items for copy in _copies(item)]
        self._ttl_s = ttl_s
        self._retain_s = retain_s
        self._key = uuid.uuid4().hex
        self._round = 0
        self._stumbles = 0
        self._asked: Sequence[int] = ()
        self._postponed: dict[int, problems.ProblemError] = {}
        self._refused: dict[int, problems.ProblemError] = {}
        self._opened: dict[int, contract.EpisodeView] = {}
        self._fresh: list[contract.EpisodeView] = []
        self.left = list(range(len(self._items)))

    def request(self) -> operations.Operation[contract.OpenResponse]:
        """A request for as many as one may hold. A repeated one has the same key, so that nothing is opened twice."""
        self._asked = self.left[: contract.MOST_AT_ONCE]
        wanted = _Request(
            episodes=[self._items[index] for index in self._asked], ttl_s=self._ttl_s, retain_s=self._retain_s
        )
        return operations.open_batch(wanted, key=f"{self._key}-{self._round}")

    def note(self, answer: contract.OpenResponse) -> float:
        """Takes an answer; returns how long to wait before the next request, in seconds.

        Raises:
            ProblemError: It is the answer to something else.
        """
        rejected = {each.index: problems.ProblemError.of(each.error) for each in answer.rejected}
        opened = [index for place, index in enumerate(self._asked) if place not in rejected]
        if len(opened) != len(answer.episodes):
            detail = f"{len(opened)} episodes were to be opened, {len(answer.episodes)} were answered"
            raise problems.ProblemError(problems.Code.INTERNAL, detail)
        self._opened.update(zip(opened, answer.episodes, strict=True))
        self._fresh = answer.episodes
        self._round += 1
        self._stumbles = 0
        waits = [0.0]
        for place, error in rejected.items():
            index = self._asked[place]
            if error.code in errors.PRESSURE:
                self._postponed[index] = error
                waits.append(_wait_s(error))
            else:
                self._refused[index] = error
        self.left = [index for index in self.left if index not in self._opened and index not in self._refused]
        return max(waits)

    def postpone(self, error: problems.ProblemError) -> float:
        """Takes the refusal of a whole request; returns how long to wait, in seconds.

        Raises:
            AwmError: Waiting would not help.
        """
        if error.code not in errors.PRESSURE:
            raise errors.of_problem(error) from error
        self._postponed.update(dict.fromkeys(self._asked, error))
        return _wait_s(error)

    def stumble(self, error: errors.Unreachable) -> float:
        """Takes that no answer came; returns how long to wait, in seconds.

        Raises:
            Unreachable: It was not the first time.
        """
        self._stumbles += 1
        if self._stumbles > _STUMBLES:
            raise error
        return error.retry_after_s / 2

    def give_up(self) -> None:
        """Refuses what is left with the last reason that was heard.

        Raises:
            AwmError: Nothing was opened at all.
        """
        late = problems.ProblemError(problems.Code.AT_CAPACITY, "the fleet had no room in time")
        if not self._opened and not self._refused:
            raise errors.of_problem(self._postponed.get(self.left[0], late))
        self._refused.update({index: self._postponed.get(index, late) for index in self.left})
        self.left = []

    def fresh(self) -> list[contract.EpisodeView]:
        """What was opened since this was asked last."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def opened(self) -> list[contract.EpisodeView]:
        """What was opened, in the order of the items."""
        return [view for _, view in sorted(self._opened.items())]

    def refusals(self) -> list[Refusal]:
        """What was refused, in the order of the items."""
        return [Refusal(self._items[index], error) for index, error in sorted(self._refused.items())]


def _copies(item: Item | Mapping[str, Any]) -> Iterable[Item]:
    """An item as many times as it is wanted."""
    whole = item if isinstance(item, Item) else Item.model_validate(item)
    return [whole.model_copy(update={"count": 1})] * whole.count


def _wait_s(error: problems.ProblemError) -> float:
    return min(max(error.retry_after_s or 1.0, _SHORTEST_WAIT_S), _LONGEST_WAIT_S)
