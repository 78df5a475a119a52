"""A catalogue as it was at one moment: what a router answers from. Nothing in it changes.

Rows and short descriptions are in memory; task texts and tool lists are read from their files when they are asked for.
"""

import difflib
import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from awm_registry.catalogue import model, reading
from awm_runtime import names
from awm_runtime.bundle import model as bundles
from awm_runtime.contract import problems

_KEPT = 64
_MOST_COMPARED = 200

Key = tuple[str, int]
"""Name and generation."""


@dataclass(frozen=True, slots=True)
class Card:
    """A scenario as a list shows it.

    Attributes:
        entry: Its newest generation's row.
        words: Name, title, description and tags in small letters: what a search looks through.
        kinds: The (split, difficulty) of its tasks.
    """

    entry: model.Entry
    title: str
    description: str
    tags: tuple[str, ...]
    counts: bundles.Counts | None
    words: str
    kinds: frozenset[tuple[str, str | None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong with one row of the index.

    Attributes:
        row: Which, from 0.
        name: Its name, where it has one.
        reason: What is wrong.
        served: Whether the scenario is served all the same, described by its name only.
    """

    row: int
    name: str | None
    reason: str
    served: bool = False

    def __str__(self) -> str:
        return f"row {self.row} ({self.name or 'no name'}): {self.reason}"


class Snapshot:
    """A catalogue. Safe to share between threads.

    Attributes:
        cards: One per scenario, by name.
        entries: Every row, sorted by name and generation.
        faults: What is wrong with rows.
    """

    def __init__(
        self, cards: Sequence[Card], entries: dict[Key, model.Entry], faults: Sequence[Fault], folder: Path
    ) -> None:
        self.cards = tuple(cards)
        self.entries = entries
        self.faults = tuple(faults)
        self._folder = folder
        self._by_name = {card.entry.name: card for card in self.cards}
        self._described = functools.lru_cache(_KEPT)(functools.partial(reading.metadata, folder))

    def __len__(self) -> int:
        return len(self.cards)

    def card(self, name: str) -> Card:
        """A scenario, by its name in any spelling.

        Raises:
            ProblemError: `unknown_scenario`, with names that are close.
        """
        found = self._by_name.get(name) or self._by_name.get(names.normalise(name))
        if found is None:
            raise problems.ProblemError(problems.Code.UNKNOWN_SCENARIO, self._unknown(name))
        return found

    def entry(self, name: str, generation: int | None = None) -> model.Entry:
        """A scenario's row; by default its newest generation's.

        Raises:
            ProblemError: `unknown_scenario`, with names that are close, or the generations that there are.
        """
        newest = self.card(name).entry
        if generation is None:
            return newest
        found = self.entries.get((newest.name, generation))
        if found is None:
            known = ", ".join(str(row.generation) for row in self.generations(newest.name))
            raise problems.ProblemError(
                problems.Code.UNKNOWN_SCENARIO,
                f"{newest.name} has no generation {generation} here; there is {known}",
            )
        return found

    def generations(self, name: str) -> list[model.Entry]:
        """A scenario's rows, newest first."""
        return [row for row in reversed(self.entries.values()) if row.name == name]

    def metadata(self, entry: model.Entry) -> model.Metadata:
        """What is said about a row, from its file; where that cannot be read, its name."""
        try:
            return self._described(entry)
        except reading.Unreadable:
            return reading.undescribed(entry)

    def tools(self, entry: model.Entry) -> Sequence[model.Tool] | None:
        """A row's tool list, from its file; None where there is none.

        Raises:
            ProblemError: `internal`: the file is not what its name says.
        """
        if not model.tools_path(self._folder, entry.tools_hash).exists():
            return None
        try:
            return reading.tools(self._folder, entry)
        except reading.Unreadable as exc:
            raise problems.ProblemError(
                problems.Code.INTERNAL, f"the catalogue's tool list of {entry.name} cannot be read; build it again"
            ) from exc

    def _unknown(self, name: str) -> str:
        asked = names.normalise(name[:_MOST_COMPARED])
        close = difflib.get_close_matches(asked, self._by_name, n=3, cutoff=0.6)
        hint = f"did you mean {' or '.join(close)}?" if close else f"{len(self)} others are served here"
        return f"there is no scenario {name[:_MOST_COMPARED]!r}; {hint}"


def load(index: Path, folder: Path | None = None) -> Snapshot:
    """The catalogue of an index; a row that makes no sense is named in `faults`, the others are served.

    Args:
        index: The index, or the folder that it is in.
        folder: Where the metadata is; by default beside the index.

    Raises:
        CatalogueError: The index as a whole cannot be read.
    """
    path = index / model.INDEX if index.is_dir() else index
    folder = folder or path.parent
    rows, faults = _rows(path)
    return _made(rows, faults, folder)


def of(entries: Iterable[model.Entry], folder: Path) -> Snapshot:
    """The catalogue of rows that come from elsewhere.

    Args:
        entries: The rows, each of another scenario or generation.
        folder: Where the metadata is; what is not there is described by its name only.
    """
    rows = {(each.name, each.generation): (position, each) for position, each in enumerate(entries)}
    return _made(rows, [], folder)


def _made(rows: dict[Key, tuple[int, model.Entry]], faults: list[Fault], folder: Path) -> Snapshot:
    newest = {row.name: (position, row) for position, row in sorted(rows.values(), key=_age)}
    cards = []
    for position, row in newest.values():
        try:
            described = reading.metadata(folder, row)
        except reading.Unreadable as exc:
            faults.append(Fault(position, row.name, f"{exc}; it is described by its name only", served=True))
            described = reading.undescribed(row)
        cards.append(_card(row, described))
    entries = {key: row for key, (_, row) in sorted(rows.items())}
    return Snapshot(sorted(cards, key=lambda card: card.entry.name), entries, faults, folder)


def _age(placed: tuple[int, model.Entry]) -> int:
    return placed[1].generation


def _rows(path: Path) -> tuple[dict[Key, tuple[int, model.Entry]], list[Fault]]:
    """The rows that make sense, each with its position; and what is wrong with the others."""
    rows: dict[Key, tuple[int, model.Entry]] = {}
    faults: list[Fault] = []
    for position, value in enumerate(reading.rows(path)):
        try:
            row = reading.entry(value)
        except reading.Unreadable as exc:
            faults.append(Fault(position, reading.name_of(value), str(exc)))
            continue
        if (row.name, row.generation) in rows:
            faults.append(Fault(position, row.name, f"generation {row.generation} is an earlier row's too"))
        else:
            rows[row.name, row.generation] = (position, row)
    return rows, faults


def _card(entry: model.Entry, described: model.Metadata) -> Card:
    words = "\n".join((entry.name, described.title, described.description, *described.tags)).lower()
    kinds = frozenset((task.split, task.difficulty) for task in described.tasks)
    return Card(entry, described.title, described.description, described.tags, described.counts, words, kinds)
