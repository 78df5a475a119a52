"""The call log of an episode: JSON Lines, one per call, written before the call is answered."""

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from awm_runtime.contract import problems, verdicts

NEWLINE = orjson.OPT_APPEND_NEWLINE
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


def tally(path: Path) -> Tally:
    """Sums up the log of an episode; a last line that a kill cut off counts for nothing and is removed."""
    total = Tally()
    if not path.exists():
        return total
    whole = path.read_bytes()
    complete = whole[: whole.rfind(b"\n") + 1]
    if len(complete) < len(whole):
        with path.open("r+b") as log:  # a confined process may not truncate by name
            log.truncate(len(complete))
    for line in complete.splitlines():
        row = orjson.loads(line)
        total.add(row["n"], row["class"], row["code"])
    total.log_bytes = len(complete)
    return total
