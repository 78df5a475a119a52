"""The verifier stage: a function per task, tried on the untouched database before it is believed."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from awm_generator import prompts
from awm_generator.awm_files import rows
from awm_generator.awm_files import verifiers as kinds
from awm_generator.model import language
from awm_generator.stages import asking, outcomes, running, trials
from awm_runtime import names

Mode = Literal["sql", "code"]

_FUNCTIONS: dict[Mode, str] = {"code": "verify_task_completion", "sql": "verify_task"}
_LOG = 1500


@dataclass(frozen=True)
class Facts:
    """A scenario's database, and what prompts say of it.

    Attributes:
        file: The database before any run.
        schema: Its schema as SQL.
        rows: Some of its rows.
    """

    file: Path
    schema: str
    rows: str

    @classmethod
    def of(cls, file: Path) -> Self:
        """Those of a database file.

        Raises:
            Quarantined: there is none, or it is no database.
        """
        if not file.is_file():
            raise outcomes.Quarantined(f"{file} is missing: the db and sample stages make it")
        try:
            return cls(file, trials.schema_of(file), trials.rows_of(file))
        except sqlite3.DatabaseError as exc:
            raise outcomes.Quarantined(f"{file} is no usable database: {exc}") from exc


async def generate(
    asked: rows.TasksRow, session: asking.Session, ran: trials.Trials, *, mode: Mode, file: Path
) -> outcomes.Outcome:
    """The verifiers of a scenario's tasks; a task whose verifier cannot be had is left out.

    Args:
        asked: The tasks.
        session: Who is asked.
        ran: Where they are tried.
        mode: Verdicts, or evidence for a judge.
        file: The scenario's database.

    Raises:
        Quarantined: there is no database, or not one of them could be had.
    """
    facts = await ran.beside(lambda: Facts.of(file))
    made = await running.all_of(
        _kept(asked.scenario, number, str(task), session, ran, mode, facts) for number, task in enumerate(asked.tasks)
    )
    found = tuple(each for each in made if isinstance(each, rows.VerifierRow))
    lost = tuple(each for each in made if isinstance(each, outcomes.Casualty))
    if not found and lost:
        raise outcomes.Quarantined(
            f"no task has a verifier; {lost[0].subject}: {lost[0].reason}", detail=lost[0].detail
        )
    return outcomes.Outcome(found, lost)


async def one(
    title: str,
    number: int,
    task: str,
    session: asking.Session,
    ran: trials.Trials,
    *,
    mode: Mode,
    facts: Facts,
    before: Sequence[language.Message] = (),
) -> rows.VerifierRow:
    """The verifier of one task.

    Args:
        title: Whose task it is.
        number: Its number.
        task: Its text.
        session: Who is asked.
        ran: Where it is tried.
        mode: A verdict, or evidence for a judge.
        facts: The database.
        before: What was said already: an earlier verifier, and what is wrong with it.

    Raises:
        Quarantined: no reply held.
    """
    messages = prompts.conversation(
        f"verifier_{mode}",
        title=title,
        number=number,
        task=task,
        schema=facts.schema,
        rows=facts.rows,
    )

    async def attempt(text: str) -> dict[str, Any]:
        source = asking.code(text)
        await check(source, ran, mode=mode, file=facts.file)
        return {"code": source, "raw_response": text}

    verification = await session.settle((*messages, *before), attempt)
    return rows.VerifierRow(
        scenario=names.normalise(title),
        task_idx=number,
        task=task,
        verification=rows.Verification.model_validate(verification),
    )


async def check(source: str, ran: trials.Trials, *, mode: Mode, file: Path) -> None:
    """Runs a verifier on the untouched database as both the one before and the one after.

    Raises:
        Broken: it defines nothing, fails, or rewards doing nothing.
        Quarantined: this machine cannot run it.
    """
    if kinds.mode(source) != mode:
        raise asking.Broken(f"The module is not Python that defines {_FUNCTIONS[mode]} at its top.")
    reply = await ran.verifier(source, mode, file, file)
    if reply.failure == "unavailable":
        raise outcomes.Quarantined(f"verifiers cannot be run here: {reply.detail}")
    if reply.failure is not None:
        said = f"\n{reply.log.strip()[-_LOG:]}" if reply.log.strip() else ""
        raise asking.Broken(f"On the untouched database the verifier fails ({reply.failure}): {reply.detail}{said}")
    if mode == "code" and reply.result and reply.result["result"] == "complete":
        raise asking.Broken(
            "The verifier says complete for the untouched database and no answer, so that doing nothing is rewarded. "
            f"It returned {reply.result}."
        )


async def _kept(
    title: str, number: int, task: str, session: asking.Session, ran: trials.Trials, mode: Mode, facts: Facts
) -> rows.VerifierRow | outcomes.Casualty:
    try:
        return await one(title, number, task, session, ran, mode=mode, facts=facts)
    except outcomes.Quarantined as exc:
        return outcomes.Casualty(f"task {number}", str(exc), exc.detail)
