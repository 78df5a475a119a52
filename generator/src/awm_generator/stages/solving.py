"""The oracle stage: calls that solve each task, played in a real episode, judged, and mended where that is to blame."""

import asyncio
import contextlib
import dataclasses
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pydantic

from awm_generator import oracles, prompts
from awm_generator.awm_files import rows
from awm_generator.stages import (
    asking,
    environments,
    outcomes,
    playing,
    proving,
    publishing,
    trials,
    verifiers,
)
from awm_runtime.bundle import database, model
from awm_runtime.verification import sandbox

_MOST_TOOLS = 16_000
_SHOWN_ORACLE = 6_000


class _Calls(pydantic.BaseModel):
    calls: tuple[model.OracleCall, ...]
    answer: Any = None

    def oracle(self) -> model.Oracle:
        return model.Oracle(calls=self.calls, answer=self.answer)


class _Blame(_Calls):
    blame: Literal["calls", "verifier", "task", "code"]
    reason: str
    replacement: str = ""


@dataclass
class _World:
    """A scenario while its tasks are solved, with what was mended so far."""

    originals: rows.Originals
    facts: verifiers.Facts
    sources: dict[int, str]
    tools: Sequence[dict[str, Any]]
    host: playing.Host
    tasks: dict[int, str]
    repairs: dict[str, Any] = field(default_factory=lambda: {"tasks": {}, "verifiers": {}, "full_code": None})


class _CodeToBlame(Exception):
    """The service breaks its specification; the text says how."""


