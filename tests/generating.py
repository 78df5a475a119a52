"""`awm gen` as tests run it: a process of its own, in a folder of its own, led to a double."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import doubles
import instances

AWM = str(Path(sys.executable).with_name("awm"))
NAMES = ("OPENAI", "AZURE", "EMBEDDING", "AWM_SYN")


def variables(double: doubles.Double | None, **others: str) -> dict[str, str]:
    """The variables of a process: those of this one, without what would lead it elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(NAMES)}
    return {**kept, **(double.environment if double else {}), **others}


def gen(
    folder: Path, *words: str, double: doubles.Double | None = None, **others: str
) -> "subprocess.CompletedProcess[str]":
    """Runs `awm gen` to its end."""
    return subprocess.run(
        [AWM, "gen", *words],
        cwd=folder,
        env=variables(double, **others),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def killed(folder: Path, *words: str, double: doubles.Double) -> None:
    """Runs `awm gen` until the double holds a request back and all other replies are kept; then kills it with -9."""
    process = subprocess.Popen(
        [AWM, "gen", *words],
        cwd=folder,
        env=variables(double),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        instances.wait_for(lambda: process.poll() is not None or _is_still(folder, double), within_s=120)
        assert process.poll() is None, "it ended before it could be killed"
    finally:
        process.kill()
        process.wait()
    instances.wait_for(lambda: double.stats()["waiting"] == 0, within_s=20)


def files(folder: Path) -> dict[str, bytes]:
    """What a run has made: its rows, and the digests of its bundles."""
    rows = {path.name: path.read_bytes() for path in sorted(folder.glob("gen_*.jsonl"))}
    bundles = {str(path): path.read_bytes() for path in sorted(folder.glob("bundles/*/scenario.json"))}
    return rows | {path.removeprefix(str(folder)): text for path, text in bundles.items()}


def _is_still(folder: Path, double: doubles.Double) -> bool:
    """Whether nothing is under way but what is held back, and every other reply is kept on the disk."""
    counted: dict[str, Any] = double.stats()
    kept = sum(1 for _ in folder.rglob(".awm/replies/*/*.json"))
    return bool(counted["waiting"] == counted["at_once"] > 0 and kept == counted["replies"] + counted["embeddings"])
