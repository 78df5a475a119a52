"""Exports bundles as AWM's JSON Lines files, with a sidecar for what these cannot carry."""

import contextlib
import json
import tempfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from awm_generator.awm_files import rows, sidecars
from awm_runtime import errors
from awm_runtime.bundle import model, statements

ALL = (*(name for name in rows.KINDS if name != rows.ORACLES), *rows.VERIFIERS)
"""The names of the files. Oracles are in the sidecar."""


def export(bundles: Iterable[model.Bundle], out: Path, names: Collection[str] = ALL) -> None:
    """Writes the files of `bundles` with these names into the folder `out`, in place of those that are there.

    Raises:
        BundleError: two bundles are of one scenario, or the disk refuses the files.
    """
    roots: dict[str, Path] = {}
    try:
        with _replacing(out, names) as files:
            for bundle in bundles:
                name = bundle.scenario.name
                if name in roots:
                    raise errors.BundleError(
                        f"{bundle.root}: is scenario {name}, as {roots[name]} is; the files hold one of a name"
                    )
                roots[name] = bundle.root
                for file, text in _lines(bundle, names):
                    files[file].write(f"{text}\n".encode())
    except OSError as exc:
        raise errors.BundleError(f"{out}: cannot be written: {exc.strerror}") from exc


def _lines(bundle: model.Bundle, names: Collection[str]) -> Iterator[tuple[str, str]]:
    """The lines of a bundle in these files, each with the file that it belongs to."""
    originals = as_rows(bundle)
    if rows.SIDECAR in names:
        originals.single[rows.SIDECAR] = sidecars.row_for(bundle, originals)
    for file, row in originals.single.items():
        if file in names:
            yield file, row.model_dump_json(by_alias=True)
    for (_, mode), verifier in zip(sorted(bundle.verifiers), originals.verifiers, strict=True):
        if (file := rows.VERIFIERS[mode == "code"]) in names:
            yield file, verifier.model_dump_json()


@contextlib.contextmanager
def _replacing(out: Path, names: Collection[str]) -> Iterator[dict[str, BinaryIO]]:
    """Files to write, by name; all take the places of older ones when all are written, or none does."""
    is_new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".export-", dir=out) as scratch:
            with contextlib.ExitStack() as opened:
                yield {name: opened.enter_context(Path(scratch, name).open("wb")) for name in names}
            for name in names:
                Path(scratch, name).replace(out / name)
    except BaseException:
        if is_new:
            with contextlib.suppress(OSError):  # something else is in it by now
                out.rmdir()
        raise


def as_rows(bundle: model.Bundle) -> rows.Originals:
    """A bundle as the rows of AWM's files."""
    title, path = bundle.scenario.title, f"./outputs/databases/{bundle.scenario.name}.db"
    # The files are joined on the normalised name, which a title need not lead to.
    scenario = title if rows.joins(title, bundle.scenario.name) else bundle.scenario.name
    single: dict[str, dict[str, Any]] = {
        "gen_scenario.jsonl": {"name": scenario, "description": bundle.scenario.description},
        "gen_tasks.jsonl": {"scenario": scenario, "tasks": [task.instruction for task in bundle.tasks]},
        "gen_db.jsonl": {"scenario": scenario, "db_schema": {"tables": _tables(bundle)}, "db_path": path},
        "gen_sample.jsonl": {"scenario": scenario, **_samples(bundle)},
        "gen_spec.jsonl": {"scenario": scenario, "api_spec": dict(bundle.spec)},
        "gen_envs.jsonl": {"scenario": scenario, "db_path": path, "full_code": bundle.environment},
    }
    numbers = {task.id: number for number, task in enumerate(bundle.tasks)}
    texts = {task.id: task.instruction for task in bundle.tasks}
    return rows.Originals(
        name=bundle.scenario.name,
        single={file: rows.KINDS[file].model_validate(row) for file, row in single.items()},
        verifiers=[
            rows.VerifierRow.model_validate(
                {
                    "scenario": bundle.scenario.name,
                    "task_idx": numbers[task],
                    "task": texts[task],
                    "verification": {"code": source, "raw_response": ""},
                }
            )
            for (task, _), source in sorted(bundle.verifiers.items())
        ],
    )


def _tables(bundle: model.Bundle) -> list[dict[str, Any]]:
    """The schema by table; a statement that is about none goes with the table before it."""
    tables: dict[str, dict[str, Any]] = {}
    name = ""
    for statement in statements.split(bundle.schema_sql):
        name = statements.table_of(statement) or name
        if name in tables:
            tables[name]["indexes"].append(statement)
        else:
            tables[name] = {"name": name, "ddl": statement, "indexes": []}
    return list(tables.values())


def _samples(bundle: model.Bundle) -> dict[str, Any]:
    inserts: dict[str, list[str]] = {}
    for statement in statements.split(bundle.seed_sql):
        inserts.setdefault(statements.table_of(statement) or "", []).append(statement)
    reasons = _reasons(bundle)
    tables = [
        {"table_name": name, "reasoning": reasons.get(name, ""), "insert_statements": texts}
        for name, texts in inserts.items()
    ]
    count = sum(len(texts) for texts in inserts.values())
    return {"tables_count": len(tables), "inserts_count": count, "sample_data": {"tables": tables}}


def _reasons(bundle: model.Bundle) -> dict[str, Any]:
    """Why rows were made, by table, as the file says that the bundle was imported from."""
    text = bundle.source.get("gen_sample.jsonl")
    if text is None:
        return {}
    row = rows.SampleRow.model_validate(json.loads(text))
    tables = rows.parts(row.sample_data.tables, rows.TableSample)
    return {table.name: table.reasoning for table in tables if not isinstance(table, rows.Misfit)}
