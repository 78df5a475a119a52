"""What the server answers: the rows of AWM files and of bundles, in the shapes that the prompts ask for."""

import functools
import hashlib
import importlib.resources
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from awm_generator import errors
from awm_generator.awm_files import exporting, rows, verifiers
from awm_generator.double import jobs
from awm_runtime import names
from awm_runtime.bundle import model, reading

_CATEGORIES = 25


@functools.cache
def _inventions() -> tuple[list[str], list[str]]:
    """Words to make up services from: places and trades."""
    text = importlib.resources.files(__package__).joinpath("inventions.json").read_text(encoding="utf-8")
    words = json.loads(text)
    return words["places"], words["trades"]


@dataclass(frozen=True)
class Script:
    """The rows of one scenario, and its oracles by task number."""

    originals: rows.Originals
    oracles: Mapping[int, model.Oracle]


class Scripts:
    """All scripts by normalised name. A scenario without one is answered with another's, chosen by its name.

    Args:
        found: The scripts; there has to be one.

    Raises:
        GenerationError: there is none.
    """

    def __init__(self, found: Mapping[str, Script]) -> None:
        if not found:
            raise errors.GenerationError("there is nothing to answer from: name a folder of AWM files, or of bundles")
        self._found = dict(found)
        self._order = list(self._found.values())

    def __len__(self) -> int:
        return len(self._found)

    def answer(self, job: jobs.Job) -> str:
        """The text that a job is answered with."""
        if job.kind not in _ANSWERS:
            return f"This server answers AWM's own prompts only, and this is none of them ({job.kind or 'no job'})."
        text = _ANSWERS[job.kind](self._of(job.title), job)
        return text.removeprefix(job.partial) if job.partial else text

    def _of(self, title: str) -> Script:
        name = names.normalise(title)
        return self._found.get(name) or self._order[_drawn(name) % len(self._order)]


def load(folders: Iterable[Path]) -> dict[str, Script]:
    """The scripts in some folders: of AWM files, bundles, or bundles in them.

    Raises:
        BundleError: there is none in one of them, or a file is broken.
    """
    found: dict[str, Script] = {}
    for folder in folders:
        if (folder / rows.REQUIRED[0]).exists():
            found |= {name: Script(originals, {}) for name, originals in rows.load(folder).items() if originals.exists}
            continue
        bundles = (
            [folder]
            if (folder / "scenario.json").exists()
            else sorted(path.parent for path in folder.glob("*/scenario.json"))
        )
        if not bundles:
            # Says what is missing, in the importer's words.
            rows.load(folder)
        found |= {each.name: _of_bundle(reading.read(each)) for each in bundles}
    return found


def _of_bundle(bundle: model.Bundle) -> Script:
    oracles = {number: task.oracle for number, task in enumerate(bundle.tasks) if task.oracle is not None}
    return Script(exporting.as_rows(bundle), oracles)


def _classify(_: Script, job: jobs.Job) -> str:
    verdicts = [
        {
            "name": item["name"],
            "suitable": True,
            "category": item.get("category") or f"trade {_drawn(item['name']) % _CATEGORIES}",
            "description": item.get("description") or f"People use {item['name']} to look after their affairs.",
            "reason": "records all the way",
        }
        for item in job.items
    ]
    return _json({"verdicts": verdicts})


def _grow(_: Script, job: jobs.Job) -> str:
    start = _drawn(json.dumps(job.items, sort_keys=True))
    places, trades = _inventions()
    scenarios = []
    for number in range(start, start + 7 * job.count, 7):
        place, trade = places[number % len(places)], trades[number // len(places) % len(trades)]
        description = f"Members arrange {trade.lower()} at {place} and follow what becomes of it."
        category = f"trade {_drawn(trade) % _CATEGORIES}"
        scenarios.append({"name": f"{place} {trade}", "description": description, "category": category})
    return _json({"scenarios": scenarios})


def _brief(script: Script, _: jobs.Job) -> str:
    row = script.originals.row(rows.ScenarioRow)
    return _json({"name": script.originals.title, "description": row.description if row else ""})


def _task(script: Script, job: jobs.Job) -> str:
    row = script.originals.row(rows.TasksRow)
    return _json({"tasks": list(row.tasks)[: job.count or None] if row else []})


def _db(script: Script, _: jobs.Job) -> str:
    row = script.originals.row(rows.DbRow)
    tables = rows.parts(row.db_schema.tables, rows.Table) if row else ()
    return _json(
        {
            "tables": [
                {"name": table.name, "ddl": table.ddl, "indexes": list(table.indexes)}
                for table in tables
                if not isinstance(table, rows.Misfit)
            ]
        }
    )


def _sample(script: Script, _: jobs.Job) -> str:
    row = script.originals.row(rows.SampleRow)
    tables = rows.parts(row.sample_data.tables, rows.TableSample) if row else ()
    return _json(
        {
            "tables": [
                {"table_name": each.name, "reasoning": str(each.reasoning), "insert_statements": list(each.statements)}
                for each in tables
                if not isinstance(each, rows.Misfit)
            ]
        }
    )


def _spec(script: Script, _: jobs.Job) -> str:
    row = script.originals.row(rows.SpecRow)
    return _json(row.api_spec if row else {"api_groups": []})


def _env(script: Script, _: jobs.Job) -> str:
    row = script.originals.row(rows.EnvRow)
    return _python(row.full_code if row else "")


def _verifier(script: Script, job: jobs.Job) -> str:
    wanted = "code" if job.kind == "verifier_code" else "sql"
    for row in script.originals.verifiers:
        if row.task_idx == job.number and verifiers.mode(row.verification.code or "") == wanted:
            return _python(row.verification.code or "")
    return _python(_EVIDENCE if wanted == "sql" else _NEVER)


def _oracle(script: Script, job: jobs.Job) -> str:
    oracle = script.oracles.get(job.number)
    return _json(oracle.model_dump(mode="json") if oracle else {"calls": [], "answer": None})


def _oracle_repair(script: Script, job: jobs.Job) -> str:
    oracle = script.oracles.get(job.number)
    mended = oracle.model_dump(mode="json") if oracle else {"calls": [], "answer": None}
    return _json({"blame": "calls", "reason": "the calls were not the right ones", "replacement": "", **mended})


_ANSWERS: dict[str, Callable[[Script, jobs.Job], str]] = {
    "classify": _classify,
    "grow": _grow,
    "brief": _brief,
    "task": _task,
    "db": _db,
    "sample": _sample,
    "spec": _spec,
    "env": _env,
    "verifier_code": _verifier,
    "verifier_sql": _verifier,
    "oracle": _oracle,
    "oracle_repair": _oracle_repair,
}

_NEVER = '''"""Judges a task that no script has a verifier for."""


def verify_task_completion(initial_db_path, final_db_path, final_answer=None):
    """Never complete."""
    return {"result": "others"}
'''

_EVIDENCE = '''"""Evidence for a judge: how many rows each table has, before and after."""

import sqlite3


def counts(path):
    """Rows by table."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        names = [name for (name,) in found.fetchall()]
        return {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}
    finally:
        connection.close()


def verify_task(initial_db_path, final_db_path):
    """The counts before and after."""
    return {"before": counts(initial_db_path), "after": counts(final_db_path)}
'''


def _drawn(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode(errors="surrogatepass")).digest()[:6])


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _python(source: str) -> str:
    return f"```python\n{source.rstrip()}\n```\n"
