"""A control group for a node's pods, in every hierarchy of the machine; removed when the node ends."""

import contextlib
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_WEIGHTS = {"cpu.shares": "10240", "cpu.weight": "1000"}
"""Ten times the default: on a busy machine all pods together would else get as much as one process beside them."""

_PATIENCE_S = 10.0


@contextlib.contextmanager
def own() -> Iterator[str]:
    """The name of a new group for the length of a `with` block; whatever was made below it is removed at the end."""
    name = f"awm-testbed-{uuid.uuid4().hex[:8]}"
    folders = [each / name for each in _hierarchies()]
    for each in folders:
        each.mkdir(exist_ok=True)  # two hierarchies may be one under two names
        _weigh(each)
    try:
        yield name
    finally:
        for each in folders:
            _remove(each)


def _hierarchies() -> list[Path]:
    """The one of version 2, or those of version 1."""
    if (_ROOT / "cgroup.controllers").exists():
        return [_ROOT]
    return sorted(each for each in _ROOT.iterdir() if (each / "cgroup.procs").exists())


def _weigh(folder: Path) -> None:
    for name, value in _WEIGHTS.items():
        if (folder / name).exists():
            (folder / name).write_text(value)


def _remove(folder: Path) -> None:
    """Removes a group and those in it. A process that just ended may hold one for a moment."""
    deadline = time.monotonic() + _PATIENCE_S
    while folder.exists():
        inner = sorted((each for each in folder.rglob("*") if each.is_dir()), reverse=True)
        try:
            for each in (*inner, folder):
                each.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
