"""`python -m bench.builtin`: how fast the built-in generator is, how large its scenarios are, and how different."""

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from awm_generator.builtin import running, statistics
from awm_runtime.bundle import reading

_TARGETS = {"tools": 30, "tables": 14, "rows": 120, "tasks": 10, "calls_per_oracle": 5}
_WHOLE = 1000
_WHOLE_S = 360


def main() -> None:
    """Makes the scenarios and prints the table on standard error, JSON on standard output."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=_WHOLE)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="awm-bench-") as folder:
        document = measure(given.count, given.seed, Path(folder))
    for line in lines(document):
        print(line, file=sys.stderr)
    print(json.dumps(document, indent=1))


def measure(count: int, seed: int, out: Path) -> dict[str, object]:
    """The figures of a run."""
    began = time.perf_counter()
    made = list(running.run(running.plan(running.blueprints(), count, seed), out))
    seconds = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    paths = [each.path for each in made if each.path]
    return {
        "count": count,
        "seconds": round(seconds, 1),
        "seconds_for_1000": round(seconds / count * _WHOLE, 1),
        "cpu_per_scenario_s": round((used.ru_utime + used.ru_stime) / count, 3),
        "made": len(paths),
        "right_at_first_compile": sum(1 for each in made if each.compiles == 1),
        **statistics.document([statistics.facts(reading.read(path)) for path in paths]),
    }


def lines(document: dict[str, object]) -> list[str]:
    """The table, a target beside each figure that has one."""
    found = [
        f"{'made':28} {document['made']} of {document['count']}, {document['right_at_first_compile']} right at once",
        f"{'seconds for 1,000':28} {document['seconds_for_1000']} (target {_WHOLE_S})",
        f"{'CPU seconds per scenario':28} {document['cpu_per_scenario_s']}",
    ]
    for name, target in _TARGETS.items():
        spread = document[name]
        assert isinstance(spread, dict)
        found.append(
            f"{name.replace('_', ' '):28} {spread['mean']} (target {target}), {spread['least']} to {spread['most']}"
        )
    return [*found, f"{'diversity':28} {json.dumps(document['diversity'])}"]


if __name__ == "__main__":
    main()
