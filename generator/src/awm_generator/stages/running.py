"""Runs one stage over many scenarios: several at a time, in order, and from where an earlier run ended."""

import asyncio
import collections
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from awm_generator import errors
from awm_generator.awm_files import rows
from awm_generator.stages import journals, outcomes, row_files

_T = TypeVar("_T")


@dataclass(frozen=True)
class Work:
    """One scenario's turn in one stage.

    Attributes:
        name: The scenario's normalised name.
        input: The hash of what is worked from.
        make: Does it.
    """

    name: str
    input: str
    make: Callable[[], Awaitable[outcomes.Outcome]]


@dataclass
class Summary:
    """What a stage came to.

    Attributes:
        done: Scenarios that are done now.
        earlier: Those that an earlier run was through with.
        left_out: All that are quarantined, by this run or an earlier one.
        casualties: Parts of scenarios that this run had to leave out.
    """

    stage: str
    done: int = 0
    earlier: int = 0
    left_out: int = 0
    casualties: int = 0


class Watcher(Protocol):
    """Sees how a run goes."""

    def begin(self, stage: str, total: int) -> None:
        """A stage begins, with so many scenarios to do."""
        ...

    def settled(self, stage: str, entry: journals.Entry) -> None:
        """One scenario is done, or quarantined."""
        ...

    def end(self, summary: Summary) -> None:
        """A stage is over."""
        ...

    def note(self, text: str) -> None:
        """Something that a person should know."""
        ...


class Unwatched:
    """Nobody watches."""

    def begin(self, stage: str, total: int) -> None:
        """See `Watcher`."""

    def settled(self, stage: str, entry: journals.Entry) -> None:
        """See `Watcher`."""

    def end(self, summary: Summary) -> None:
        """See `Watcher`."""

    def note(self, text: str) -> None:
        """See `Watcher`."""


class Target(Protocol):
    """Where a stage's results go, and what is remembered of them."""

    journal: journals.Journal

    def settles(self, work: Work) -> bool:
        """Whether an earlier run is through with this work.

        Raises:
            GenerationError: it is, and was done from other input.
        """
        ...

    def settle(self, work: Work, outcome: outcomes.Outcome | outcomes.Quarantined) -> journals.Entry:
        """Writes down what came of a work."""
        ...


class RowTarget:
    """A file of rows.

    Args:
        output: The file.
        journal: What is remembered of it.
    """

    def __init__(self, output: row_files.RowFile, journal: journals.Journal) -> None:
        self.output, self.journal = output, journal

    def has(self, name: str) -> bool:
        """Whether a scenario's row is there, or it is quarantined."""
        entry = self.journal.entries.get(name)
        return name in self.output or (entry is not None and bool(entry.reason))

    def settles(self, work: Work) -> bool:
        """See `Target`. A row that no run has noted, as other pipelines write it, is as good as one that one has."""
        if not self.has(work.name):
            return False
        entry = self.journal.entries.get(work.name)
        if entry is not None and entry.input != work.input:
            raise errors.GenerationError(
                f"{self.output.path}: the row of {work.name} was made from other input than is given now; name another "
                f"output, remove the file, or make the scenario anew with `awm gen regenerate {work.name}`"
            )
        return True

    def settle(self, work: Work, outcome: outcomes.Outcome | outcomes.Quarantined) -> journals.Entry:
        """See `Target`."""
        if isinstance(outcome, outcomes.Outcome):
            self.output.append(outcome.rows)
        return noted(self.journal, work, outcome)


def noted(journal: journals.Journal, work: Work, outcome: outcomes.Outcome | outcomes.Quarantined) -> journals.Entry:
    """Writes into a journal what came of a work."""
    if isinstance(outcome, outcomes.Outcome):
        entry = journals.Entry(work.name, work.input, casualties=outcome.casualties)
    else:
        entry = journals.Entry(work.name, work.input, str(outcome) or "no reason was given", outcome.detail)
    journal.add(entry)
    return entry


async def run(stage: str, works: Sequence[Work], target: Target, watcher: Watcher, *, window: int) -> Summary:
    """Does the work that no earlier run has done; results are written in the order of the work.

    Args:
        stage: What is done.
        works: Each scenario's work.
        target: Where the results go.
        watcher: Sees how it goes.
        window: How many scenarios are under way at once.

    Raises:
        AwmError: what stops the whole run. What is done before is written.
    """
    left = [work for work in works if not target.settles(work)]
    summary = Summary(stage, earlier=len(works) - len(left))
    watcher.begin(stage, len(left))
    pending: collections.deque[tuple[Work, asyncio.Task[outcomes.Outcome]]] = collections.deque()
    try:
        for work in left:
            if len(pending) >= window:
                await _settle(pending, summary, target, watcher)
            pending.append((work, asyncio.create_task(_made(work), name=f"{stage} {work.name}")))
        while pending:
            await _settle(pending, summary, target, watcher)
    except errors.BudgetSpent:
        # Replies under way are paid for: they come to their end, and the limit stops each work at its next request.
        await asyncio.gather(*(task for _, task in pending), return_exceptions=True)
        raise
    finally:
        for _, task in pending:
            task.cancel()
        await asyncio.gather(*(task for _, task in pending), return_exceptions=True)
    chosen = {work.name for work in works}
    summary.left_out = sum(bool(each.reason) for name, each in target.journal.entries.items() if name in chosen)
    watcher.end(summary)
    return summary


async def all_of(works: Iterable[Awaitable[_T]]) -> list[_T]:
    """All results; where some fail, all come to their end before the first failure is raised."""
    done = await asyncio.gather(*works, return_exceptions=True)
    failures = [each for each in done if isinstance(each, BaseException)]
    if failures:
        raise failures[0]
    return [each for each in done if not isinstance(each, BaseException)]


def hashed(inputs: Iterable[rows.Row]) -> str:
    """The hash of some rows."""
    texts = [row.model_dump_json(by_alias=True) for row in inputs]
    return f"sha256:{hashlib.sha256(chr(10).join(texts).encode()).hexdigest()}"


async def _made(work: Work) -> outcomes.Outcome:
    return await work.make()


async def _settle(
    pending: collections.deque[tuple[Work, asyncio.Task[outcomes.Outcome]]],
    summary: Summary,
    target: Target,
    watcher: Watcher,
) -> None:
    """Waits for the oldest work and writes down what came of it."""
    work, task = pending[0]
    outcome: outcomes.Outcome | outcomes.Quarantined
    try:
        outcome = await task
    except outcomes.Quarantined as exc:
        outcome = exc
    entry = target.settle(work, outcome)
    pending.popleft()
    summary.done += not entry.reason
    summary.casualties += len(entry.casualties)
    watcher.settled(summary.stage, entry)
