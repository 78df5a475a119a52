"""Many episodes over many scenarios that all sleep, on the backend of processes."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import local_fleets
import psutil

from awm_fleet import shelves
from awm_registry import client
from bench import report, worlds

_CACHE = worlds.ROOT / ".awm" / "bench"


def bundles(count: int) -> list[Path]:
    """Scenarios of the built-in generator, made on first use and kept for the next time."""
    folder = _CACHE / f"{count}-scenarios"
    command = ["gen", "all", "--provider", "builtin", "--target_count", str(count), "--gate_level", "none"]
    done = subprocess.run(
        [*local_fleets.AWM, *command, "--output_dir", str(folder)], stdout=sys.stderr, check=False, timeout=3600
    )
    if done.returncode:
        raise SystemExit(f"bench: `awm {' '.join(command)}` failed with {done.returncode}")
    return shelves.folders([folder / "bundles"])[:count]


def measure(found: list[Path], folder: Path, *, episodes: int) -> Iterator[report.Row]:
    """Opens so many episodes over all of them by one batch, as a trainer does: what is asked to wait asks again."""
    share, more = divmod(episodes, len(found))
    with local_fleets.running(found, folder / "cold") as fleet:
        names = [each["name"] for each in fleet.status()["scenarios"]]
        items = [
            client.Item(scenario=name, count=share + (n < more)) for n, name in enumerate(names) if share or n < more
        ]
        with client.SyncFleet(fleet.url, timeout_s=300) as trainer:
            began = perf_counter()
            batch = trainer.open_batch(items)
            figures = {"seconds": perf_counter() - began, "mb": _pss_mb(fleet.family())}
            if batch.refused or len(batch.episodes) != episodes:
                raise RuntimeError(f"{len(batch.episodes)} were opened; refused: {batch.refused[:3]}")
    limits = (report.Limit("seconds", "below", 40.0),)
    what = f"open {episodes} episodes over {len(items)} sleeping scenarios"
    yield report.Row("processes", what, figures, limits)


def _pss_mb(processes: list[psutil.Process]) -> float:
    total = 0
    for each in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += each.memory_full_info().pss
    return total / 1e6