class Solver:
    """Solves the tasks of one scenario.

    Args:
        originals: Its rows.
        session: Who is asked.
        ran: Where things are tried.
        gates: What mended code has to pass, and verifiers at the end.
        file: Its database.
    """

    def __init__(
        self,
        originals: rows.Originals,
        session: asking.Session,
        ran: trials.Trials,
        gates: proving.Gates,
        *,
        file: Path,
    ) -> None:
        self._originals, self._session, self._ran, self._gates, self._file = originals, session, ran, gates, file

    async def solve(self) -> outcomes.Outcome:
        """The oracles of all tasks that could be solved.

        Where code is to blame it is mended, and all tasks are solved again on the new code: replies that were given
        before come out of the cache.

        Raises:
            Quarantined: the scenario cannot be served.
        """
        code: str | None = None
        for _ in range(self._session.max_retry + 1):
            try:
                async with self._world(code) as world:
                    return await self._all(world, code, blame_code=True)
            except _CodeToBlame as exc:
                try:
                    code = await self._mended_code(code, str(exc))
                except outcomes.Quarantined:
                    break
        async with self._world(code) as world:
            return await self._all(world, code, blame_code=False)

    async def _all(self, world: _World, code: str | None, *, blame_code: bool) -> outcomes.Outcome:
        world.repairs["full_code"] = code
        solved: list[rows.Solution] = []
        lost: list[outcomes.Casualty] = []
        for number in sorted(world.tasks):
            try:
                oracle = await self._task(world, number, blame_code=blame_code)
            except outcomes.Quarantined as exc:
                lost.append(outcomes.Casualty(f"task {number}", str(exc), exc.detail))
            else:
                solved.append(rows.Solution(task_idx=number, oracle=oracle))
        lost += await self._proven(world, solved)
        return outcomes.Outcome((self._row(world, solved),), tuple(lost))

    def _row(self, world: _World, solved: Sequence[rows.Solution]) -> rows.OracleRow:
        repairs = rows.Repairs.model_validate(world.repairs)
        return rows.OracleRow(scenario=self._originals.title, oracles=tuple(solved), repairs=repairs)

    async def _proven(self, world: _World, solved: Sequence[rows.Solution]) -> list[outcomes.Casualty]:
        """Mends verifiers until the gates agree with what they say, or the tries are used up; what is left of that."""
        known = {each.task_idx: each.oracle for each in solved}
        wrong = await self._gates.verifiers(self._row(world, solved))
        for tried in range(self._session.max_retry):
            for number, problem in wrong.items():
                with contextlib.suppress(outcomes.Quarantined):  # the gates go on saying what is wrong with it
                    source = await self._reconsidered(world, number, problem, known.get(number), tried)
                    world.sources[number] = world.repairs["verifiers"][number] = source
            if not wrong:
                return []
            wrong = await self._gates.verifiers(self._row(world, solved))
        return [
            outcomes.Casualty(f"verifier {number}", problem.splitlines()[1][:300], problem)
            for number, problem in wrong.items()
        ]

    async def _reconsidered(
        self, world: _World, number: int, problem: str, oracle: model.Oracle | None, tried: int
    ) -> str:
        """Another verifier of a task, which still accepts its oracle.

        Raises:
            Quarantined: no reply held.
        """
        session = dataclasses.replace(self._session, salt=f"{self._session.salt} proof {tried + 1}".strip())
        row = await verifiers.one(
            self._originals.title,
            number,
            world.tasks[number],
            session,
            self._ran,
            mode="code",
            facts=world.facts,
            before=asking.refuted(world.sources[number], problem),
        )
        source = row.verification.code or ""
        if oracle is not None:
            played = await self._ran.beside(lambda: world.host.play(oracle, str(number)))
            complaint = await self._complaint(source, played)
            if complaint is not None:
                raise outcomes.Quarantined(f"it no longer accepts the oracle: {complaint}")
        return source

    async def _task(self, world: _World, number: int, *, blame_code: bool) -> model.Oracle:
        """The oracle of one task.

        Raises:
            Quarantined: it could not be solved.
            _CodeToBlame: the code has to change first.
        """
        if number not in world.sources:
            raise outcomes.Quarantined("it has no code mode verifier to be judged by")
        task = world.tasks[number]
        messages = prompts.conversation(
            "oracle",
            title=self._originals.title,
            number=number,
            task=task,
            tools=_described(world.tools),
            rows=world.facts.rows,
        )

        async def first(text: str) -> model.Oracle:
            return _written(asking.parsed(text, _Calls), world.tools)

        oracle = await self._session.settle(messages, first, shape=asking.shape(_Calls, strict=False))
        said = ""
        for _ in range(self._session.max_retry + 1):
            played = await self._ran.beside(lambda oracle=oracle: world.host.play(oracle, str(number)))  # type: ignore[misc]
            complaint = await self._complaint(world.sources[number], played)
            if complaint is None:
                return oracle
            said = complaint
            oracle = await self._repaired(world, number, oracle, played, complaint, blame_code=blame_code)
        raise outcomes.Quarantined(f"no solution was accepted: {said.splitlines()[0][:300]}", detail=said)

    async def _complaint(self, source: str, played: playing.Played) -> str | None:
        """Why a play is no proof; None where it is one."""
        if played.stopped:
            return f"the calls stop: {played.stopped}"
        reply = await self._ran.verifier(source, "code", played.before, played.after, answer=played.answer)
        if reply.result is not None and reply.result["result"] == "complete":
            return None
        return f"the verifier says: {_said(reply)}"

    async def _repaired(
        self,
        world: _World,
        number: int,
        oracle: model.Oracle,
        played: playing.Played,
        complaint: str,
        *,
        blame_code: bool,
    ) -> model.Oracle:
        """The next oracle to try, after what is to blame was mended."""
        messages = prompts.conversation(
            "oracle_repair",
            title=self._originals.title,
            number=number,
            task=world.tasks[number],
            oracle=oracle.model_dump_json(exclude_none=True)[:_SHOWN_ORACLE],
            evidence=f"{played.evidence()}\n{complaint}",
            verifier=world.sources[number],
            tools=_described(world.tools),
        )

        async def attempt(text: str) -> tuple[_Blame, model.Oracle]:
            blame = asking.parsed(text, _Blame)
            if blame.blame != "calls" and not blame.replacement.strip():
                raise asking.Broken(f"`blame` is {blame.blame}, and `replacement` is empty.")
            if blame.blame == "verifier":
                await verifiers.check(asking.code(blame.replacement), self._ran, mode="code", file=world.facts.file)
            return blame, _written(blame, world.tools)

        blame, fresh = await self._session.settle(messages, attempt, shape=asking.shape(_Blame, strict=False))
        if blame.blame == "code":
            if not blame_code:
                raise outcomes.Quarantined(f"the code is to blame, and could not be mended: {blame.reason}")
            raise _CodeToBlame(f"{blame.replacement}\n\nSeen when this was tried:\n{played.evidence()}")
        if blame.blame == "verifier":
            world.sources[number] = world.repairs["verifiers"][number] = asking.code(blame.replacement)
        elif blame.blame == "task":
            await self._reworded(world, number, blame.replacement.strip())
        return fresh

    async def _reworded(self, world: _World, number: int, task: str) -> None:
        """Gives a task another text, and the verifier that goes with it."""
        row = await verifiers.one(
            self._originals.title, number, task, self._session, self._ran, mode="code", facts=world.facts
        )
        world.tasks[number] = world.repairs["tasks"][number] = task
        world.sources[number] = world.repairs["verifiers"][number] = row.verification.code or ""

    async def _mended_code(self, code: str | None, problem: str) -> str:
        environment = self._originals.row(rows.EnvRow)
        spec, schema = self._originals.row(rows.SpecRow), self._originals.row(rows.DbRow)
        assert environment is not None
        if spec is None or schema is None:
            raise outcomes.Quarantined("there is no specification to write the code by")
        row = await environments.mended(
            code or environment.full_code,
            problem,
            spec,
            schema,
            self._session,
            self._ran,
            gates=self._gates,
            file=self._file,
        )
        return row.full_code

    @contextlib.asynccontextmanager
    async def _world(self, code: str | None) -> AsyncIterator[_World]:
        """An instance of the scenario, with `code` in place of its own where that is given."""
        repairs = rows.Repairs(full_code=code)
        row = rows.OracleRow(scenario=self._originals.title, oracles=(), repairs=repairs)
        with tempfile.TemporaryDirectory(prefix="awm-oracle-") as name:
            folder = Path(name)
            root = folder / self._originals.name
            maker = publishing.Maker(model=self._session.model.name)
            originals = rows.with_oracles(self._originals, row)
            bundle = await self._ran.beside(lambda: publishing.served(publishing.draft(originals, root, maker)))
            facts = await self._ran.beside(lambda: verifiers.Facts.of(_database(bundle, folder / "seed.db")))
            async with _hosted(bundle.root, folder / "plays") as host:
                sources = {int(task): text for (task, mode), text in bundle.verifiers.items() if mode == "code"}
                tasks = {int(task.id): task.instruction for task in bundle.tasks}
                yield _World(self._originals, facts, sources, [dict(tool) for tool in bundle.tools], host, tasks)


