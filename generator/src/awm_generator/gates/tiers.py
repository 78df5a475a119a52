"""From defects to a tier."""

from collections import Counter
from collections.abc import Collection, Sequence

from awm_generator.gates import protocol
from awm_runtime.bundle import model

NO_OP = frozenset({"semantic.untouched", "semantic.answerless"})
"""The gates that a verifier must pass for silver, with or without an oracle."""


def decide(
    defects: Collection[protocol.Defect], level: protocol.Level, *, dropped: bool = False
) -> tuple[model.Tier, tuple[str, ...]]:
    """The tier that a bundle earns, and the reasons why it is no higher one.

    Args:
        defects: What its gates found.
        level: The level up to which they were run.
        dropped: Whether its import lost a part.
    """
    unusable = [defect for defect in defects if defect.severity == "quarantine"]
    if unusable:
        return "quarantined", _reasons(unusable)
    failed = [defect for defect in defects if defect.severity == "fail"]
    early = [defect for defect in failed if not defect.gate.startswith("semantic.") or defect.gate in NO_OP]
    bronze = [
        *_reasons(early),
        *(["its import dropped a part of it"] if dropped else []),
        *([f"only its {_until(level)} gates were run"] if level != "semantic" else []),
    ]
    if bronze:
        return "bronze", tuple(bronze)
    return ("silver", _reasons(failed)) if failed else ("gold", ())


def _reasons(defects: Sequence[protocol.Defect]) -> tuple[str, ...]:
    """A line per gate: its first defect, and how many more."""
    counts = Counter(defect.gate for defect in defects)
    first = {defect.gate: defect for defect in reversed(defects)}
    return tuple(
        f"{gate}: {first[gate].subject}: {first[gate].detail}" + (f" (and {count - 1} more)" if count > 1 else "")
        for gate, count in counts.items()
    )


def _until(level: protocol.Level) -> str:
    return " and ".join(protocol.LEVELS[: protocol.LEVELS.index(level) + 1])
