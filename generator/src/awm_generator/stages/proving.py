"""Gates in the middle of a run: what they find goes back to the model, with the counterexample."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from awm_generator.awm_files import rows
from awm_generator.gates import protocol, registry
from awm_generator.stages import asking, publishing, trials

Level = Literal["none", "static", "runtime", "semantic"]
"""How far a run gates what it makes."""

ENVIRONMENT = frozenset(
    {"static.code", "static.frozen-sources", "static.loads", "static.openapi", "static.tool-names"}
    | {"static.flat-schemas", "static.enums", "static.routes", "static.verbs"}
    | {gate.id for gate in registry.of("runtime")}
)
"""Gates that a scenario's code is to blame for."""

VERIFIERS = frozenset(
    {"semantic.untouched", "semantic.answerless", "semantic.mutants", "semantic.equivalents"}
    | {"semantic.outside-changes", "semantic.steadiness"}
)
"""Gates that a task's verifier is to blame for; its id is the subject."""

_LONGEST = 2000
_OTHERS = 6


@dataclass(frozen=True)
class Gates:
    """The gates of one scenario that is being made.

    Attributes:
        originals: Its rows so far.
        ran: Where they are run.
        level: How far.
    """

    originals: rows.Originals
    ran: trials.Trials
    level: Level

    async def environment(self, row: rows.EnvRow) -> None:
        """Gates code on the database that it is for; without rows in it, only what does not depend on rows.

        Raises:
            Broken: a gate finds something that the code is to blame for.
            Quarantined: there is nothing of the database.
        """
        if self.level == "none":
            return
        single = {**self.originals.single, rows.REQUIRED[0]: row}
        originals = dataclasses.replace(self.originals, single=single, verifiers=[])
        runs = self.level != "static" and originals.row(rows.SampleRow) is not None
        defects = await self._defects(originals, "runtime" if runs else "static", ENVIRONMENT)
        if defects:
            raise asking.Broken(complaint("The module loads, but not all holds", defects))

    async def verifiers(self, row: rows.OracleRow) -> dict[int, str]:
        """What verifiers get wrong, by task number, as text for the model; only with the semantic gates.

        Args:
            row: The oracles, and what was mended so far.
        """
        if self.level != "semantic":
            return {}
        defects = await self._defects(rows.with_oracles(self.originals, row), "semantic", VERIFIERS)
        numbers = {int(defect.subject) for defect in defects if defect.subject.isdecimal()}
        return {
            number: complaint("The verifier judges wrongly", [each for each in defects if each.subject == str(number)])
            for number in sorted(numbers)
        }

    async def _defects(
        self,
        originals: rows.Originals,
        level: protocol.Level,
        wanted: frozenset[str],
    ) -> list[protocol.Defect]:
        maker = publishing.Maker(model="")

        def made(folder: Path) -> Path:
            return publishing.served(publishing.draft(originals, folder / originals.name, maker)).root

        report = await self.ran.gated(made, level)
        return [each for each in report.defects if each.gate in wanted and each.severity != "warn"]


def complaint(what: str, defects: Sequence[protocol.Defect]) -> str:
    """Defects as text for a model: the worst one with its counterexample, of the others a line each."""
    worst, *others = sorted(defects, key=lambda defect: defect.severity != "quarantine")
    gate = registry.named(worst.gate)
    told = [f"{what}. The rule: {gate.checks}", worst.message(), f"To mend it: {gate.mend}"]
    if others:
        lines = [f"- {each.gate}: {each.subject}: {each.detail}"[:200] for each in others[:_OTHERS]]
        more = len(others) - len(lines)
        told += ["Also:", *lines, *([f"- and {more} more"] if more else [])]
    text = "\n".join(told)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
