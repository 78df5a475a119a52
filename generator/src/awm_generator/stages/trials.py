"""Where generated SQL, code and verifiers are run: on the frozen clock, confined, a few at a time."""

import asyncio
import dataclasses
import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeVar

from awm_generator.awm_files import probing
from awm_generator.gates import protocol, reports, running
from awm_runtime.bundle import database, model, statements, writing
from awm_runtime.verification import sandbox

_T = TypeVar("_T")

CODE_DEADLINE_S = 30.0
_ROWS_SHOWN = 8
_TEXT_SHOWN = 80
_MOST_SHOWN = 12_000


@dataclass(frozen=True)
class Refused:
    """A statement that SQLite refused."""

    table: str
    statement: str
    error: str


class Trials:
    """Runs what was generated, in threads and processes beside the event loop.

    Args:
        code_deadline_s: How long code may take to load.
    """

    def __init__(self, *, code_deadline_s: float = CODE_DEADLINE_S) -> None:
        self._slots = asyncio.Semaphore(max(2, os.cpu_count() or 2))
        self._code_deadline_s = code_deadline_s
        self._workers = running.Workers()
        self._judge: tuple[subprocess.Popen[bytes], sandbox.Judge] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._workers.close)
        if self._judge is not None:
            process, judge = self._judge
            self._judge = None
            await judge.aclose()
            await asyncio.to_thread(process.wait)

    async def beside(self, work: Callable[[], _T]) -> _T:
        """Runs something that blocks in a thread; few such run at a time."""
        async with self._slots:
            return await asyncio.to_thread(work)

    async def code(self, bundle: model.Bundle) -> probing.Probe:
        """Whether a bundle's code loads, and its tools."""
        return await self.beside(lambda: _probed(bundle, self._code_deadline_s))

    async def gated(self, made: Callable[[Path], Path], level: protocol.Level) -> reports.GateReport:
        """What the gates say of a bundle.

        Args:
            made: Makes it in the folder that it is given.
            level: How far.

        Raises:
            WorkerGone: their process was ended from outside, as by Ctrl-C; the bundle is not to blame.
        """
        return await self.beside(lambda: _gated(made, level, self._workers))

    async def verifier(
        self, source: str, mode: Literal["code", "sql"], before: Path, after: Path, *, answer: str | None = None
    ) -> sandbox.JudgeReply:
        """What a verifier says about two databases, in the judge's confinement."""
        if self._judge is None:
            process, sock = sandbox.spawn()
            self._judge = process, sandbox.Judge(sock)
        request = sandbox.JudgeRequest(source=source, mode=mode, initial=before, final=after, answer=answer)
        return await self._judge[1].run(request)


def run(
    texts: Iterable[tuple[str, str]], clock: datetime, *, after: Iterable[str] = ()
) -> tuple[list[tuple[str, str]], list[Refused], tuple[database.Violation, ...]]:
    """Runs statements, each with the table that it is about, with foreign keys enforced.

    Args:
        texts: Tables and statements.
        clock: The frozen clock.
        after: Statements that go before, and work.

    Returns:
        Those that worked, those that did not, and rows that refer to nothing.
    """
    worked: list[tuple[str, str]] = []
    refused: list[Refused] = []
    with statements.memory(clock, "on") as connection:
        for statement in after:
            statements.run(connection, statement)
        for table, text in texts:
            pieces = list(statements.split(text))
            problems = [error for piece in pieces if (error := statements.run(connection, piece)) is not None]
            if problems or not pieces:
                refused.append(Refused(table, text, problems[0] if problems else "holds no statement"))
            else:
                worked.append((table, text))
        return worked, refused, database.inspect(connection).violations


def schema_of(path: Path) -> str:
    """The schema of a database file as SQL."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        found = connection.execute(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
        )
        return "".join(f"{sql};\n" for (sql,) in found)


def rows_of(path: Path) -> str:
    """Some rows of each table of a database file, as text for a prompt."""
    parts = []
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        listed = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
        )
        for (table,) in listed.fetchall():
            name = statements.quoted(table)
            [count] = connection.execute(f"SELECT count(*) FROM {name}").fetchone()  # noqa: S608 - quoted
            some = connection.execute(f"SELECT * FROM {name} LIMIT {_ROWS_SHOWN}")  # noqa: S608 - quoted
            columns = " | ".join(each[0] for each in some.description)
            lines = [" | ".join(_short(value) for value in row) for row in some]
            parts.append("\n".join((f"{table} ({count} rows): {columns}", *lines)))
    return "\n\n".join(parts)[:_MOST_SHOWN]


def _short(value: object) -> str:
    text = "NULL" if value is None else str(value)
    return text if len(text) <= _TEXT_SHOWN else f"{text[:_TEXT_SHOWN]}..."


def _gated(made: Callable[[Path], Path], level: protocol.Level, workers: running.Workers) -> reports.GateReport:
    with tempfile.TemporaryDirectory(prefix="awm-gated-") as scratch, workers.one() as worker:
        return worker.gate(made(Path(scratch)), level)


def _probed(bundle: model.Bundle, deadline_s: float) -> probing.Probe:
    with tempfile.TemporaryDirectory(prefix="awm-trial-") as scratch:
        root = Path(scratch, bundle.scenario.name)
        writing.write(dataclasses.replace(bundle, root=root), root)
        return probing.probe(root, deadline_s)
