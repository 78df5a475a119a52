"""Schema and seed of an import: every statement is tried, mended where that is unambiguous, dropped where it fails."""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from awm_generator.awm_files import mending, rows
from awm_runtime.bundle import database, model, statements

_Part = rows.Table | rows.TableSample | rows.Misfit


@dataclass(frozen=True)
class Database:
    """The SQL of an import that works, what became of the rest, and what it builds."""

    schema_sql: str
    seed_sql: str
    report: database.BuildReport
    findings: tuple[model.Finding, ...]


def usable(schema: rows.DbRow, sample: rows.SampleRow | None, clock: datetime) -> Database:
    """The SQL of two rows, reduced to what works on the frozen clock with foreign keys off."""
    findings = [*_unusable("db", _tables(schema)), *_unusable("sample", _samples(sample))]
    with statements.memory(clock, "off") as connection:
        schema_sql = joined(_tried(connection, schema_statements(schema), "db", findings))
        seed_sql = joined(_tried(connection, sample_statements(sample), "sample", findings))
        report = database.inspect(connection)
    findings += [_violation(violation) for violation in report.violations]
    return Database(schema_sql, seed_sql, report, tuple(findings))


def schema_statements(row: rows.DbRow) -> Iterator[tuple[str, str]]:
    """The DDL of a row with the tables that it is for; what is of no use is left out."""
    return _texts(_tables(row))


def sample_statements(row: rows.SampleRow | None) -> Iterator[tuple[str, str]]:
    """The inserts of a row with the tables that they are for; what is of no use is left out."""
    return _texts(_samples(row))


def joined(texts: Iterable[str]) -> str:
    """Statements as the text of a file."""
    return "".join(f"{ended(text)}\n" for text in texts)


def ended(statement: str) -> str:
    """`statement` with a semicolon at its end, where a comment does not swallow it."""
    text = statement.strip()
    if sqlite3.complete_statement(text):
        return text
    return f"{text};" if sqlite3.complete_statement(f"{text};") else f"{text}\n;"


def _tables(row: rows.DbRow) -> Iterator[rows.Table | rows.Misfit]:
    return rows.parts(row.db_schema.tables, rows.Table)


def _samples(row: rows.SampleRow | None) -> Iterator[rows.TableSample | rows.Misfit]:
    return rows.parts(row.sample_data.tables if row else (), rows.TableSample)


def _texts(parts: Iterable[_Part]) -> Iterator[tuple[str, str]]:
    for part in parts:
        if not isinstance(part, rows.Misfit):
            yield from ((part.name, text) for text in part.statements if isinstance(text, str))


def _unusable(stage: str, parts: Iterable[_Part]) -> Iterator[model.Finding]:
    """A finding for each entry that is left out."""
    for part in parts:
        if isinstance(part, rows.Misfit):
            complaints = [part.complaint]
        else:
            others = [number for number, text in enumerate(part.statements) if not isinstance(text, str)]
            complaints = [f"statement {number} of this table is no text" for number in others]
        for complaint in complaints:
            yield model.Finding(
                kind="unusable_entry", stage=stage, subject=part.name, action="dropped", detail=complaint
            )


def _tried(
    connection: sqlite3.Connection, texts: Iterable[tuple[str, str]], stage: str, findings: list[model.Finding]
) -> Iterator[str]:
    for number, (table, text) in enumerate(texts):
        for statement in _pieces(connection, text):
            error = statements.run(connection, statement)
            if error is None:
                yield statement
                continue
            place = f"statement {number} ({statement[:60]!r}...)"
            mend = mending.mend(statement, lambda reading: _compiles(connection, reading))
            if mend is not None and statements.run(connection, mend.statement) is None:
                detail = f"{place}: {mend.detail} ({error})"
                findings.append(
                    model.Finding(kind=mend.kind, stage=stage, subject=table, action="mended", detail=detail)
                )
                yield mend.statement
            else:
                findings.append(
                    model.Finding(
                        kind="statement_failed",
                        stage=stage,
                        subject=table,
                        action="dropped",
                        detail=f"{place}: {error}",
                    )
                )


def _pieces(connection: sqlite3.Connection, text: str) -> list[str]:
    """The statements in `text`; all of it where a slip in the quotes made a semicolon look like an end."""
    pieces = list(statements.split(text))
    if len(pieces) > 1 and not _compiles(connection, pieces[0]):
        whole = text.strip()
        return [whole] if mending.mend(whole, lambda reading: _compiles(connection, reading)) else pieces
    return pieces


def _compiles(connection: sqlite3.Connection, statement: str) -> bool:
    """Whether a statement could run: it parses, and its tables, columns and number of values fit."""
    return len(list(statements.split(statement))) == 1 and statements.run(connection, f"EXPLAIN {statement}") is None


def _violation(violation: database.Violation) -> model.Finding:
    detail = (
        f"{violation.rows} row(s) refer to rows of {violation.parent} that are not there"
        if violation.parent
        else f"a foreign key of this table leads to no key; {violation.rows} row(s) are unchecked"
    )
    return model.Finding(kind="foreign_key_violation", stage="sample", subject=violation.table, detail=detail)
