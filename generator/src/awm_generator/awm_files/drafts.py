"""Makes a bundle, still without its tools, from the joined rows of a scenario."""

import dataclasses
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from awm_generator.awm_files import databases, dates, module_state, rows, solutions, verifiers, wall_clock
from awm_runtime.bundle import model


class Quarantined(Exception):
    """A scenario that cannot be used at all.

    Args:
        reason: Why, in one line.
        detail: More about it, for the scenario's author.
    """

    def __init__(self, reason: str, *, detail: str = "") -> None:
        super().__init__(reason)
        self.detail = detail


def draft(originals: rows.Originals, root: Path, clock: datetime | None) -> model.Bundle:
    """The bundle that `originals` come to, with the oracles that were found, and the defects that its texts show.

    Raises:
        Quarantined: there is no code, or nothing of the database can be made.
    """
    given, originals = originals, solutions.applied(originals)
    environment, schema = originals.row(rows.EnvRow), originals.row(rows.DbRow)
    if environment is None or schema is None:
        file = rows.REQUIRED[1 if environment else 0]
        complaints = [complaint for unusable, complaint in originals.unusable if unusable == file]
        what = "no usable row" if complaints else "no row"
        raise Quarantined(f"{file} has {what} for it", detail="\n".join(complaints))
    tasks, task_findings = _tasks(originals)
    sample = originals.row(rows.SampleRow)
    clock = clock or dates.clock(
        (task.instruction for task in tasks), (text for _, text in databases.sample_statements(sample))
    )
    database = databases.usable(schema, sample, clock)
    if not database.report.tables:
        raise Quarantined("none of its tables can be made")
    sources, verifier_findings = verifiers.chosen(originals.verifiers, [task.id for task in tasks])
    changes = module_state.mutations(environment.full_code)
    findings = (
        *_missing(originals),
        *database.findings,
        *task_findings,
        *verifier_findings,
        *wall_clock.in_seed(database.seed_sql),
        *wall_clock.in_code(environment.full_code),
        *_state_finding(changes),
    )
    spec = originals.row(rows.SpecRow)
    return model.Bundle(
        root=root,
        scenario=model.Scenario(
            name=originals.name,
            title=originals.title,
            description=_description(originals),
            clock=clock,
            foreign_keys="off",  # the code was written for SQLite's default
            isolation="process" if changes else "shared",
            provenance=model.Provenance(source="awm-import"),
            counts=model.Counts(
                tables=len(database.report.tables), rows=database.report.rows, tools=0, tasks=len(tasks)
            ),
        ),
        tasks=tasks,
        schema_sql=database.schema_sql,
        seed_sql=database.seed_sql,
        environment=environment.full_code,
        spec=spec.api_spec if spec else {},
        tools=(),
        verifiers=sources,
        report=model.Report(findings=findings),
        source=_kept(given),
    )


def with_findings(bundle: model.Bundle, findings: Iterable[model.Finding]) -> model.Bundle:
    """`bundle` with more findings, and with the tier that all of them allow.

    Whatever was dropped caps it at bronze; gold is for the gates to give.
    """
    report = bundle.report.model_copy(update={"findings": (*bundle.report.findings, *findings)})
    dropped = any(finding.action == "dropped" for finding in report.findings)
    tier: model.Tier = "bronze" if dropped else "silver"
    scenario = bundle.scenario.model_copy(update={"tier": tier})
    return dataclasses.replace(bundle, scenario=scenario, report=report)


def _tasks(originals: rows.Originals) -> tuple[tuple[model.Task, ...], list[model.Finding]]:
    """The tasks: those of the tasks' file, or else those that the verifiers are for."""
    row = originals.row(rows.TasksRow)
    texts: dict[int, Any] = dict(enumerate(row.tasks)) if row else {v.task_idx: v.task for v in originals.verifiers}
    usable = {number: text for number, text in sorted(texts.items()) if number >= 0 and _is_text(text)}
    findings = [
        model.Finding(
            kind="unusable_task", stage="tasks", subject=str(number), action="dropped", detail="it has no instruction"
        )
        for number in texts.keys() - usable.keys()
    ]
    solved = originals.row(rows.OracleRow)
    oracles = {each.task_idx: each.oracle for each in solved.oracles} if solved is not None else {}
    tasks = (
        model.Task(id=str(number), instruction=text, oracle=oracles.get(number)) for number, text in usable.items()
    )
    return tuple(tasks), findings


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _description(originals: rows.Originals) -> str:
    row = originals.row(rows.ScenarioRow)
    return row.description if row else ""


def _missing(originals: rows.Originals) -> list[model.Finding]:
    """What files lack a row for the scenario, which have several, and which have one that is of no use."""
    present = {*originals.single, *(file for file, _ in originals.unusable)}
    absent = [file for file in rows.EXPECTED if file not in present]
    if not originals.verifiers and present.isdisjoint(rows.VERIFIERS):
        absent.append(rows.VERIFIERS[0])
    return [
        *(_row_finding("unusable_row", file, "dropped", complaint) for file, complaint in originals.unusable),
        *(_row_finding("missing_row", file, "noted", "no row for this scenario") for file in absent),
        *(
            _row_finding("duplicate_row", file, "resolved", "several rows for this scenario; the last one counts")
            for file in originals.repeated
        ),
    ]


def _row_finding(kind: str, file: str, action: model.Action, detail: str) -> model.Finding:
    stage = file.removeprefix("gen_").removesuffix(".jsonl").replace("envs", "env")
    return model.Finding(kind=kind, stage=stage, subject=file, action=action, detail=detail)


def _state_finding(changes: tuple[str, ...]) -> list[model.Finding]:
    if not changes:
        return []
    detail = f"functions change their module ({'; '.join(changes[:3])}); each episode gets a process of its own"
    return [model.Finding(kind="module_state", stage="env", subject="environment.py", detail=detail)]


def _kept(originals: rows.Originals) -> dict[str, str]:
    """The rows that hold more than the bundle has another place for, as texts for `source/`."""
    kept = {
        file: f"{row.model_dump_json(by_alias=True)}\n"
        for file, row in originals.single.items()
        if isinstance(row, rows.ScenarioRow | rows.DbRow | rows.SampleRow | rows.TasksRow)
    }
    if originals.verifiers:
        kept[rows.VERIFIERS[0]] = "".join(f"{row.model_dump_json()}\n" for row in originals.verifiers)
    return kept
