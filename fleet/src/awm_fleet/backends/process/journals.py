"""The log of an environment: a file of limited size that whatever runs in it writes to through a pipe."""

import asyncio
import contextlib
import os
from collections import deque
from pathlib import Path

LIMIT_BYTES = 4 * 1024 * 1024
"""A full file becomes the earlier one; so twice this is kept."""

_CHUNK = 256 * 1024
_PAUSE_S = 0.05
"""Between two chunks: what prints without end is slowed down to 5 MB/s, and costs this process little."""

_TAIL_BYTES = 256 * 1024


class Journal:
    """Takes what arrives on a pipe into a file, from an event loop.

    Args:
        path: The file; an earlier one is added to.
        limit_bytes: When to begin a new one.

    Attributes:
        writing: The pipe's end for whoever logs.

    Raises:
        OSError: No descriptors are left, or the folder cannot be written.
    """

    def __init__(self, path: Path, *, limit_bytes: int = LIMIT_BYTES) -> None:
        self._path = path
        self._limit = limit_bytes
        with contextlib.ExitStack() as undo:
            self._file = undo.enter_context(path.open("ab", buffering=0))
            self._reading, self.writing = os.pipe()
            undo.pop_all()
        os.set_blocking(self._reading, False)
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._listen()

    def take(self) -> None:
        """Takes what is in the pipe now."""
        with contextlib.suppress(BlockingIOError):
            if data := os.read(self._reading, _CHUNK):
                self._write(data)

    def close(self) -> None:
        """Takes the rest and closes; who still writes gets an error."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._reading)
        self.take()
        os.close(self.writing)
        os.close(self._reading)
        self._file.close()

    def _listen(self) -> None:
        self._pause = None
        self._loop.add_reader(self._reading, self._arrived)

    def _arrived(self) -> None:
        self._loop.remove_reader(self._reading)
        self.take()
        self._pause = self._loop.call_later(_PAUSE_S, self._listen)

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # a full disk: what runs is worth more than what it says
            self._file.write(data)
            if self._file.tell() > self._limit:
                self._file.close()
                self._path.replace(earlier(self._path))
                self._file = self._path.open("ab", buffering=0)


def earlier(path: Path) -> Path:
    """Where a full file goes."""
    return path.with_name(f"{path.name}.1")


def tail(path: Path, lines: int) -> str:
    """The last lines of a log, also those of its earlier file."""
    kept: deque[str] = deque(maxlen=lines)
    for part in (earlier(path), path):
        with contextlib.suppress(FileNotFoundError), part.open("rb") as file:
            file.seek(max(0, part.stat().st_size - _TAIL_BYTES))
            kept.extend(file.read().decode(errors="replace").splitlines())
    return "".join(f"{line}\n" for line in kept)
