"""What a gate is, and what it finds."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, get_args

import pydantic

Level = Literal["static", "runtime", "semantic"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""In the order in which they run; a later one needs what the earlier ones prepared."""

Severity = Literal["quarantine", "fail", "warn"]
"""*quarantine*: the scenario is of no use as it is; *fail*: it is capped by the gate's level; *warn*: it is told."""

EVIDENCE_CHARACTERS = 1800
"""What a counterexample may take: below 500 tokens, so that several fit into one request to a model."""

_Seen = TypeVar("_Seen")


class Defect(pydantic.BaseModel):
    """Something that a gate found.

    Attributes:
        gate: The id of the gate.
        severity: What it means for the tier.
        subject: The table, tool, task or line that it is about.
        detail: One sentence.
        evidence: The counterexample by parts: `request`, `reply`, `trace`, `diff` and others, as text.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    gate: str
    severity: Severity
    subject: str
    detail: str
    evidence: dict[str, str] = {}

    def message(self) -> str:
        """All of it as text: for a person, or for the model that is to mend it."""
        parts = [f"{name}: {text}" for name, text in self.evidence.items()]
        return "\n".join([f"{self.gate}: {self.subject}: {self.detail}", *parts])


@dataclass(frozen=True)
class Found:
    """A defect as a gate's function says it; the gate adds its id and, by default, its severity."""

    subject: str
    detail: str
    evidence: Mapping[str, str] | None = None
    severity: Severity | None = None


@dataclass(frozen=True, kw_only=True)
class Gate(Generic[_Seen]):
    """A check that a bundle passes or fails. One per module, there named `GATE`.

    Attributes:
        id: `level.name`.
        severity: What a defect means, unless it says otherwise.
        checks: What must hold, in a sentence.
        example: A counterexample, in a line.
        mend: How to mend what it finds.
        find: Yields what is wrong with what was seen of the bundle; nothing where all is well.
    """

    id: str
    severity: Severity
    checks: str
    example: str
    mend: str
    find: Callable[[_Seen], Iterable[Found]]

    @property
    def level(self) -> Level:
        """The level that it belongs to."""
        return next(level for level in LEVELS if self.id.startswith(f"{level}."))

    def run(self, seen: _Seen) -> list[Defect]:
        """What it finds."""
        return [self.defect(found) for found in self.find(seen)]

    def defect(self, found: Found) -> Defect:
        """What was found, as this gate's."""
        return Defect(
            gate=self.id,
            severity=found.severity or self.severity,
            subject=found.subject,
            detail=found.detail,
            evidence=clipped(found.evidence or {}),
        )


AnyGate = Gate[Any]


def clipped(evidence: Mapping[str, str]) -> dict[str, str]:
    """The parts of a counterexample, cut so that all of them together keep to the limit."""
    room = EVIDENCE_CHARACTERS
    kept = {}
    for place, (name, text) in enumerate(evidence.items()):
        share = max(0, room // (len(evidence) - place) - len(name) - 2)
        kept[name] = text if len(text) <= share else f"{text[: max(0, share - 2)]} …"
        room -= len(kept[name]) + len(name) + 2
    return kept


@cache
def version() -> str:
    """The version of all gates: a hash of their code, so that a changed gate is never taken for the one before."""
    home = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(home.rglob("*.py")):
        digest.update(str(path.relative_to(home)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]
