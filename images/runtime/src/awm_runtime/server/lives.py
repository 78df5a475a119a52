"""One life of an instance, from its start to its end, seen from outside by whoever keeps it.

Nothing in here waits: the owner looks again and again, from a loop of its own kind.
"""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from awm_runtime import errors
from awm_runtime.server import configuration, inflight, logs, settings

logger = logging.getLogger("awm.keeper")

_LONGEST_REPORT = 64 * 1024
_FIRST_BACKOFF_S = 0.05
_LONGEST_BACKOFF_S = 10.0


class StartFailed(errors.PermanentError):
    """The instance did not become ready.

    Args:
        message: Why, in one sentence.
        detail: The traceback of the scenario's code, where there is one.
    """

    def __init__(self, message: str, *, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


class Crashed(StartFailed):
    """It ended before it could say why."""


class Process(Protocol):
    """A child of this process, however it was started; `subprocess.Popen` is one."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


def spawn(
    config: configuration.InstanceConfig,
    descriptors: configuration.Descriptors,
    *,
    environment: Mapping[str, str],
    log: int,
) -> "subprocess.Popen[bytes]":
    """Starts an instance as a fresh process, the leader of a session of its own.

    Args:
        config: What it serves.
        descriptors: What it inherits.
        environment: All of its variables.
        log: Where its output goes.
    """
    return subprocess.Popen(
        # -P: scenario code may write to the working directory, so nothing is imported from there.
        [sys.executable, "-P", "-m", "awm_runtime.server.instance", config.text(), descriptors.text()],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=(descriptors.agent, descriptors.control, descriptors.judge, descriptors.report),
        cwd=config.state_folder,
        start_new_session=True,  # Ctrl-C reaches its owner alone, which ends it in order
    )


@dataclass
class Backoff:
    """How long to wait before the next life: longer after each that failed."""

    next_s: float = _FIRST_BACKOFF_S

    def note(self, *, came_back: bool) -> None:
        """Takes in how a life went."""
        self.next_s = _FIRST_BACKOFF_S if came_back else min(2 * self.next_s, _LONGEST_BACKOFF_S)


class Life:
    """An instance that was started, with its judge, as it is watched.

    Args:
        instance: The instance, the leader of a process group of its own.
        judge: Its judge; None while it needs none.
        report: The pipe that it says on how its start went. Closed with this.
        in_flight: Its table of calls in flight.
        left: What was in the table before it started: a killed instance's, which this one takes back.
        limits: Its settings.

    Attributes:
        instance, judge: Its processes.
        report: The pipe; it can be read when the start is reported and when the instance has ended.
        ready: Whether it said that calls are answered.
    """

    def __init__(
        self,
        instance: Process,
        judge: Process | None,
        *,
        report: int,
        in_flight: inflight.InFlightTable,
        left: frozenset[inflight.Entry],
        limits: settings.Settings,
    ) -> None:
        os.set_blocking(report, False)
        self.instance = instance
        self.judge = judge
        self.ready = False
        self.report = report
        self._reader = _ReportReader(report)
        self._in_flight = in_flight
        self._left = left
        self._limits = limits
        self._overdue: frozenset[inflight.Entry] = frozenset()

    def look(self) -> bool:
        """Sees what became of it, and kills it where it is stuck. Returns whether it lives on.

        Raises:
            StartFailed: It cannot start, or ended before it was ready.
        """
        status = self.instance.poll()  # first: what it reported before its end is in the pipe by then
        if not self.ready and (said := self._reader.document()) is not None:
            _raise_failure(said)
            self.ready = True
        if status is not None:
            if not self.ready:
                raise Crashed(f"the instance ended before it was ready ({_how(status)})")
            return False
        if self.judge is not None and self.judge.poll() is not None:
            logger.warning("the judge ended; the instance is restarted with a new one")
            self.instance.kill()
        self._kill_if_stuck()
        return True

    def end_group(self) -> None:
        """Kills what the instance left of its process group: processes of its episodes that hang in their code."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.instance.pid, signal.SIGKILL)

    def close(self) -> None:
        """Lets go of the pipe."""
        os.close(self.report)

    @property
    def patience_s(self) -> float:
        """How long it may take to end once it was asked to: before it is ready there are no calls to wait for."""
        return self._limits.shutdown_s if self.ready else 0.0

    def _kill_if_stuck(self) -> None:
        now = time.monotonic_ns()
        overdue = frozenset(entry for entry in self._in_flight.entries() if entry.kill_at_ns < now) - self._left
        # Seen twice: an entry that is just being written may look like anything, once.
        stuck = overdue & self._overdue
        self._overdue = overdue
        if not stuck:
            return
        self.instance.kill()
        if not self.ready:
            raise StartFailed(f"the scenario's code did not load within {self._limits.load_deadline_s:g} s")
        logger.error("%s is past its hard deadline: the instance was killed", _named(next(iter(stuck))))


class _ReportReader:
    """Collects the one line that an instance writes about its start."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._read = b""

    def document(self) -> dict[str, str] | None:
        """The line's JSON, once it is there in full."""
        with contextlib.suppress(BlockingIOError):
            while len(self._read) <= _LONGEST_REPORT and (chunk := os.read(self._descriptor, _LONGEST_REPORT)):
                self._read += chunk
        line, newline, _ = self._read.partition(b"\n")
        if not newline and len(self._read) <= _LONGEST_REPORT:
            return None
        try:
            said = json.loads(line)
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise StartFailed("the scenario's code wrote into the pipe that its instance reports on")
        return said


def _raise_failure(said: Mapping[str, str]) -> None:
    if "failed" in said:
        raise StartFailed(said["failed"], detail=said.get("detail", ""))


def _named(entry: inflight.Entry) -> str:
    """What a slot of the table stands for."""
    if entry.episode == inflight.EVENT_LOOP:
        return "the event loop, which code that outlived its call may hold,"
    return f"call {entry.number} of {entry.episode} ({logs.shown(entry.tool)})"


def _how(status: int) -> str:
    """How a process ended, in words."""
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
