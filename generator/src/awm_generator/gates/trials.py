"""Trials: states and answers that a task's verifier is to judge, made by calling the scenario's tools.

They are made where scenario code runs, and judged where it does not (`awm_generator.gates.judging`).
"""

import dataclasses
import shutil
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pydantic

from awm_generator import oracles
from awm_generator.gates import branching, equivalents, fuzzing, hosting, mutants, outside, states
from awm_runtime.bundle import model

Kind = Literal["untouched", "reading", "oracle", "answerless", "mutant", "equivalent", "outside"]
_REORDERED = 2
_DESTRUCTIVE = ("delete", "remove", "cancel", "clear", "void", "close", "return", "withdraw")


class Trial(pydantic.BaseModel):
    """One state of a task, and the answer that goes with it.

    Attributes:
        what: What was done, in words.
        state: The name of the database in the trials' folder.
        calls: What was called, as text.
        diff: What that changed, as text.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    task: str
    kind: Kind
    what: str
    answer: str | None = None
    state: str
    calls: str = ""
    diff: str = ""


class Unplayable(pydantic.BaseModel):
    """An oracle that could not be played to its end."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    task: str
    why: str
    evidence: dict[str, str] = {}


Made = Trial | Unplayable
_Plan = Generator[fuzzing.Call, Any, str | None]
"""Yields calls, takes their replies by `send`, and returns the answer."""


class Examiner:
    """Makes the trials of a scenario's tasks.

    Args:
        host: The scenario's episodes.
        folder: Where the states go.
        spoilers: Calls that are known to change something.
    """

    def __init__(self, host: hosting.Host, folder: Path, spoilers: Sequence[hosting.Call]) -> None:
        self._host = host
        self._folder = folder
        self._bundle = host.subject.bundle
        self._spoilers = sorted(
            {call.request(): call for call in spoilers if call.changed and not call.failed}.values(),
            key=lambda call: not call.tool.startswith(_DESTRUCTIVE),
        )
        self._states = 0
        self._tree: branching.Tree

    async def all(self) -> AsyncIterator[Made]:
        """The trials of all tasks that have a verifier."""
        async with self._host.episode() as root:
            self._tree = branching.Tree(self._host, root)
            read = await self._read()
            for task in self._bundle.tasks:
                async for made in self._task(task, read):
                    yield made

    async def _task(self, task: model.Task, read: "_End") -> AsyncIterator[Made]:
        modes = [mode for mode in ("code", "sql") if (task.id, mode) in self._bundle.verifiers]
        if not modes:
            return
        yield Trial(task=task.id, kind="untouched", what="nothing was done", state=self._untouched())
        if read.state is not None:
            yield _trial(task, "reading", "tools that only read were called", read)
        if task.oracle is None:
            return
        played = await self._played(task, task.oracle)
        if isinstance(played, Unplayable):
            yield played
            return
        solution, trial, wanted = played
        yield trial
        if "code" not in modes:
            return  # evidence is no verdict: only a judge could tell a near miss by it
        if task.answer is not None or solution.answer is not None:
            what = "all calls were made, and no answer was given"
            yield trial.model_copy(update={"kind": "answerless", "what": what, "answer": None})
            if solution.writes:
                what = "the right answer was given, and nothing was done"
                yield trial.model_copy(
                    update={"kind": "answerless", "what": what, "state": self._untouched(), "calls": "", "diff": ""}
                )
        async for made in self._variants(task, task.oracle, solution, wanted):
            yield made
        for made in self._outside(task, trial, wanted):
            yield made

    async def _read(self) -> "_End":
        """What the tools come to that only read and need no arguments; its state is kept where they changed it."""
        free = tuple(
            (str(tool["name"]), dict[str, Any]())
            for tool in self._bundle.tools
            if fuzzing.reads(tool) and not tool.get("inputSchema", {}).get("required")
        )
        async with self._tree.way() as way:
            end = await self._end(way, _fixed(mutants.Variant("", free, None)))
            return await self._kept(way, end) if any(call.changed for call in end.calls) else end

    async def _played(
        self, task: model.Task, oracle: model.Oracle
    ) -> tuple[mutants.Solution, Trial, "_End"] | Unplayable:
        """The oracle's solution, its trial, and what it comes to. From here on its calls are the known way."""
        await self._tree.follow(())
        async with self._tree.way() as way:
            try:
                end = await self._end(way, oracles.plan(oracle))
            except oracles.OracleError as exc:
                return Unplayable(task=task.id, why=str(exc), evidence=_trace(way.calls))
            failed = next((call for call in way.calls if call.failed), None)
            if failed is not None:
                why = f"its call of {failed.tool} fails"
                return Unplayable(task=task.id, why=why, evidence=failed.evidence() | _trace(way.calls))
            end = await self._kept(way, end)
        await self._tree.follow(end.calls)
        solution = mutants.Solution(end.calls, end.answer, literal=isinstance(oracle.answer, str))
        return solution, _trial(task, "oracle", "the oracle was played", end), end

    async def _tried(self, plan: "_Plan", fits: Callable[["_End"], bool]) -> "_End | None":
        """What a plan comes to, with its state in a file; None where that does not fit.

        Raises:
            OracleError: an expression finds nothing.
        """
        async with self._tree.way() as way:
            end = await self._end(way, plan)
            return await self._kept(way, end) if fits(end) else None

    async def _end(self, way: branching.Way, plan: "_Plan") -> "_End":
        """What a plan comes to.

        Raises:
            OracleError: an expression finds nothing.
        """
        try:
            tool, arguments = next(plan)
            while True:
                tool, arguments = plan.send((await way.call(tool, arguments)).data())
        except StopIteration as stop:
            changes = await way.changes()
            mark = states.fingerprint(changes, self._host.subject.data, self._bundle.clock)
            return _End(tuple(way.calls), stop.value, changes, mark)

    async def _kept(self, way: branching.Way, end: "_End") -> "_End":
        """The end with its state in a file."""
        self._states += 1
        path = await way.snapshot(self._folder / f"{self._states}.db")
        return dataclasses.replace(end, state=path.name)

    async def _variants(
        self, task: model.Task, oracle: model.Oracle, solution: mutants.Solution, wanted: "_End"
    ) -> AsyncIterator[Trial]:
        """Mutants that come to something else, and equivalents that come to the same."""
        tools = self._bundle.tools
        others = [other.answer for other in self._bundle.tasks if other.answer and other.answer != task.answer]
        spoilers = [(call.tool, call.arguments) for call in self._spoilers]
        seen = {wanted.key}
        for variant in mutants.of(solution, tools, self._host.subject.data, spoilers=spoilers, other_answers=others):
            if variant.calls == solution.plain:  # with another answer alone they come to what they came to before
                end: _End | None = wanted.answering(variant.answer)
            else:
                end = await self._tried(_fixed(variant), lambda end: end.key not in seen)
            if end is not None and end.key not in seen:
                seen.add(end.key)
                yield _trial(task, "mutant", variant.what, end)
        for variant in equivalents.of(solution, tools):
            end = await self._tried(_fixed(variant), lambda end: end.key == wanted.key)
            if end is not None:
                yield _trial(task, "equivalent", variant.what, end)
        async for what, end in self._reordered(oracle, wanted):
            yield _trial(task, "equivalent", what, end)

    async def _reordered(self, oracle: model.Oracle, wanted: "_End") -> AsyncIterator[tuple[str, "_End"]]:
        """The first few orders of an oracle's calls that come to the same, and which calls they exchange."""
        found = 0
        for what, other in equivalents.reordered(oracle):
            try:
                end = await self._tried(oracles.plan(other), lambda end: end.key == wanted.key and not end.failed)
            except oracles.OracleError:
                continue  # one call needs the other's reply
            if end is not None:
                found += 1
                yield what, end
            if found == _REORDERED:
                return

    def _outside(self, task: model.Task, trial: Trial, wanted: "_End") -> Iterator[Trial]:
        solved, data = self._folder / trial.state, self._host.subject.data
        for what, path in outside.edits(solved, wanted.changes, data, task.id):
            yield trial.model_copy(update={"kind": "outside", "what": what, "state": path.name})

    def _untouched(self) -> str:
        target = self._folder / "untouched.db"
        if not target.exists():
            shutil.copyfile(self._host.subject.seed, target)
        return target.name


