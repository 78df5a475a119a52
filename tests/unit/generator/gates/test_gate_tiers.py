import dataclasses
from pathlib import Path

import pytest

from awm_generator.gates import cards, protocol, registry, reports, tiers
from awm_runtime.bundle import digest, model, reading, writing
from awm_runtime.determinism import clock


def defect(gate: str, severity: protocol.Severity = "fail") -> protocol.Defect:
    return protocol.Defect(gate=gate, severity=severity, subject="get_pet", detail="It is odd.")


@pytest.fixture
def pets() -> model.Bundle:
    return model.Bundle(
        root=Path("pets"),
        scenario=model.Scenario(
            name="pets",
            title="Pets",
            clock=clock.parse("2026-01-15T09:00:00Z"),
            provenance=model.Provenance(source="tests"),
        ),
        tasks=(),
        schema_sql="",
        seed_sql="",
        environment="",
        spec={},
        tools=(),
    )


@pytest.mark.parametrize(
    ("defects", "level", "dropped", "tier"),
    [
        ([], "semantic", False, "gold"),
        ([defect("static.verbs", "warn"), defect("semantic.mutants", "warn")], "semantic", False, "gold"),
        ([defect("semantic.oracle")], "semantic", False, "silver"),
        ([defect("semantic.mutants")], "semantic", False, "silver"),
        ([defect("semantic.untouched")], "semantic", False, "bronze"),
        ([defect("semantic.answerless")], "semantic", False, "bronze"),
        ([defect("runtime.server-errors")], "semantic", False, "bronze"),
        ([defect("static.routes")], "semantic", False, "bronze"),
        ([], "runtime", False, "bronze"),
        ([], "semantic", True, "bronze"),
        ([defect("static.sql", "quarantine"), defect("static.verbs")], "static", True, "quarantined"),
    ],
)
def test_a_tier_is_what_the_defects_allow(
    defects: list[protocol.Defect], level: protocol.Level, dropped: bool, tier: model.Tier
) -> None:
    earned, reasons = tiers.decide(defects, level, dropped=dropped)
    assert earned == tier
    assert bool(reasons) == (tier != "gold")


def test_reasons_name_the_first_defect_of_each_gate_that_counts() -> None:
    found = [defect("static.verbs"), defect("static.verbs"), defect("static.enums", "warn"), defect("semantic.oracle")]
    assert tiers.decide(found, "semantic") == ("bronze", ("static.verbs: get_pet: It is odd. (and 1 more)",))


def test_a_report_says_what_came_of_every_gate(pets: model.Bundle) -> None:
    found = {
        "static.sql": [],
        "static.verbs": [defect("static.verbs")],
        "static.enums": [defect("static.enums", "warn")],
    }
    made = reports.report(pets, "static", found, {"tools": 3})
    states = {made.states[gate] for gate in ("static.sql", "static.verbs", "static.enums", "runtime.start")}
    assert states == {"passed", "failed", "warned", "not run"}
    assert made.failed == ["static.verbs"]
    assert made.states.keys() == {gate.id for gate in registry.GATES}


def test_a_report_is_kept_while_gates_and_content_are_the_same(pets: model.Bundle, tmp_path: Path) -> None:
    made = reports.report(pets, "runtime", {}, {})
    gated = reports.with_report(pets, made)
    assert (gated.scenario.tier, digest.digest(gated)) == ("bronze", digest.digest(pets))
    written = reading.read(writing.write(gated, tmp_path / "pets").root)
    assert reports.kept(written, "runtime") == reports.kept(written, "static") == made
    assert reports.kept(written, "semantic") is None
    assert reports.kept(dataclasses.replace(written, environment="# changed"), "static") is None
    older = made.model_copy(update={"version": "before"})
    assert reports.kept(reports.with_report(pets, older), "static") is None
    assert reports.kept(pets, "static") is None


def test_a_spoiled_report_is_none(pets: model.Bundle) -> None:
    spoiled = dataclasses.replace(pets, report=model.Report.model_validate({"gates": {"version": 7}}))
    assert reports.kept(spoiled, "static") is None


def test_findings_of_an_import_stay_beside_the_gates(pets: model.Bundle) -> None:
    finding = model.Finding(kind="odd", stage="db", detail="It is odd.", action="dropped")
    imported = dataclasses.replace(pets, report=model.Report(findings=(finding,)))
    made = reports.report(imported, "semantic", {}, {})
    assert made.tier == "bronze"
    assert reports.with_report(imported, made).report.findings == (finding,)


def test_a_card_names_what_failed_with_its_counterexample(pets: model.Bundle) -> None:
    gate = registry.named("runtime.server-errors")
    found = [
        gate.defect(protocol.Found(f"tool_{number}", "it answered 500", {"request": "tool {}\nmore"}))
        for number in range(7)
    ]
    made = reports.report(pets, "runtime", {gate.id: found}, {"tools": 7, "endpoints_with_5xx": []})
    card = cards.card(pets.scenario, made)
    assert card.startswith("# Pets: bronze\n")
    assert "| runtime.server-errors | **failed** | 7 |" in card
    assert "- **tool_0**: it answered 500\n\n  request:\n\n      tool {}\n      more\n" in card
    assert "tool_5" not in card
    assert "And 2 more, in report.json." in card
    assert "| endpoints with 5xx | none |" in card
