"""`make bench-images` runs: a little of everything."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_quick_run_prints_a_figure_for_each_target(runtime_base: str, image_registry: str) -> None:
    command = [sys.executable, "-m", "bench.images", "--quick", "--base", runtime_base]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    said = " ".join(row["what"] for row in rows)
    for part in (
        "into a layout",
        "pushed to a local registry",
        "pushed again",
        "one regenerated",
        "docker run to ready",
    ):
        assert part in said
    assert all(math.isfinite(value) for row in rows for value in row["figures"].values())
    [layer] = [row for row in rows if row["what"].startswith("a layer")]
    assert layer["met"]
