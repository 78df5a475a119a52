"""What the gates say of a bundle, as its report.json keeps it under `gates`."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pydantic

from awm_generator.gates import protocol, registry, tiers
from awm_runtime.bundle import digest, model

FIELD = "gates"
State = Literal["passed", "warned", "failed", "not run"]


class GateReport(pydantic.BaseModel):
    """The result of gating a bundle.

    Attributes:
        version: Of the gates.
        digest: Of the bundle that was gated.
        level: Up to which the gates were run.
        tier: What it earned.
        reasons: Why it is no higher one.
        states: What came of each gate.
        defects: What they found.
        facts: Figures: tools, tools with a 5xx, verifiers that reward nothing, mutants.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    version: str
    digest: str
    level: protocol.Level
    tier: model.Tier
    reasons: tuple[str, ...] = ()
    states: dict[str, State] = {}
    defects: tuple[protocol.Defect, ...] = ()
    facts: dict[str, Any] = {}

    def of(self, gate: str) -> list[protocol.Defect]:
        """The defects of one gate."""
        return [defect for defect in self.defects if defect.gate == gate]

    @property
    def failed(self) -> list[str]:
        """The ids of the gates that the bundle does not pass."""
        return [gate for gate, state in self.states.items() if state == "failed"]


def report(
    bundle: model.Bundle,
    level: protocol.Level,
    found: Mapping[str, Sequence[protocol.Defect]],
    facts: Mapping[str, Any],
) -> GateReport:
    """The report on a bundle.

    Args:
        bundle: The bundle.
        level: Up to which its gates were to be run.
        found: What the gates that were run found, by id.
        facts: Figures.
    """
    defects = tuple(defect for gate in registry.GATES for defect in found.get(gate.id, ()))
    dropped = any(finding.action == "dropped" for finding in bundle.report.findings)
    tier, reasons = tiers.decide(defects, level, dropped=dropped)
    return GateReport(
        version=protocol.version(),
        digest=digest.digest(bundle),
        level=level,
        tier=tier,
        reasons=reasons,
        states={gate.id: _state(found.get(gate.id)) for gate in registry.GATES},
        defects=defects,
        facts=dict(facts),
    )


def kept(bundle: model.Bundle, level: protocol.Level) -> GateReport | None:
    """The report that a bundle has from the same gates on the same content, up to `level` or further."""
    said = (bundle.report.model_extra or {}).get(FIELD)
    if said is None:
        return None
    try:
        found = GateReport.model_validate(said)
    except pydantic.ValidationError:
        return None
    reaches = protocol.LEVELS.index(found.level) >= protocol.LEVELS.index(level)
    same = found.version == protocol.version() and found.digest == digest.digest(bundle)
    return found if same and reaches else None


def with_report(bundle: model.Bundle, made: GateReport) -> model.Bundle:
    """`bundle` with a report in it, and the tier of it."""
    extra = {**(bundle.report.model_extra or {}), FIELD: made.model_dump(mode="json")}
    report = model.Report(findings=bundle.report.findings, **extra)
    scenario = bundle.scenario.model_copy(update={"tier": made.tier})
    return dataclasses.replace(bundle, scenario=scenario, report=report)


def summary(made: GateReport) -> str:
    """How many gates passed, warned and failed, in a line."""
    counts = Counter(made.states.values())
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))


def _state(defects: Sequence[protocol.Defect] | None) -> State:
    if defects is None:
        return "not run"
    if any(defect.severity != "warn" for defect in defects):
        return "failed"
    return "warned" if defects else "passed"
