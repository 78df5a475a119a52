"""What `awm bundle` prints: tables for people, documents for programs."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from awm_fleet.cli import output
from awm_generator.awm_files import importing
from awm_generator.gates import reports
from awm_runtime.bundle import digest, model

_FINDING_COLUMNS = ("defect", "detail")


def import_document(done: Sequence[importing.Imported], unmatched: Sequence[str]) -> dict[str, Any]:
    """What `awm bundle import --json` prints."""
    return {
        "scenarios": [
            {"path": str(outcome.bundle.root), **card(outcome.bundle)} for outcome in done if outcome.bundle is not None
        ],
        "quarantined": [
            {"name": outcome.name, "reason": outcome.quarantined, "detail": outcome.detail}
            for outcome in done
            if outcome.quarantined
        ],
        "refused": [{"name": outcome.name, "reason": outcome.refused} for outcome in done if outcome.refused],
        "ignored": list(unmatched),
    }


def card(bundle: model.Bundle) -> dict[str, Any]:
    """A bundle's report card."""
    scenario = bundle.scenario.model_dump(mode="json", exclude_none=True)
    return {
        **scenario,
        "tools_hash": digest.tools_hash(bundle.tools),
        "tasks": [_task(bundle, task) for task in bundle.tasks],
        "findings": [finding.model_dump(mode="json") for finding in bundle.report.findings],
        "gates": (bundle.report.model_extra or {}).get(reports.FIELD),
    }


def print_import(done: Sequence[importing.Imported]) -> None:
    """Prints what came in, and a table of all defects."""
    columns = ("scenario", "tier", "tables", "rows", "tools", "tasks", "defects")
    output.table("Imported", columns, [_overview(outcome) for outcome in done])
    defects = [
        (outcome.name, *_cells(finding))
        for outcome in done
        for finding in (outcome.bundle.report.findings if outcome.bundle else ())
    ]
    if defects:
        output.table("Defects", ("scenario", *_FINDING_COLUMNS), defects)


def print_card(bundle: model.Bundle) -> None:
    """Prints a bundle's report card."""
    output.say(bundle.scenario.title, style="bold")
    if bundle.scenario.description:
        output.say(bundle.scenario.description)
    output.table("", ("", ""), _facts(bundle).items())
    tasks = [
        (
            task.id,
            task.split,
            ", ".join(_modes(bundle, task)) or "none",
            "yes" if task.oracle else "no",
            task.instruction,
        )
        for task in bundle.tasks
    ]
    output.table("Tasks", ("id", "split", "verifiers", "oracle", "instruction"), tasks)
    if bundle.report.findings:
        output.table("Findings", _FINDING_COLUMNS, map(_cells, bundle.report.findings))
    else:
        output.say("No findings.")


def _overview(outcome: importing.Imported) -> tuple[object, ...]:
    if outcome.bundle is None:
        return (outcome.name, "quarantined" if outcome.quarantined else "refused", *[None] * 5)
    scenario = outcome.bundle.scenario
    counts = scenario.counts
    numbers = (counts.tables, counts.rows, counts.tools, counts.tasks) if counts else (None,) * 4
    return (outcome.name, scenario.tier, *numbers, len(outcome.bundle.report.findings))


def _facts(bundle: model.Bundle) -> dict[str, str]:
    scenario = bundle.scenario
    counts = scenario.counts.model_dump() if scenario.counts else {}
    kinds = Counter("read-only" if _reads_only(tool) else "writing" for tool in bundle.tools)
    return {
        "name": scenario.name,
        "tier": scenario.tier or "not gated yet",
        "generation": str(scenario.generation),
        "digest": scenario.digest or "not recorded",
        "clock": scenario.model_dump(mode="json")["clock"],
        "foreign keys": scenario.foreign_keys,
        "isolation": scenario.isolation,
        "source": scenario.provenance.source,
        "counts": ", ".join(f"{count} {what}" for what, count in counts.items()) or "not recorded",
        "tools": ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "none",
        "gates": _gates(bundle),
    }


def _gates(bundle: model.Bundle) -> str:
    report = reports.kept(bundle, "static")
    if report is None:
        return "not run on this content: awm gate BUNDLE"
    return "; ".join((f"{reports.summary(report)} (up to {report.level})", *report.reasons))


def _reads_only(tool: Any) -> bool:
    return bool(tool.get("annotations", {}).get("readOnlyHint"))


def _task(bundle: model.Bundle, task: model.Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "split": task.split,
        "instruction": task.instruction,
        "verifiers": _modes(bundle, task),
        "oracle": task.oracle is not None,
    }


def _modes(bundle: model.Bundle, task: model.Task) -> list[str]:
    return [mode for mode in ("code", "sql") if (task.id, mode) in bundle.verifiers]


def _cells(finding: model.Finding) -> tuple[str, ...]:
    where = f"{finding.stage} {finding.subject}".strip()
    return f"{finding.kind.replace('_', ' ')}: {finding.action}", f"{where}: {finding.detail}"