@dataclass(frozen=True)
class _End:
    """What calls came to.

    Attributes:
        mark: The fingerprint of the changes.
        state: The name of the file that has their state, where it is kept.
    """

    calls: tuple[hosting.Call, ...]
    answer: str | None
    changes: dict[str, Any]
    mark: str
    state: str | None = None

    @property
    def key(self) -> tuple[str, str | None]:
        """Equal for ends that a verifier need not tell apart."""
        return self.mark, self.answer

    @property
    def failed(self) -> bool:
        """Whether a call came to an error."""
        return any(call.failed for call in self.calls)

    def answering(self, answer: str | None) -> "_End":
        """The same end with another answer."""
        return dataclasses.replace(self, answer=answer)


def _fixed(variant: mutants.Variant) -> "_Plan":
    for call in variant.calls:  # noqa: UP028 - replies are sent, which a tuple's iterator does not take
        yield call
    return variant.answer


def _trial(task: model.Task, kind: Kind, what: str, end: _End) -> Trial:
    assert end.state is not None
    return Trial(
        task=task.id,
        kind=kind,
        what=what,
        answer=end.answer,
        state=end.state,
        calls=_lines(end.calls),
        diff=states.shown(end.changes),
    )


def _trace(calls: Sequence[hosting.Call]) -> dict[str, Any]:
    return {"trace": _lines(calls)} if calls else {}


def _lines(calls: Sequence[hosting.Call]) -> str:
    return "\n".join(f"{call.request()} -> {call.status or call.code}" for call in calls)[:1500]
