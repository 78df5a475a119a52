"""What `awm gate` prints: a table and details for people, documents for programs."""

from collections.abc import Sequence
from typing import Any

from awm_fleet.cli import output
from awm_generator.gates import reports, running

_DEFECTS_SHOWN = 3
_LINE = 400


def documents(done: Sequence[running.Gated]) -> list[dict[str, Any]]:
    """What `--json` prints of each bundle."""
    return [
        {
            "name": each.name,
            "path": str(each.path),
            "tier": each.report.tier if each.report is not None else None,
            "error": each.error,
            "reused": each.reused,
            "report": each.report.model_dump(mode="json") if each.report is not None else None,
        }
        for each in done
    ]


def show(done: Sequence[running.Gated]) -> None:
    """Prints a row per bundle, then what keeps each from a higher tier."""
    columns = ("scenario", "tier", "tools", "with 5xx", "mutants caught", "failed gates")
    output.table("Gated", columns, [_row(each) for each in done])
    for each in done:
        if each.report is not None and each.report.failed:
            _details(each.name, each.report)


def complain(done: Sequence[running.Gated]) -> None:
    """Names on standard error what is quarantined, and what could not be gated."""
    for each in done:
        if each.error is not None:
            output.complain(each.error)
        if each.report is not None and each.report.tier == "quarantined":
            output.complain(f"quarantined: {each.name}: {'; '.join(each.report.reasons)}")


def _row(each: running.Gated) -> tuple[object, ...]:
    if each.report is None:
        return (each.name, "not gated", *[None] * 4)
    facts = each.report.facts
    failing = facts.get("endpoints_with_5xx")
    caught = f"{facts['mutants_caught']} of {facts['mutants']}" if facts.get("mutants") else None
    tier = f"{each.report.tier} (known)" if each.reused else each.report.tier
    return (
        each.name,
        tier,
        facts.get("tools"),
        len(failing) if isinstance(failing, list) else None,
        caught,
        ", ".join(each.report.failed) or "none",
    )


def _details(name: str, report: reports.GateReport) -> None:
    output.say(f"\n{name}: {report.tier}", "bold")
    for gate in report.failed:
        defects = report.of(gate)
        output.say(f"  {gate}: {len(defects)} defect(s)", "red")
        for defect in defects[:_DEFECTS_SHOWN]:
            output.say(f"    {defect.subject}: {defect.detail}"[:_LINE])
            for part, text in defect.evidence.items():
                if part in ("request", "reply", "raised", "verdict", "code", "statement"):
                    output.say(f"      {part}: {' '.join(text.split())}"[:_LINE], "dim")
        if len(defects) > _DEFECTS_SHOWN:
            output.say(f"    and {len(defects) - _DEFECTS_SHOWN} more (report.json has all)")
