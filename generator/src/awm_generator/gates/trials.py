"""Trials: states and answers that a task's verifier is to judge, made by calling the scenario's tools.

They are made where scenario code runs, and judged where it does not (`awm_generator.gates.judging`).
"""

import dataclasses
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pydantic

from awm_generator import oracles
from awm_generator.gates import equivalents, fuzzing, hosting, mutants, outside, states
from awm_runtime.bundle import model
from awm_runtime.server import episodes

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
        self._episode: episodes.Episode

    async def all(self) -> AsyncIterator[Made]:
        """The trials of all tasks that a code verifier judges."""
        async with self._host.episode() as self._episode:
            for task in self._bundle.tasks:
                if (task.id, "code") in self._bundle.verifiers:
                    async for made in self._task(task):
                        yield made

    async def _task(self, task: model.Task) -> AsyncIterator[Made]:
        yield Trial(task=task.id, kind="untouched", what="nothing was done", state=self._untouched())
        end = await self._end(self._free_readings())
        if any(call.changed for call in end.calls):
            yield self._trial(task, "reading", "tools that only read were called", end)
        if task.oracle is None:
            return
        played = await self._played(task, task.oracle)
        if isinstance(played, Unplayable):
            yield played
            return
        solution, trial, wanted = played
        yield trial
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

    def _free_readings(self) -> list[fuzzing.Call]:
        return [
            (str(tool["name"]), {})
            for tool in self._bundle.tools
            if fuzzing.reads(tool) and not tool.get("inputSchema", {}).get("required")
        ]

    async def _played(
        self, task: model.Task, oracle: model.Oracle
    ) -> tuple[mutants.Solution, Trial, "_End"] | Unplayable:
        """The oracle's solution, its trial, and what it comes to."""
        calls: list[hosting.Call] = []
        try:
            end = await self._play(oracle, calls)
        except oracles.OracleError as exc:
            return Unplayable(task=task.id, why=str(exc), evidence=_trace(calls))
        failed = next((call for call in calls if call.failed), None)
        if failed is not None:
            why = f"its call of {failed.tool} fails"
            return Unplayable(task=task.id, why=why, evidence=failed.evidence() | _trace(calls))
        literal = isinstance(oracle.answer, str)
        solution = mutants.Solution(tuple(calls), end.answer, literal)
        return solution, self._trial(task, "oracle", "the oracle was played", end), end

    async def _play(self, oracle: model.Oracle, calls: list[hosting.Call]) -> "_End":
        """Plays an oracle on the seed; its calls are added to `calls` as they are made.

        Raises:
            OracleError: an expression finds nothing.
        """
        await self._host.reset(self._episode)
        plan = oracles.plan(oracle)
        try:
            tool, arguments = next(plan)
            while True:
                calls.append(await self._host.call(self._episode, tool, arguments, checked=False))
                tool, arguments = plan.send(calls[-1].data())
        except StopIteration as stop:
            return self._ended(calls, stop.value)

    async def _end(self, calls: Sequence[fuzzing.Call], answer: str | None = None) -> "_End":
        """What calls on the seed come to."""
        await self._host.reset(self._episode)
        return self._ended(await self._host.play(self._episode, calls), answer)

    def _ended(self, calls: Sequence[hosting.Call], answer: str | None) -> "_End":
        changes = self._host.changes(self._episode)
        mark = states.fingerprint(changes, self._host.subject.data, self._bundle.clock)
        return _End(tuple(calls), answer, changes, mark)

    async def _variants(
        self, task: model.Task, oracle: model.Oracle, solution: mutants.Solution, wanted: "_End"
    ) -> AsyncIterator[Trial]:
        """Mutants that come to something else, and equivalents that come to the same."""
        tools = self._bundle.tools
        others = [other.answer for other in self._bundle.tasks if other.answer and other.answer != task.answer]
        spoilers = [(call.tool, call.arguments) for call in self._spoilers]
        seen = {wanted.key}
        for variant in mutants.of(solution, tools, self._host.subject.data, spoilers=spoilers, other_answers=others):
            # With another answer alone the calls come to what they came to before.
            same = variant.calls == solution.plain
            end = wanted.answering(variant.answer) if same else await self._end(variant.calls, variant.answer)
            if end.key not in seen:
                seen.add(end.key)
                yield self._trial(task, "mutant", variant.what, end)
        for variant in equivalents.of(solution, tools):
            end = await self._end(variant.calls, variant.answer)
            if end.key == wanted.key:
                yield self._trial(task, "equivalent", variant.what, end)
        found = 0
        for what, other in equivalents.reordered(oracle):
            try:
                end = await self._play(other, [])
            except oracles.OracleError:
                continue  # one call needs the other's reply
            if end.key == wanted.key and not any(call.failed for call in end.calls):
                found += 1
                yield self._trial(task, "equivalent", what, end)
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

    def _trial(self, task: model.Task, kind: Kind, what: str, end: "_End") -> Trial:
        """A trial of an end; its state is the file of an earlier trial where the episode was not played for it."""
        if end.state is None:
            self._states += 1
            end.state = self._host.snapshot(self._episode, self._folder / f"{self._states}.db").name
        return Trial(
            task=task.id,
            kind=kind,
            what=what,
            answer=end.answer,
            state=end.state,
            calls=_lines(end.calls),
            diff=states.shown(end.changes),
        )


@dataclass
class _End:
    """What calls came to.

    Attributes:
        mark: The fingerprint of the changes.
        state: The name of the file that has it, once there is one.
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

    def answering(self, answer: str | None) -> "_End":
        """The same end with another answer."""
        return dataclasses.replace(self, answer=answer)


def _trace(calls: Sequence[hosting.Call]) -> dict[str, Any]:
    return {"trace": _lines(calls)} if calls else {}


def _lines(calls: Sequence[hosting.Call]) -> str:
    return "\n".join(f"{call.request()} -> {call.status or call.code}" for call in calls)[:1500]
