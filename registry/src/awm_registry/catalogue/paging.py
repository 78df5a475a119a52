"""Pages of scenarios and tasks. A cursor says where a page ended, not how far in, so that it outlives a reload."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from awm_registry.catalogue import model, snapshots
from awm_runtime.bundle import model as bundles
from awm_runtime.contract import problems

DEFAULT_LIMIT = 50
MOST = 1000
CURSOR = "^[a-z0-9_]{1,200}(:[0-9]{1,9})?$"
"""How cursors are written: a scenario's name, and in a list of tasks a task's number."""

_Item = TypeVar("_Item")
_Position = tuple[str, int]
_AFTER_ALL_TASKS = 2**31


@dataclass(frozen=True, slots=True)
class Page(Generic[_Item]):
    """A part of a list; `next_cursor` is None at its end."""

    items: list[_Item]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What is looked for; absent means any.

    Attributes:
        search: Words that all occur, in any case.
        name_part: What the name has in it, in any case.
        generation: Of the newest row.
        published_since: When the newest row was published, at the earliest; one whose time is not known is no match.
        split, difficulty: Of tasks; of scenarios, that there is such a task.
    """

    search: str | None = None
    tier: bundles.Tier | None = None
    tag: str | None = None
    split: str | None = None
    difficulty: str | None = None
    name_part: str | None = None
    generation: int | None = None
    published_since: datetime | None = None

    @property
    def words(self) -> list[str]:
        return (self.search or "").lower().split()

    def takes_card(self, card: snapshots.Card) -> bool:
        """Whether a scenario fits, apart from the search."""
        return (
            self.tier in (None, card.entry.tier)
            and self.generation in (None, card.entry.generation)
            and self._takes_time(card.entry.published_at)
            and (self.name_part is None or self.name_part.lower() in card.entry.name)
            and (self.tag is None or self.tag in card.tags)
            and ((self.split is None and self.difficulty is None) or any(self.takes_kind(*kind) for kind in card.kinds))
        )

    def _takes_time(self, published_at: datetime | None) -> bool:
        since = self.published_since
        return since is None or (published_at is not None and published_at >= since)

    def takes_kind(self, split: str, difficulty: str | None) -> bool:
        """Whether a task of this kind fits."""
        return self.split in (None, split) and self.difficulty in (None, difficulty)


def scenarios(
    snapshot: snapshots.Snapshot, wanted: Filter, *, limit: int = DEFAULT_LIMIT, cursor: str | None = None
) -> Page[snapshots.Card]:
    """A page of scenarios, by name.

    Raises:
        ProblemError: `bad_request`: the cursor is none of ours.
    """
    after = _position(cursor)
    words = wanted.words
    found = (
        ((card.entry.name, _AFTER_ALL_TASKS), card)
        for card in snapshot.cards
        if (card.entry.name, _AFTER_ALL_TASKS) > after
        and wanted.takes_card(card)
        and all(word in card.words for word in words)
    )
    return _page(found, limit)


def tasks(
    snapshot: snapshots.Snapshot, wanted: Filter, *, limit: int = DEFAULT_LIMIT, cursor: str | None = None
) -> Page[tuple[snapshots.Card, model.Task]]:
    """A page of tasks, by their scenarios' names. A search looks through their instructions and their scenarios.

    Raises:
        ProblemError: `bad_request`: the cursor is none of ours.
    """
    return _page(_tasks(snapshot, wanted, _position(cursor)), limit)


def _tasks(
    snapshot: snapshots.Snapshot, wanted: Filter, after: _Position
) -> Iterator[tuple[_Position, tuple[snapshots.Card, model.Task]]]:
    words = wanted.words
    for card in snapshot.cards:
        if card.entry.name < after[0] or not wanted.takes_card(card):
            continue
        for number, task in enumerate(snapshot.metadata(card.entry).tasks):
            here = (card.entry.name, number)
            if here <= after or not wanted.takes_kind(task.split, task.difficulty):
                continue
            instruction = task.instruction.lower()
            if all(word in instruction or word in card.words for word in words):
                yield here, (card, task)


def _page(found: Iterator[tuple[_Position, _Item]], limit: int) -> Page[_Item]:
    """The first `limit` of what is found; one more is looked at, so that a last page says that it is the last."""
    items: list[_Item] = []
    last: _Position | None = None
    for position, item in found:
        if len(items) == limit and last is not None:
            return Page(items, _cursor(last))
        items.append(item)
        last = position
    return Page(items, None)


def _cursor(position: _Position) -> str:
    name, number = position
    return name if number == _AFTER_ALL_TASKS else f"{name}:{number}"


def _position(cursor: str | None) -> _Position:
    if cursor is None:
        return ("", -1)
    if re.fullmatch(CURSOR, cursor) is None:
        raise problems.ProblemError(
            problems.Code.BAD_REQUEST, "cursor: not one that was answered here; begin again without it"
        )
    name, colon, number = cursor.partition(":")
    return (name, int(number) if colon else _AFTER_ALL_TASKS)
