"""`python -m bench`: runs the benchmarks. The table goes to standard error, JSON to standard output."""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from awm_fleet import examples
from bench import calls, episodes, fleet, load, memory, report, starts, worlds

PAGE = worlds.ROOT / "docs" / "benchmarks.md"
_MEMORY_DISK = Path("/dev/shm")  # where episodes live in production; a disk's pace is not what is measured


@dataclass(frozen=True)
class Size:
    """How much of each kind is measured."""

    calls: calls.Effort
    lives: int
    counts: tuple[int, ...]
    starts: int
    asleep: int
    woken: int

    def kinds(self) -> dict[str, Callable[[worlds.World, Path], Iterator[report.Row]]]:
        """The benchmarks by name, ready to be run on a scenario and an empty folder."""
        return {
            "calls": lambda world, state: calls.measure(world, state, self.calls),
            "episodes": lambda world, state: episodes.measure(world, state, self.lives),
            "memory": lambda world, state: memory.measure(world, state, self.counts),
            "starts": lambda world, state: starts.measure(world, state, starts=self.starts, episodes=self.counts[-1]),
        }


FLEET = "fleet"
"""The one kind that is about all scenarios together."""

FULL = Size(calls=calls.Effort(rounds=3, seconds=3), lives=300, counts=(256, 1024), starts=5, asleep=1000, woken=100)
QUICK = Size(calls=calls.Effort(rounds=1, seconds=1), lives=10, counts=(8, 16), starts=1, asleep=8, woken=4)


def main() -> None:
    """Measures what is asked for."""
    given = _arguments()
    size = QUICK if given.quick else FULL
    kinds = {name: run for name, run in size.kinds().items() if not given.only or name in given.only}
    if "calls" in kinds:
        load.require()
    machine = report.machine()
    _say(report.described(machine))
    rows: list[report.Row] = []
    for world, kind, folder in _runs(given.scenario, list(kinds)):
        for row in kinds[kind](world, folder):
            rows.append(row)
            _say_row(row)
    if FLEET in given.only or not given.only:
        for row in _fleet(given.scenario, size):
            rows.append(row)
            _say_row(row)
    if given.write:
        report.write_into(PAGE, report.markdown(rows, machine))
    print(json.dumps({"machine": machine, "quick": given.quick, "rows": [row.document() for row in rows]}, indent=1))


def _runs(scenarios: list[str], kinds: list[str]) -> Iterator[tuple[worlds.World, str, Path]]:
    """Each kind on each scenario, with a folder of its own for the while."""
    disk = _MEMORY_DISK if _MEMORY_DISK.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="awm-bench-", dir=disk) as folder:
        for world in worlds.prepared(scenarios, Path(folder) / "bundles"):
            for kind in kinds:
                with tempfile.TemporaryDirectory(dir=folder) as state:
                    yield world, kind, Path(state)


def _fleet(scenarios: list[str], size: Size) -> Iterator[report.Row]:
    disk = _MEMORY_DISK if _MEMORY_DISK.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="awm-bench-", dir=disk) as folder:
        prepared = list(worlds.prepared(scenarios, Path(folder) / "bundles"))
        own = [world for world in prepared if world.name not in examples.names()]
        yield from fleet.measure(
            own or prepared, Path(folder), episodes=size.counts[-1], asleep=size.asleep, woken=size.woken
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench BENCH_ARGS=...", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a little of everything: shows that it runs, no more")
    parser.add_argument("--scenario", action="append", default=[], choices=worlds.names(), help="only this one")
    parser.add_argument("--only", action="append", default=[], choices=[*QUICK.kinds(), FLEET], help="only this kind")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/benchmarks.md")
    return parser.parse_args()


def _say_row(row: report.Row) -> None:
    what, measured, targets, met = row.cells()
    _say(f"{row.scenario[:20]:20}  {what:45}  {measured:55}  {targets}{'  ' if met else ''}{met}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
