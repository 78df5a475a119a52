"""Checks that a bundle is whole: it reads, is what its digest says, builds, and everything that it names is there."""

import ast
import tempfile
from collections.abc import Iterator
from pathlib import Path

from awm_generator import oracles
from awm_generator.awm_files import parsing, probing, verifiers
from awm_runtime.bundle import database, digest, model, reading


def check(path: Path) -> tuple[str, ...]:
    """What is wrong with the bundle in the folder `path`; empty for nothing. Its code is imported, confined.

    Raises:
        BundleError: it cannot be read.
    """
    bundle = reading.read(path)
    return (
        *_derived_slips(bundle),
        *_database_slips(bundle),
        *_verifier_slips(bundle),
        *_oracle_slips(bundle),
        *_code_slips(bundle),
    )


def _derived_slips(bundle: model.Bundle) -> Iterator[str]:
    recorded, actual = bundle.scenario.digest, digest.digest(bundle)
    if recorded is None:
        yield "scenario.json: digest: missing"
    elif recorded != actual:
        yield f"scenario.json: digest: says {recorded}, but the files come to {actual}"


def _database_slips(bundle: model.Bundle) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="awm-check-") as folder:
        report = database.build(
            bundle.schema_sql, bundle.seed_sql, bundle.clock, Path(folder, "seed.db"), bundle.scenario.foreign_keys
        )
    for failure in report.failures:
        yield f"{failure.part}.sql: statement {failure.index} ({failure.table}): {failure.error}"
    if bundle.scenario.foreign_keys == "on":
        # Rows that refer to nothing failed above, as statements. What is left cannot be checked, and fails in a call.
        for violation in report.violations:
            yield f"schema.sql: {violation.table}: a foreign key leads to no key of its parent"
    counts = bundle.scenario.counts
    built = model.Counts(tables=len(report.tables), rows=report.rows, tools=len(bundle.tools), tasks=len(bundle.tasks))
    if counts is not None and counts != built:
        yield f"scenario.json: counts: says {counts}, but there are {built}"


def unusable_verifiers(bundle: model.Bundle) -> Iterator[tuple[str, str]]:
    """The files of verifiers that do not define the function of their mode, and what is wrong with each."""
    for (task, mode), source in bundle.verifiers.items():
        if verifiers.mode(source) != mode:
            function = "verify_task_completion" if mode == "code" else "verify_task"
            yield f"verifiers/{task}.{mode}.py", f"is not Python that defines {function}"


def unjudged(bundle: model.Bundle) -> list[str]:
    """The ids of the tasks that have no verifier, in the order of the tasks."""
    judged = {task for task, _ in bundle.verifiers}
    return [task.id for task in bundle.tasks if task.id not in judged]


def _verifier_slips(bundle: model.Bundle) -> Iterator[str]:
    for place, slip in unusable_verifiers(bundle):
        yield f"{place}: {slip}"
    # An import may lack some, and says so in its report.
    noted = {finding.subject for finding in bundle.report.findings if finding.kind == "task_without_verifier"}
    for task in unjudged(bundle):
        if task not in noted:
            yield f"tasks.jsonl: task {task}: has no verifier"


def _oracle_slips(bundle: model.Bundle) -> Iterator[str]:
    for task in bundle.tasks:
        if task.oracle is not None:
            yield from (
                f"tasks.jsonl: task {task.id}: oracle: {slip}" for slip in oracles.slips(task.oracle, bundle.tools)
            )


def _code_slips(bundle: model.Bundle) -> Iterator[str]:
    if not isinstance(parsing.parsed(bundle.environment), ast.Module):
        yield "environment.py: is not Python"
        return
    probe = probing.probe(bundle.root)
    if not probe.ok:
        yield f"environment.py: does not import: {probe.error.reason if probe.error else 'for no reason given'}"
    elif digest.tools_hash(probe.tools) != digest.tools_hash(bundle.tools):
        yield f"tools.json: the code serves other tools{_named_difference(probe, bundle)}"


def _named_difference(probe: probing.Probe, bundle: model.Bundle) -> str:
    served, written = ({tool["name"] for tool in tools} for tools in (probe.tools, bundle.tools))
    return f": {', '.join(sorted(served ^ written))}" if served != written else " by descriptions or schemas"
