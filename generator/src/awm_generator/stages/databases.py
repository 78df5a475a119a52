"""The db and sample stages: a schema that the tasks need, and rows that every task can be done with."""

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from awm_generator import prompts
from awm_generator.awm_files import databases, dates, rows, wall_clock
from awm_generator.stages import appending, asking, row_files, tasks, trials
from awm_runtime.bundle import database

_WRITES_ROWS = ("insert", "replace")


class _Table(asking.Reply):
    name: str
    ddl: str
    indexes: tuple[str, ...]


class _Schema(asking.Reply):
    tables: tuple[_Table, ...]


class _TableRows(asking.Reply):
    table_name: str
    reasoning: str
    insert_statements: tuple[str, ...]


class _Sample(asking.Reply):
    tables: tuple[_TableRows, ...]


async def schema(
    asked: rows.TasksRow, session: asking.Session, ran: trials.Trials, *, tolerance: float, file: Path
) -> rows.DbRow:
    """The schema of a scenario; its database is built as `file`, still without rows.

    Args:
        asked: The tasks.
        session: Who is asked.
        ran: Where it is tried.
        tolerance: The share of statements that may fail and are left out.
        file: The database.

    Raises:
        Quarantined: no reply held.
    """
    moment = clock(asked)
    messages = prompts.conversation(
        "db",
        title=asked.scenario,
        brief=tasks.wished(row_files.carried(asked, "brief")),
        tasks=asking.numbered(asked.tasks),
    )

    async def attempt(text: str) -> list[dict[str, Any]]:
        given = asking.parsed(text, _Schema).tables
        if not given:
            raise asking.Broken("There is no table.")
        listed = [(table.name, sql) for table in given for sql in (table.ddl, *table.indexes)]
        worked = await _worked(ran, listed, moment, tolerance)
        return [
            {
                "name": table.name,
                "ddl": table.ddl,
                "indexes": [sql for sql in table.indexes if (table.name, sql) in worked],
            }
            for table in given
            if (table.name, table.ddl) in worked
        ]

    made = await session.settle(messages, attempt, shape=asking.shape(_Schema))
    row = rows.DbRow(scenario=asked.scenario, db_schema=rows.Schema(tables=tuple(made)), db_path=str(file))
    await ran.beside(lambda: built(row, None, moment, file))
    return row


async def sample(
    asked: rows.TasksRow,
    existing: rows.DbRow,
    session: asking.Session,
    ran: trials.Trials,
    *,
    tolerance: float,
    file: Path,
) -> rows.SampleRow:
    """The rows of a scenario; its database is built as `file`.

    Args:
        asked: The tasks.
        existing: The schema.
        session: Who is asked.
        ran: Where it is tried.
        tolerance: The share of inserts that may fail and are left out.
        file: The database.

    Raises:
        Quarantined: no reply held.
    """
    moment = clock(asked)
    tables = [sql for _, sql in databases.schema_statements(existing)]
    messages = prompts.conversation(
        "sample", title=asked.scenario, tasks=asking.numbered(asked.tasks), schema=databases.joined(tables)
    )

    async def attempt(text: str) -> list[dict[str, Any]]:
        given = asking.parsed(text, _Sample).tables
        listed = [(table.table_name, sql) for table in given for sql in table.insert_statements]
        _refuse_other_statements(listed)
        worked = await _worked(ran, listed, moment, tolerance, after=tables)
        return [
            {
                **table.model_dump(),
                "insert_statements": [sql for sql in table.insert_statements if (table.table_name, sql) in worked],
            }
            for table in given
        ]

    made = await session.settle(messages, attempt, shape=asking.shape(_Sample))
    row = rows.SampleRow(
        scenario=asked.scenario,
        sample_data=rows.Samples(tables=tuple(made)),
        tables_count=len(made),
        inserts_count=sum(len(table["insert_statements"]) for table in made),
    )
    await ran.beside(lambda: built(existing, row, moment, file))
    return row


def clock(asked: rows.TasksRow | None) -> datetime:
    """When a scenario plays, by its tasks."""
    return dates.clock(map(str, asked.tasks if asked else ()), ())


def built(schema: rows.DbRow, sample: rows.SampleRow | None, moment: datetime, file: Path) -> database.BuildReport:
    """Builds the database file of two rows.

    Raises:
        GenerationError: the disk does not take it.
    """
    tables = databases.joined(text for _, text in databases.schema_statements(schema))
    inserts = databases.joined(text for _, text in databases.sample_statements(sample))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return database.build(tables, inserts, moment, file, "on")
    except (OSError, sqlite3.OperationalError) as exc:  # SQLite says it in words of its own
        raise appending.unwritable(file, str(exc)) from exc


async def _worked(
    ran: trials.Trials,
    listed: Sequence[tuple[str, str]],
    moment: datetime,
    tolerance: float,
    *,
    after: Iterable[str] = (),
) -> set[tuple[str, str]]:
    """The statements that work, where those that do not are few enough.

    Raises:
        Broken: too many fail, or rows refer to nothing.
    """
    if not listed:
        raise asking.Broken("There is no statement.")
    worked, refused, violations = await ran.beside(lambda: trials.run(listed, moment, after=after))
    if len(refused) > tolerance * len(listed):
        problems = [f"{each.table}: {each.error}: {each.statement[:200]}" for each in refused]
        raise asking.Broken(asking.summary(f"{len(refused)} of {len(listed)} statements fail", problems))
    if violations and not tolerance:
        problems = [
            f"{each.table}: {each.rows} row(s) refer to rows of {each.parent} that are not there"
            if each.parent
            else f"{each.table}: a foreign key leads to no PRIMARY KEY or UNIQUE column of its parent"
            for each in violations
        ]
        raise asking.Broken(asking.summary("Foreign keys do not hold", problems))
    return set(worked)


def _refuse_other_statements(listed: Iterable[tuple[str, str]]) -> None:
    texts = list(listed)
    problems = [
        f"{table}: is no INSERT: {sql[:100]}"
        for table, sql in texts
        if not sql.lstrip().lower().startswith(_WRITES_ROWS)
    ]
    if problems:
        raise asking.Broken(asking.summary("Only INSERT statements may be given", problems))
    if clocked := wall_clock.in_seed(databases.joined(sql for _, sql in texts)):
        raise asking.Broken(f"Rows have to be the same on every day: {clocked[0].detail}. Write the moments out.")
