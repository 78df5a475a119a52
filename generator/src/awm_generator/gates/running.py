"""Gates bundles, several at a time, and writes what came of it into them."""

import contextlib
import json
import os
import queue
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from awm_generator.gates import protocol, reports
from awm_runtime import errors
from awm_runtime.bundle import model, reading, writing

_KEPT_VARIABLES = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "TMPDIR")


@dataclass(frozen=True)
class Gated:
    """What came of one bundle.

    Attributes:
        path: Its folder.
        scenario: What its scenario.json says now; None where the bundle cannot be read. Not all of the bundle: a
            thousand of them are more than need be in memory at once.
        report: What its gates say; None where it cannot be read.
        error: Why it cannot be read, or why the report could not be written into it.
        reused: Whether the report was there already.
    """

    path: Path
    scenario: model.Scenario | None = None
    report: reports.GateReport | None = None
    error: str | None = None
    reused: bool = False

    @property
    def name(self) -> str:
        """The scenario's name, or the folder's."""
        return self.scenario.name if self.scenario is not None else self.path.name


class WorkerGone(errors.AwmError):
    """A worker ended, through no fault of the bundle: its machine's memory is used up, or it was killed."""


class Worker:
    """A process that gates one bundle after another (`awm_generator.gates.worker`)."""

    def __init__(self) -> None:
        environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "awm_generator.gates.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**environment, "PYTHONHASHSEED": "0", "TZ": "UTC", "PYTHONUTF8": "1"},
        )

    def gate(self, path: Path, level: protocol.Level) -> reports.GateReport:
        """The report on the bundle in a folder.

        Raises:
            BundleError: it cannot be read.
            WorkerGone: the worker ended.
        """
        answer = self._ask({"bundle": str(path.absolute()), "level": level})
        if "error" in answer:
            raise errors.BundleError(answer["error"])
        return reports.GateReport.model_validate(answer["report"])

    def close(self) -> None:
        """Ends it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerGone(f"the process that gates {question['bundle']} ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def run(
    paths: Sequence[Path], *, level: protocol.Level = "semantic", jobs: int | None = None, again: bool = False
) -> Iterator[Gated]:
    """Gates the bundles in these folders, and yields each in order as it is done and written.

    A bundle that has a report of the same gates on the same content is not gated again.

    Args:
        paths: The bundles' folders.
        level: How far.
        jobs: How many at a time; by default one per processor.
        again: Gate also what has such a report.
    """
    workers = Workers()
    count = max(1, min(jobs or os.cpu_count() or 1, len(paths)))
    try:
        with futures.ThreadPoolExecutor(max_workers=count) as pool:
            yield from pool.map(lambda path: _gated(path, level, again, workers), paths)
    finally:
        workers.close()


class Workers:
    """Workers that are started as they are wanted, and used again."""

    def __init__(self) -> None:
        self._free: queue.SimpleQueue[Worker] = queue.SimpleQueue()

    @contextlib.contextmanager
    def one(self) -> Iterator[Worker]:
        """A worker for the length of a `with` block; one that ended is not used again."""
        try:
            worker = self._free.get_nowait()
        except queue.Empty:
            worker = Worker()
        try:
            yield worker
        except WorkerGone:
            worker.close()
            raise
        except BaseException:
            self._free.put(worker)
            raise
        self._free.put(worker)

    def close(self) -> None:
        """Ends all of them."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._free.get_nowait().close()


def _gated(path: Path, level: protocol.Level, again: bool, workers: Workers) -> Gated:
    try:
        bundle = reading.read(path)
    except errors.BundleError as exc:
        return Gated(path, error=str(exc))
    report = None if again else reports.kept(bundle, level)
    if report is not None and bundle.scenario.tier == report.tier:
        return Gated(path, bundle.scenario, report, reused=True)
    try:
        with workers.one() as worker:
            report = worker.gate(path, level)
    except (errors.BundleError, WorkerGone) as exc:
        return Gated(path, error=str(exc))
    gated = reports.with_report(bundle, report)
    try:
        return Gated(path, writing.write(gated, path).scenario, report)
    except errors.BundleError as exc:
        return Gated(path, gated.scenario, report, error=f"its report could not be written: {exc}")
