"""The call log of an episode: JSON Lines, one per call, written before the call is answered."""

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import orjson

from awm_runtime.contract import problems, verdicts

NEWLINE = orjson.OPT_APPEND_NEWLINE
_BLAMES = (None, *get_args(problems.Blame))
_LONGEST = 512 * 1024
"""A longer line of the log is kept without its arguments; results have a limit of their own."""


@dataclass(slots=True)
class Tally:
    """What an episode's calls came to so far: the log, summed up.

    Attributes:
        calls: How many calls were made; the next has the number after this.
        errors: How many went wrong, by whose fault.
        masking: Numbers of the calls that went wrong by the environment's or the infrastructure's fault.
        log_bytes: How long the log is.
    """

    calls: int = 0
    errors: verdicts.ErrorCounts = field(default_factory=verdicts.ErrorCounts)
    masking: list[int] = field(default_factory=list)
    log_bytes: int = 0

    def copy(self) -> "Tally":
        """One that a fork goes on with."""
        return Tally(self.calls, self.errors.model_copy(), list(self.masking), self.log_bytes)

    def add(self, number: int, blame: problems.Blame | None, code: str | None) -> None:
        """Counts one call."""
        self.calls = max(self.calls, number)
        if blame is None:
            return
        if blame == "agent":
            kind = "refused" if code == problems.Code.REFUSED else "malformed"
        else:
            kind = blame
            self.masking.append(number)
        setattr(self.errors, kind, getattr(self.errors, kind) + 1)


@dataclass(frozen=True, slots=True)
class Record:
    """One call, as `GET /v1/episodes/{id}/trace` shows it."""

    n: int
    at: str
    tool: str
    arguments: dict[str, Any]
    result: str
    is_error: bool
    blame: problems.Blame | None
    code: str | None
    status: int | None
    ms: float

    def line(self) -> bytes:
        """The record as one line of JSON; arguments that are too long to keep give way to a note."""
        line = self._encoded(self.arguments)
        return line if len(line) <= _LONGEST else self._encoded({"cut": f"{len(line)} bytes"})

    def _encoded(self, arguments: dict[str, Any]) -> bytes:
        return orjson.dumps(
            {
                "n": self.n,
                "at": self.at,
                "tool": self.tool,
                "arguments": arguments,
                "result": self.result,
                "is_error": self.is_error,
                "class": self.blame,
                "code": self.code,
                "status": self.status,
                "ms": self.ms,
            },
            option=NEWLINE,
        )


def append(path: Path, line: bytes) -> None:
    """Adds a line; once this returns, a killed process does not lose it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        written = os.write(descriptor, line)
        if written < len(line):  # the disk is full: half a line would spoil the next one
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(descriptor)


def tally(path: Path) -> tuple[Tally, int | None]:
    """Sums up what can be read of an episode's log, of which a kill may have cut off the end.

    Returns:
        The sum, and the number of the first call whose line scenario code has spoiled, or None.
    """
    total, spoiled = Tally(), None
    for line in _lines(path):
        read = _read(line)
        if read is not None:
            total.add(*read)
            total.log_bytes += len(line)
        elif spoiled is None and line.endswith(b"\n"):
            spoiled = total.calls + 1
    return total, spoiled


def mend(path: Path) -> None:
    """Removes the lines from a log that cannot be read. Takes no room."""
    lines = _lines(path)
    readable = [line for line in lines if _read(line) is not None]
    if len(readable) < len(lines):
        with path.open("r+b") as log:  # a confined process may not truncate by name
            log.write(b"".join(readable))
            log.truncate()


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True) if path.exists() else []


def _read(line: bytes) -> tuple[int, problems.Blame | None, str | None] | None:
    """A line's number, blame and code; None where it is no record in full."""
    try:
        row = orjson.loads(line)
        number, blame, code = row["n"], row["class"], row["code"]
    except (ValueError, TypeError, KeyError):
        return None
    is_record = line.endswith(b"\n") and type(number) is int and blame in _BLAMES
    return (number, blame, code) if is_record else None
