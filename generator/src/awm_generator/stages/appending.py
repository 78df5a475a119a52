"""Files that grow line by line. A line is there whole or not at all, also after a kill and on a full disk."""

import json
import os
from pathlib import Path

from awm_generator import errors


def append(path: Path, text: str) -> None:
    """Appends whole lines in one write.

    Raises:
        GenerationError: the disk refuses them; the file is as it was.
    """
    data = text.encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            before = os.fstat(descriptor).st_size
            try:
                written = os.write(descriptor, data)
                while written < len(data):
                    written += os.write(descriptor, data[written:])
            except OSError:
                os.ftruncate(descriptor, before)
                raise
        finally:
            os.close(descriptor)
    except OSError as exc:
        raise unwritable(path, exc.strerror) from exc


def mend(path: Path) -> None:
    """Ends the last line of a file: one that was torn by a kill goes, one that only lacks its line feed gets it.

    Raises:
        GenerationError: the disk refuses it.
    """
    try:
        with path.open("r+b") as file:
            content_end = file.seek(0, os.SEEK_END)
            start = _last_line(path)
            if start == content_end:
                return
            file.seek(start)
            if _is_whole(file.read()):
                file.write(b"\n")
            else:
                file.truncate(start)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise unwritable(path, exc.strerror) from exc


def replace(path: Path, data: bytes) -> None:
    """Writes a file anew, all of it or nothing.

    Raises:
        GenerationError: the disk refuses it; the file is as it was.
    """
    unfinished = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            unfinished.write_bytes(data)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as exc:
        raise unwritable(path, exc.strerror) from exc


def unwritable(path: Path, why: str | None) -> errors.GenerationError:
    """The error for a disk that refuses a file."""
    return errors.GenerationError(
        f"{path}: cannot be written: {why}; what was done before is kept; run the same command again"
    )


def _last_line(path: Path) -> int:
    """Where the last line begins that has no line feed at its end; the end of the file where all have one."""
    start = 0
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                start += len(line)
    return start


def _is_whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
