"""`awm_bundle.jsonl`: what of a bundle AWM's other files cannot carry, so that import of an export changes nothing."""

import hashlib
from pathlib import Path
from typing import Any, cast

import pydantic

from awm_generator.awm_files import databases, rows, verifiers
from awm_runtime import errors
from awm_runtime.bundle import digest, model
from awm_runtime.contract import verdicts


class _Tasks(pydantic.BaseModel):
    """The tasks of a sidecar's row, by which the verifiers of the other rows are read."""

    tasks: tuple[model.Task, ...]


class _Content(_Tasks):
    """All of a bundle but its code, as the sidecar and the other rows have it together."""

    scenario: model.Scenario
    schema_sql: str
    seed_sql: str
    spec: dict[str, Any]
    tools: tuple[dict[str, Any], ...]
    verifiers: dict[str, str]
    report: model.Report
    source: dict[str, str]


def row_for(bundle: model.Bundle, originals: rows.Originals) -> rows.SidecarRow:
    """The sidecar's row for a bundle whose other rows are `originals`."""
    carried = _carried(originals, bundle.tasks)
    own = {
        "schema_sql": bundle.schema_sql,
        "seed_sql": bundle.seed_sql,
        "spec": dict(bundle.spec),
        "verifiers": {f"{task}.{mode}": source for (task, mode), source in bundle.verifiers.items()},
    }
    rest = {
        "scenario": bundle.scenario.model_dump(mode="json", exclude_none=True),
        "tasks": [task.model_dump(mode="json", exclude_none=True) for task in bundle.tasks],
        "tools": list(bundle.tools),
        "report": bundle.report.model_dump(mode="json"),
        "source": dict(bundle.source),
    }
    missing = {name: value for name, value in own.items() if carried[name] != value}
    return rows.SidecarRow(scenario=originals.name, rows=_hash(originals), bundle={**rest, **missing})


def restored(originals: rows.Originals, root: Path) -> model.Bundle | None:
    """The bundle that was exported as `originals`; None without a sidecar, or where rows were changed since.

    Raises:
        BundleError: the sidecar's row is malformed.
    """
    sidecar, environment = originals.row(rows.SidecarRow), originals.row(rows.EnvRow)
    if sidecar is None or environment is None or sidecar.rows != _hash(originals):
        return None
    try:
        tasks = _Tasks.model_validate(sidecar.bundle).tasks
        content = _Content.model_validate({**_carried(originals, tasks), **sidecar.bundle})
    except pydantic.ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise errors.BundleError(f"{rows.SIDECAR}: the row of {originals.name}: {where}: {first['msg']}") from exc
    if content.scenario.name != originals.name:
        raise errors.BundleError(f"{rows.SIDECAR}: the row of {originals.name} is about {content.scenario.name}")
    return model.Bundle(
        root=root,
        scenario=content.scenario,
        tasks=content.tasks,
        schema_sql=content.schema_sql,
        seed_sql=content.seed_sql,
        environment=environment.full_code,
        spec=content.spec,
        tools=content.tools,
        verifiers={_key(name): source for name, source in content.verifiers.items()},
        report=content.report,
        source=content.source,
    )


def _carried(originals: rows.Originals, tasks: tuple[model.Task, ...]) -> dict[str, Any]:
    """What the other rows say, in the words of a bundle."""
    schema, spec = originals.row(rows.DbRow), originals.row(rows.SpecRow)
    sample = databases.sample_statements(originals.row(rows.SampleRow))
    return {
        "schema_sql": databases.joined(text for _, text in databases.schema_statements(schema)) if schema else "",
        "seed_sql": databases.joined(text for _, text in sample),
        "spec": spec.api_spec if spec else {},
        "verifiers": {
            f"{tasks[row.task_idx].id}.{verifiers.mode(row.verification.code or '')}": row.verification.code
            for row in originals.verifiers
            if 0 <= row.task_idx < len(tasks)
        },
    }


def _key(name: str) -> model.VerifierKey:
    task, _, mode = name.rpartition(".")
    return task, cast(verdicts.Mode, mode)


def _hash(originals: rows.Originals) -> str:
    single = {
        file: row.model_dump(mode="json", by_alias=True)
        for file, row in originals.single.items()
        if file != rows.SIDECAR
    }
    judges = [digest.canonical(row.model_dump(mode="json")).decode() for row in originals.verifiers]
    return f"sha256:{hashlib.sha256(digest.canonical([single, sorted(judges)])).hexdigest()}"
