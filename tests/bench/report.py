"""Figures beside their targets: as a table for people, as JSON for programs, as a section of docs/benchmarks.md."""

import os
import platform
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"

# How each figure is written: what stands before the number, its format, its unit.
_FORMATS = {
    "p50_ms": ("p50 ", ".2f", " ms"),
    "p99_ms": ("p99 ", ".2f", " ms"),
    "over_floor_ms": ("p50 - floor ", ".2f", " ms"),
    "over_direct_ms": ("p50 - direct ", ".2f", " ms"),
    "of_direct_rate": ("", ".0%", " of the direct rate"),
    "answered": ("", ",.0f", " answered"),
    "refused": ("", ",.0f", " refused with Retry-After"),
    "lost": ("", ",.0f", " lost"),
    "cpu_ms": ("CPU ", ".2f", " ms"),
    "calls_per_s": ("", ",.0f", " calls/s"),
    "of_floor_rate": ("", ".0%", " of the floor's rate"),
    "seconds": ("", ".2f", " s"),
    "cpu_s": ("CPU ", ".2f", " s"),
    "ratio": ("", ".3f", ""),
    "mb": ("", ",.1f", " MB"),
    "errors": ("", ",.0f", " errors"),
    "grown_mb": ("grown by ", ",.1f", " MB"),
    "grown_descriptors": ("grown by ", ",.0f", " descriptors"),
    "mb_each": ("", ".2f", " MB each"),
    "kb_database": ("database ", ",.0f", " KB"),
}


@dataclass(frozen=True)
class Limit:
    """A target: the figure, and the bound that it is to stay below or reach."""

    figure: str
    kind: Literal["below", "at least"]
    bound: float

    def is_met(self, figures: dict[str, float]) -> bool:
        """Whether the figures keep it."""
        value = figures[self.figure]
        return value < self.bound if self.kind == "below" else value >= self.bound

    def __str__(self) -> str:
        return _written(self.figure, self.bound, sign="< " if self.kind == "below" else "≥ ")


@dataclass(frozen=True)
class Row:
    """What one thing costs in one scenario."""

    scenario: str
    what: str
    figures: dict[str, float]
    limits: tuple[Limit, ...] = field(default=())

    @property
    def met(self) -> bool | None:
        """Whether all targets are met; None: there is none."""
        return all(limit.is_met(self.figures) for limit in self.limits) if self.limits else None

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "scenario": self.scenario,
            "what": self.what,
            "figures": {name: round(value, 4) for name, value in self.figures.items()},
            "targets": [
                {"figure": limit.figure, "kind": limit.kind, "bound": limit.bound, "met": limit.is_met(self.figures)}
                for limit in self.limits
            ],
            "met": self.met,
        }

    def cells(self) -> tuple[str, str, str, str]:
        """What is measured, the figures, the targets, met or missed."""
        measured = ", ".join(_written(name, value) for name, value in self.figures.items())
        return self.what, measured, "; ".join(map(str, self.limits)), {True: "met", False: "MISSED", None: ""}[self.met]


def _written(figure: str, value: float, *, sign: str = "") -> str:
    before, form, unit = _FORMATS[figure]
    return f"{before}{sign}{value:{form}}{unit}"


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Median and 99th percentile, in milliseconds."""
    ordered = sorted(seconds)
    return {"p50_ms": 1e3 * ordered[len(ordered) // 2], "p99_ms": 1e3 * ordered[(len(ordered) * 99) // 100]}


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    models = {
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    }
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": ", ".join(sorted(models)) or platform.machine(),
        "memory_gb": round(memory / 1e9, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "load_at_start": round(os.getloadavg()[0], 2),
    }


def described(machine: dict[str, Any]) -> str:
    """The machine in one sentence."""
    return (
        f"{machine['cores']} cores ({machine['cpu']}), {machine['memory_gb']} GB, Linux {machine['kernel']}, "
        f"Python {machine['python']}, SQLite {machine['sqlite']}; load average at the start {machine['load_at_start']}."
    )


def markdown(rows: Iterable[Row], machine: dict[str, Any]) -> str:
    """The section of docs/benchmarks.md: the machine, and a table for each scenario."""
    by_scenario: dict[str, list[Row]] = {}
    for row in rows:
        by_scenario.setdefault(row.scenario, []).append(row)
    parts = [described(machine)]
    for scenario, of_scenario in by_scenario.items():
        lines = [f"| {' | '.join(row.cells())} |" for row in of_scenario]
        header = "| what | measured | target | |\n| --- | --- | --- | --- |"
        parts += [f"### {scenario}", "\n".join([header, *lines])]
    return "\n\n".join(parts)


def write_into(page: Path, section: str) -> None:
    """Replaces what stands between the markers of a page."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{page}: no {BEGIN} ... {END} to write between")
    page.write_text(f"{before}{BEGIN}\n\n{section}\n\n{END}{after}")
