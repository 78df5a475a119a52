"""Trials: states and answers that a task's verifier is to judge, made by calling the scenario's tools.

They are made where scenario code runs, and judged where it does not (`awm_generator.gates.judging`).
"""

import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
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

    async def all(self) -> AsyncIterator[Made]:
        """The trials of all tasks that a code verifier judges."""
        for task in self._bundle.tasks:
            if (task.id, "code") in self._bundle.verifiers:
                async for made in self._task(task):
                    yield made

    async def _task(self, task: model.Task) -> AsyncIterator[Made]:
        yield Trial(task=task.id, kind="untouched", what="nothing was done", state=self._untouched())
        async with self._host.episode() as episode:
            read = await self._host.play(episode, self._free_readings())
            if any(call.changed for call in read):
                yield self._trial(task, "reading", "tools that only read were called", None, episode, read)
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
        for made in self._outside(task, trial):
            yield made

    def _free_readings(self) -> list[fuzzing.Call]:
        return [
            (str(tool["name"]), {})
            for tool in self._bundle.tools
            if fuzzing.reads(tool) and not tool.get("inputSchema", {}).get("required")
        ]

    async def _played(
        self, task: model.Task, oracle: model.Oracle
    ) -> tuple[mutants.Solution, Trial, str] | Unplayable:
        """The oracle's solution, its trial, and the fingerprint of what it comes to."""
        async with self._host.episode() as episode:
            calls: list[hosting.Call] = []
            try:
                answer = await self._play(episode, oracle, calls)
            except oracles.OracleError as exc:
                return Unplayable(task=task.id, why=str(exc), evidence=_trace(calls))
            failed = next((call for call in calls if call.failed), None)
            if failed is not None:
                why = f"its call of {failed.tool} fails"
                return Unplayable(task=task.id, why=why, evidence=failed.evidence() | _trace(calls))
            trial = self._trial(task, "oracle", "the oracle was played", answer, episode, calls)
            literal = isinstance(oracle.answer, str)
            return mutants.Solution(tuple(calls), answer, literal), trial, self._fingerprint(episode)

    async def _play(
        self, episode: episodes.Episode, oracle: model.Oracle, calls: list[hosting.Call]
    ) -> str | None:
        """Plays an oracle; its calls are added to `calls` as they are made. Returns the answer."""
        plan = oracles.plan(oracle)
        try:
            tool, arguments = next(plan)
            while True:
                calls.append(await self._host.call(episode, tool, arguments, checked=False))
                tool, arguments = plan.send(calls[-1].data())
        except StopIteration as stop:
            answer: str | None = stop.value
            return answer

    async def _variants(
        self, task: model.Task, oracle: model.Oracle, solution: mutants.Solution, wanted: str
    ) -> AsyncIterator[Trial]:
        """Mutants that come to something else, and equivalents that come to the same."""
        tools = self._bundle.tools
        others = [other.answer for other in self._bundle.tasks if other.answer and other.answer != task.answer]
        spoilers = [(call.tool, call.arguments) for call in self._spoilers]
        seen = {(wanted, solution.answer)}
        for variant in mutants.of(
            solution, tools, self._host.subject.data, spoilers=spoilers, other_answers=others
        ):
            async with self._host.episode() as episode:
                calls = await self._host.play(episode, variant.calls)
                end = (self._fingerprint(episode), variant.answer)
                if end not in seen:
                    seen.add(end)
                    yield self._trial(task, "mutant", variant.what, variant.answer, episode, calls)
        for variant in equivalents.of(solution, tools):
            async with self._host.episode() as episode:
                calls = await self._host.play(episode, variant.calls)
                if self._fingerprint(episode) == wanted:
                    yield self._trial(task, "equivalent", variant.what, variant.answer, episode, calls)
        async for made in self._reordered(task, oracle, solution, wanted):
            yield made

    async def _reordered(
        self, task: model.Task, oracle: model.Oracle, solution: mutants.Solution, wanted: str
    ) -> AsyncIterator[Trial]:
        found = 0
        for what, other in equivalents.reordered(oracle):
            if found == _REORDERED:
                return
            async with self._host.episode() as episode:
                calls: list[hosting.Call] = []
                try:
                    answer = await self._play(episode, other, calls)
                except oracles.OracleError:
                    continue  # one call needs the other's reply
                same = self._fingerprint(episode) == wanted and answer == solution.answer
                if same and not any(call.failed for call in calls):
                    found += 1
                    yield self._trial(task, "equivalent", what, answer, episode, calls)

    def _outside(self, task: model.Task, trial: Trial) -> Iterator[Trial]:
        subject = self._host.subject
        solved = self._folder / trial.state
        changes = hosting.database.changes(subject.seed, solved)
        for what, path in outside.edits(solved, changes, subject.data, task.id):
            yield trial.model_copy(update={"kind": "outside", "what": what, "state": path.name})

    def _fingerprint(self, episode: episodes.Episode) -> str:
        return states.fingerprint(self._host.changes(episode), self._host.subject.data, self._bundle.clock)

    def _untouched(self) -> str:
        target = self._folder / "untouched.db"
        if not target.exists():
            shutil.copyfile(self._host.subject.seed, target)
        return target.name

    def _trial(
        self,
        task: model.Task,
        kind: Kind,
        what: str,
        answer: str | None,
        episode: episodes.Episode,
        calls: Sequence[hosting.Call],
    ) -> Trial:
        self._states += 1
        state = self._host.snapshot(episode, self._folder / f"{self._states}.db").name
        return Trial(
            task=task.id,
            kind=kind,
            what=what,
            answer=answer,
            state=state,
            calls=_lines(calls),
            diff=states.shown(self._host.changes(episode)),
        )


def _trace(calls: Sequence[hosting.Call]) -> dict[str, Any]:
    return {"trace": _lines(calls)} if calls else {}


def _lines(calls: Sequence[hosting.Call]) -> str:
    return "\n".join(f"{call.request()} -> {call.status or call.code}" for call in calls)[:1500]