@contextlib.asynccontextmanager
async def _hosted(bundle: Path, folder: Path) -> AsyncIterator[playing.Host]:
    """An instance that is started and stopped in a thread."""
    hosting = playing.hosted(bundle, folder)
    starting = asyncio.ensure_future(asyncio.to_thread(hosting.__enter__))
    try:
        host = await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait([starting])  # what is being started has to be stopped
        if starting.exception() is None:
            await asyncio.to_thread(hosting.__exit__, None, None, None)
        raise
    try:
        yield host
    finally:
        await asyncio.to_thread(hosting.__exit__, None, None, None)


def _database(bundle: model.Bundle, file: Path) -> Path:
    database.build(bundle.schema_sql, bundle.seed_sql, bundle.clock, file, bundle.scenario.foreign_keys)
    return file


def _written(calls: _Calls, tools: Sequence[dict[str, Any]]) -> model.Oracle:
    """The oracle that a reply holds.

    Raises:
        Broken: as it is written it cannot be played.
    """
    oracle = calls.oracle()
    if not oracle.calls and oracle.answer is None:
        raise asking.Broken("There is neither a call nor an answer.")
    slips = oracles.slips(oracle, tools)
    if slips:
        raise asking.Broken(asking.summary("The calls cannot be made", slips))
    return oracle


def _said(reply: sandbox.JudgeReply) -> str:
    if reply.result is None:
        return f"nothing, it failed ({reply.failure}): {reply.detail}"
    failed = [name for name, holds in (reply.result.get("checks") or {}).items() if not holds]
    return f"{reply.result['result']}{f'; checks that do not hold: {chr(44).join(failed)}' if failed else ''}"


def _described(tools: Sequence[dict[str, Any]]) -> str:
    """The tools as a list for a prompt."""
    lines = []
    for tool in tools:
        schema = tool.get("inputSchema", {})
        required = set(schema.get("required", ()))
        parameters = ", ".join(
            f"{name}{'*' if name in required else ''}: {_kind(value)}"
            for name, value in schema.get("properties", {}).items()
        )
        lines.append(f"- {tool['name']}({parameters}): {' '.join(str(tool.get('description', '')).split())}")
    return "\n".join(lines)[:_MOST_TOOLS]


def _kind(schema: dict[str, Any]) -> str:
    options = schema.get("enum")
    if options:
        return "|".join(map(str, options))
    kinds = [each.get("type", "any") for each in schema.get("anyOf", ())] or [schema.get("type", "any")]
    return "|".join(str(kind) for kind in kinds if kind != "null")
