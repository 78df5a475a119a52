"""Gates what a run has made, and keeps of each bundle only what is said of it in the end."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from awm_fleet.cli import output
from awm_generator.gates import running
from awm_generator.stages import proving
from awm_runtime.bundle import model

_TIERS: tuple[model.Tier, ...] = ("gold", "silver", "bronze", "quarantined")


@dataclass(frozen=True)
class Verdict:
    """What the gates said of one bundle.

    Attributes:
        name: The scenario.
        tier: What it earned; None where it could not be gated.
        reasons: Why no higher one.
    """

    name: str
    tier: model.Tier | None
    reasons: tuple[str, ...] = ()

    @property
    def is_bad(self) -> bool:
        """Whether it is of no use."""
        return self.tier in (None, "quarantined")


def gated(bundles: Sequence[Path], level: proving.Level) -> list[Verdict]:
    """Gates bundles under a bar; those that were gated before, and have not changed since, are not gated again."""
    if level == "none" or not bundles:
        return []
    done = output.tracked(_verdicts(running.run(bundles, level=level)), len(bundles), "Gating")
    verdicts = []
    for verdict in done:
        verdicts.append(verdict)
        if verdict.is_bad:
            output.complain(f"quarantined: gates: {verdict.name}: {'; '.join(verdict.reasons)}")
    return verdicts


def show(verdicts: Sequence[Verdict]) -> None:
    """Says how many bundles have which tier."""
    counts: Counter[str] = Counter(verdict.tier or "not gated" for verdict in verdicts)
    parts = [f"{counts[tier]} {tier}" for tier in (*_TIERS, "not gated") if counts[tier]]
    output.say(f"Tiers: {', '.join(parts)} (awm gate OUTPUT_DIR/bundles shows the reasons)")


def _verdicts(done: Iterator[running.Gated]) -> Iterator[Verdict]:
    # A thousand bundles with their reports are more than there need be in memory at once.
    for each in done:
        if each.report is None or each.error is not None:
            yield Verdict(each.name, None, (each.error or "could not be gated",))
        else:
            yield Verdict(each.name, each.report.tier, each.report.reasons)
