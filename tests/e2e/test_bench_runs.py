"""`make bench` runs: a little of everything, on one example."""

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from bench import report

ROOT = Path(__file__).resolve().parents[2]


def test_a_quick_run_prints_figures_of_every_kind_as_json(missing: Callable[[str, str], NoReturn]) -> None:
    if shutil.which("wrk") is None:
        missing("wrk", "no wrk on the PATH: apt-get install wrk")
    command = [sys.executable, "-m", "bench", "--quick", "--scenario", "library"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    beginnings = (
        "floor",
        "in process",
        "HTTP, 2025",
        "HTTP, 2026",
        "episode",
        "memory",
        "gates",
        "start",
        "SIGKILL",
        "asleep",
        "wake",
    )
    for beginning in beginnings:
        assert any(row["what"].startswith(beginning) for row in rows), f"no row about {beginning}"
    for row in rows:
        assert row["scenario"] in ("library", "a fleet")
        assert all(math.isfinite(value) for value in row["figures"].values()), row
        assert row["what"] in done.stderr


def test_a_quick_run_of_the_routers_benchmark_prints_every_row(missing: Callable[[str, str], NoReturn]) -> None:
    if shutil.which("wrk") is None:
        missing("wrk", "no wrk on the PATH: apt-get install wrk")
    command = [sys.executable, "-m", "bench.router", "--quick"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    for beginning in (
        "direct, 1",
        "through the router, 1",
        "through the router, 64",
        "open 16 episodes over 2",
        "50 calls",
        "memory",
    ):
        assert any(row["what"].startswith(beginning) for row in rows), f"no row about {beginning}"
    [crowd] = [row for row in rows if row["what"].startswith("50 calls")]
    assert (crowd["figures"]["answered"], crowd["figures"]["lost"]) == (50, 0)


def test_a_row_is_missed_when_one_of_its_figures_is_over_its_bound() -> None:
    limits = (report.Limit("p50_ms", "below", 3.0), report.Limit("p99_ms", "below", 10.0))
    assert report.Row("rover", "open", {"p50_ms": 1.0, "p99_ms": 10.0}, limits).cells()[2:] == (
        "p50 < 3.00 ms; p99 < 10.00 ms",
        "MISSED",
    )
    assert report.Row("rover", "open", {"p50_ms": 1.0, "p99_ms": 9.9}, limits).met


def test_a_share_meets_its_bound_when_it_reaches_it() -> None:
    limit = report.Limit("of_floor_rate", "at least", 0.55)
    assert limit.is_met({"of_floor_rate": 0.55})
    assert not limit.is_met({"of_floor_rate": 0.54})


def test_percentiles_are_of_the_ordered_times() -> None:
    seconds = [each / 1000 for each in range(100, 0, -1)]
    assert report.percentiles(seconds) == {"p50_ms": 51.0, "p99_ms": 100.0}


def test_figures_are_written_between_the_markers_of_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"above\n{report.BEGIN}\nold\n{report.END}\nbelow\n")
    report.write_into(page, "new")
    report.write_into(page, "newer")
    assert page.read_text() == f"above\n{report.BEGIN}\n\nnewer\n\n{report.END}\nbelow\n"


def test_the_page_has_the_markers() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    assert page.index(report.BEGIN) < page.index(report.END)
