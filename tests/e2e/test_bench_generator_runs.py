"""`make bench-generator` runs: a little of everything."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_quick_run_prints_its_table() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.generator", "--quick"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    pace, memory = json.loads(done.stdout)["rows"]
    assert pace["what"] == "12 task stages, 0.2 s replies, 4 at once"
    assert "(4 at once)" in pace["measured"]
    assert "2 bundles" in memory["measured"]
    for row in (pace, memory):
        assert row["what"] in done.stderr
        assert row["target"] in done.stderr
