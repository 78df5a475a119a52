"""`python -m bench.generator`: how fast `awm gen` asks, and what memory it takes. Table as for `python -m bench`."""

import argparse
import asyncio
import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import doubles
import psutil

from awm_generator.model import endpoints, ledger, opening
from awm_generator.stages import journals, paths, pipeline, running, trials
from bench import report

_AWM = str(Path(sys.executable).with_name("awm"))
_TICK_S = 0.1


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        asked: Scenarios whose task stage is timed.
        concurrency: Requests at once.
        latency_s: How long each reply takes.
        grown: Scenarios that go through all stages.
        tasks: Tasks of each.
    """

    asked: int = 200
    concurrency: int = 64
    latency_s: float = 1.0
    grown: int = 1000
    tasks: int = 2


FULL = Size()
QUICK = Size(asked=12, concurrency=4, latency_s=0.2, grown=2)


@dataclass(frozen=True)
class Line:
    """A line of the table."""

    what: str
    measured: str
    target: str
    met: bool


def main() -> None:
    """Measures, and prints what came of it."""
    parser = argparse.ArgumentParser(prog="make bench-generator BENCH_ARGS=...", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a little of everything: shows that it runs, no more")
    parser.add_argument("--grown", type=int, help="scenarios that go through all stages (1000 take an hour)")
    given = parser.parse_args()
    size = QUICK if given.quick else FULL
    grown = given.grown or size.grown
    machine = report.machine()
    _say(report.described(machine))
    lines = []
    for line in (_pace(size), _memory(size, grown)):
        lines.append(line)
        _say(f"{line.what:58}  {line.measured:52}  {line.target:22}  {'met' if line.met else 'MISSED'}")
    print(json.dumps({"machine": machine, "rows": [asdict(line) for line in lines]}, indent=1))


def _pace(size: Size) -> Line:
    """How much longer the task stage takes than its replies would by themselves."""
    with tempfile.TemporaryDirectory(prefix="awm-bench-") as name:
        folder = Path(name)
        rows = [{"name": f"Shop {number}", "description": "Sells things."} for number in range(size.asked)]
        (folder / "gen_scenario.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        with doubles.running(flags=("--latency", str(size.latency_s))) as double:
            took = asyncio.run(_tasks(folder, double, size.concurrency))
            at_once = double.stats()["most_at_once"]
    ideal = math.ceil(size.asked / size.concurrency) * size.latency_s
    return Line(
        f"{size.asked} task stages, {size.latency_s:g} s replies, {size.concurrency} at once",
        f"{took:.2f} s, ideal {ideal:.2f} s: {took / ideal:.3f} of it ({at_once} at once)",
        "<= 1.25 of the ideal",
        took <= 1.25 * ideal,
    )


async def _tasks(folder: Path, double: doubles.Double, concurrency: int) -> float:
    memory = journals.Memory(folder)
    where = endpoints.read(double.environment, "openai", model="gpt-5")
    terms = opening.Terms(max_concurrency=concurrency)
    async with (
        opening.opened(where, memory.replies, ledger.Ledger(memory.ledger), terms) as model,
        trials.Trials() as ran,
    ):
        options = pipeline.Options(num_tasks=10, max_concurrency=concurrency)
        bench = pipeline.Bench(model, ran, memory, paths.Paths.within(folder), options, running.Unwatched())
        began = time.perf_counter()
        await pipeline.run(bench, "task")
        return time.perf_counter() - began


def _memory(size: Size, grown: int) -> Line:
    """The most memory that `awm gen all` takes, with what it starts."""
    with tempfile.TemporaryDirectory(prefix="awm-bench-") as name, doubles.running() as double:
        command = [_AWM, "gen", "all", "--target_count", str(grown), "--num_tasks", str(size.tasks)]
        command += ["--gate_level", "none"]  # gates have figures of their own
        environment = {**os.environ, **double.environment}
        began = time.perf_counter()
        silent = subprocess.DEVNULL
        with (
            subprocess.Popen(command, cwd=name, env=environment, stdout=silent, stderr=silent) as process,
            _watched(process.pid) as most,
        ):
            code = process.wait()
        took = time.perf_counter() - began
        made = sum(1 for _ in Path(name, "outputs", "bundles").glob("*/scenario.json"))
    return Line(
        f"{grown} scenarios through all stages, instant replies",
        f"{most['own']:.0f} MB, with children {most['all']:.0f} MB; {made} bundles in {took:.0f} s",
        "< 600 MB",
        code in (0, 3) and made == grown and most["own"] < 600,
    )


@contextlib.contextmanager
def _watched(pid: int) -> Iterator[dict[str, float]]:
    """The most memory in MB that a process takes while the block lasts: its own (RSS), and with its children (PSS)."""
    most = {"own": 0.0, "all": 0.0}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_TICK_S):
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                most["own"] = max(most["own"], process.memory_info().rss / 1e6)
                most["all"] = max(most["all"], sum(_pss(each) for each in (process, *process.children(recursive=True))))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield most
    finally:
        over.set()
        watcher.join()


def _pss(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.Error):
        return float(process.memory_full_info().pss) / 1e6
    return 0.0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
