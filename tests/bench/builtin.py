"""`python -m bench.builtin`: how fast the built-in generator is, what its scenarios are like, and whether they can be
solved through a fleet that serves all of them."""

import argparse
import contextlib
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import local_fleets
import played_fleets

from awm_generator.builtin import running, staging, statistics
from awm_runtime.bundle import reading

_TARGETS = {"tools": 30, "tables": 14, "rows": 120, "tasks": 10, "calls_per_oracle": 5}
_WHOLE = 1000
_WHOLE_S = 360


def main() -> None:
    """Makes the scenarios, plays some, and prints the table on standard error, JSON on standard output."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=_WHOLE, help="how many scenarios")
    parser.add_argument("--seed", type=int, default=7, help="the seed of all of them")
    parser.add_argument("--play", type=int, default=100, help="how many are served by awm up and played; 0 for none")
    parser.add_argument("--folder", type=Path, help="an output folder to keep, and to go on from; else a scratch one")
    given = parser.parse_args()
    with _folder(given.folder) as folder:
        bundles = folder / staging.BUNDLES
        document = measure(given.count, given.seed, bundles)
        if given.play:
            document["played"] = played(bundles, min(given.play, given.count), given.seed)
    for line in lines(document):
        print(line, file=sys.stderr)
    print(json.dumps(document, indent=1))


def measure(count: int, seed: int, out: Path) -> dict[str, Any]:
    """The figures of a run; the pace is that of the scenarios that were not there yet."""
    began = time.perf_counter()
    made = list(running.run(running.plan(running.blueprints(), count, seed), out))
    seconds = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    fresh = sum(1 for each in made if each.compiles)
    paths = [each.path for each in made if each.path]
    collected = [statistics.facts(reading.read(path)) for path in paths]
    read = time.perf_counter()
    document = statistics.document(collected)
    return {
        "count": count,
        "made": len(paths),
        "kept": len(made) - fresh,
        "seconds": round(seconds, 1),
        "seconds_for_1000": round(seconds / fresh * _WHOLE, 1) if fresh else None,
        "cpu_per_scenario_s": round((used.ru_utime + used.ru_stime) / fresh, 3) if fresh else None,
        "mb_of_largest_worker": round(used.ru_maxrss / 1024, 1),
        "right_at_first_compile": sum(1 for each in made if each.compiles == 1),
        "failed": {each.name: each.reason for each in made if not each.path},
        "seconds_of_statistics": round(time.perf_counter() - read, 1),
        **document,
    }


def played(bundles: Path, count: int, seed: int) -> dict[str, Any]:
    """What became of the tasks of some scenarios, while all are served on one port."""
    paths = sorted(path.parent for path in bundles.glob("*/scenario.json"))
    some = random.Random(seed).sample(paths, min(count, len(paths)))
    with (
        tempfile.TemporaryDirectory(prefix="awm-bench-") as state,
        local_fleets.running([bundles], Path(state) / "fleet") as fleet,
    ):
        served = len(fleet.status()["scenarios"])
        began = time.perf_counter()
        found = list(played_fleets.play(fleet, [reading.read(path) for path in some]))
        seconds = time.perf_counter() - began
    return {
        "served": served,
        "started_s": round(fleet.started_s, 1),
        "scenarios": len(some),
        "episodes": len(found),
        "completed": sum(1 for each in found if each.outcome == "completed"),
        "calls": sum(each.calls for each in found),
        "seconds": round(seconds, 1),
        "others": [f"{each.scenario} {each.task}: {each.outcome}" for each in found if each.outcome != "completed"],
    }


def lines(document: dict[str, Any]) -> Iterator[str]:
    """The table, a target beside each figure that has one."""
    fresh = document["made"] - document["kept"]
    yield f"{'made':28} {document['made']} of {document['count']}, {document['kept']} were there"
    if fresh:
        yield f"{'right at first compile':28} {document['right_at_first_compile']} of {fresh}"
        yield f"{'seconds for 1,000':28} {document['seconds_for_1000']} (target {_WHOLE_S})"
        yield f"{'CPU seconds per scenario':28} {document['cpu_per_scenario_s']}"
        yield f"{'MB of the largest worker':28} {document['mb_of_largest_worker']}"
    for name, target in _TARGETS.items():
        spread = document[name]
        yield f"{name.replace('_', ' '):28} {spread['mean']} (target {target}), {spread['least']} to {spread['most']}"
    yield f"{'diversity':28} {json.dumps(document['diversity'])}"
    if played := document.get("played"):
        yield (
            f"{'solved through a fleet':28} {played['completed']} of {played['episodes']} episodes completed, in "
            f"{played['scenarios']} of the {played['served']} scenarios served"
        )
    yield from (f"{'':28} {each}" for each in (document.get("played") or {}).get("others", ()))


@contextlib.contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="awm-bench-") as scratch:
        yield Path(scratch)


if __name__ == "__main__":
    main()
