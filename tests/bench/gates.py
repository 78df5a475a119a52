"""What gates take: a worker that is running already gates one bundle, on one core at a time."""

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from awm_generator.gates import protocol, running
from bench import report, worlds

_LIMIT = (report.Limit("seconds", "below", 5.0),)


def measure(world: worlds.World, rounds: int) -> Iterator[report.Row]:
    """The static and runtime gates of one scenario, and all of them: medians of some rounds."""
    worker = running.Worker()
    try:
        worker.gate(world.bundle.root, "static")  # its imports are the worker's, once for all bundles
        yield _row(worker, world, "runtime", "gates: static and runtime", rounds)
        yield _row(worker, world, "semantic", "gates: all", rounds)
    finally:
        worker.close()


def _row(worker: running.Worker, world: worlds.World, level: protocol.Level, what: str, rounds: int) -> report.Row:
    taken = [_seconds(worker, world.bundle.root, level) for _ in range(rounds)]
    return report.Row(world.name, what, {"seconds": statistics.median(taken)}, _LIMIT)


def _seconds(worker: running.Worker, bundle: Path, level: protocol.Level) -> float:
    began = time.perf_counter()
    worker.gate(bundle, level)
    return time.perf_counter() - began
