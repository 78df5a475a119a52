"""The folder of an episode: what lies in it by which name, and how it is cleaned up."""

import contextlib
import json
import shutil
from pathlib import Path

from awm_runtime.contract import episodes as contract

_GONE = ".gone"


def meta_of(folder: Path) -> Path:
    """What is persisted of an episode beside its state."""
    return folder / "meta.json"


def database_of(folder: Path, attempt: int) -> Path:
    """The database of an attempt."""
    return folder / f"{attempt}.db"


def trace_of(folder: Path, attempt: int) -> Path:
    """The call log of an attempt."""
    return folder / f"{attempt}.jsonl"


def is_leftover(folder: Path) -> bool:
    """Whether a folder is of an episode that was being opened or removed when its process was killed."""
    return folder.suffix == _GONE or not meta_of(folder).exists()


def count_in_use(episodes: Path) -> int:
    """How many episodes in a folder say that they take calls, default ones not counted.

    Whether their leases still run, only an instance knows.
    """
    count = 0
    with contextlib.suppress(FileNotFoundError):
        for folder in episodes.iterdir():
            with contextlib.suppress(OSError, ValueError, AttributeError):
                meta = json.loads(meta_of(folder).read_bytes())
                count += meta.get("state") == "open" and not contract.is_default(folder.name, meta.get("group"))
    return count


def remove_other_attempts(folder: Path, attempt: int) -> None:
    """Removes what an earlier attempt, or a reset that was cut off, left behind."""
    for path in folder.iterdir():
        if path.is_dir():  # scenario code's: nothing of ours
            shutil.rmtree(path, ignore_errors=True)
        elif path != meta_of(folder) and path.name.split(".")[0] != str(attempt):
            with contextlib.suppress(OSError):
                path.unlink()


def remove(folder: Path) -> None:
    """Removes an episode's folder; one that is cut off in this is not taken for an episode afterwards."""
    with contextlib.suppress(OSError):
        folder = folder.replace(folder.with_name(folder.name + _GONE))
    shutil.rmtree(folder, ignore_errors=True)


def size(folder: Path) -> int:
    """How many bytes a folder's files take; what scenario code made unreadable counts for nothing."""
    total = 0
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            total += path.lstat().st_size
    return total
