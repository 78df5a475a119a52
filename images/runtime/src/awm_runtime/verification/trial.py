"""What happens in the child that judges one episode: confine, run the verifier, report.

The report is one letter and a text on a pipe: `U` if the child cannot be confined; else `C`, and after it `R` and the
result as JSON, or `F`, a kind of failure, a line feed and a detail. The verifier may write there too, what it likes: it
can only forge its own result, which is its to decide. What counts as the machine's failure is settled by `C`, before
any of its code runs.
"""

import contextlib
import functools
import gc
import json
import math
import os
import sqlite3
import sys
import traceback
import types
from pathlib import Path
from typing import Any, NoReturn

from awm_runtime import confinement, families
from awm_runtime.verification import results, wire

FUNCTIONS = {"code": "verify_task_completion", "sql": "verify_task"}

_OPEN_FILES = 64


class _Failed(Exception):
    """The verifier gave no result."""

    def __init__(self, kind: wire.FailureKind, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


def run(
    request: wire.JudgeRequest, readable: tuple[Path, ...], *, reply_fd: int, output_fd: int, judge_pid: int
) -> NoReturn:
    """Judges in the calling process, which must be a fresh fork, and ends it.

    Args:
        request: What to judge.
        readable: What Python itself needs to read.
        reply_fd: The pipe for the report.
        output_fd: The pipe for what the verifier prints.
        judge_pid: The parent, with which it ends.
    """
    reply = _enter(reply_fd, output_fd, judge_pid)
    try:
        confinement.confine(_policy(request, readable), required=True)
    except (OSError, RuntimeError, ValueError, confinement.ConfinementUnavailable) as exc:
        _write(reply, f"U{type(exc).__name__}: {exc}".encode())
        os._exit(1)
    _write(reply, b"C")
    gc.enable()
    try:
        report = b"R" + _judge(request)
    except _Failed as exc:
        report = f"F{exc.kind}\n{exc}".encode(errors="replace")
    except BaseException as exc:  # noqa: BLE001 - whatever the verifier raises, exits included, is its failure
        traceback.print_exc()
        report = f"Fcrashed\n{_one_line(exc)}".encode(errors="replace")
    with contextlib.suppress(BaseException):  # it may have closed or replaced its own output
        sys.stdout.flush()
        sys.stderr.flush()
    _write(reply, report)
    os._exit(0)


def keep_sqlite_temporaries_in_memory() -> None:
    """Makes every connection opened from now on sort in memory: there is no folder that a verifier may write to."""
    original = sqlite3.connect

    @functools.wraps(original)
    def connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = original(*args, **kwargs)
        with contextlib.suppress(sqlite3.Error):  # `autocommit=False` has begun a transaction, where it is too late
            connection.execute("PRAGMA temp_store=MEMORY")
        return connection

    sqlite3.connect = sqlite3.dbapi2.connect = connect  # type: ignore[assignment]


def _enter(reply_fd: int, output_fd: int, judge_pid: int) -> int:
    """Leaves the judge's session and files behind; the reply's pipe is the only way back. Returns its new number."""
    os.setsid()
    families.die_with(judge_pid)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output_fd, 1)
    os.dup2(output_fd, 2)
    os.dup2(reply_fd, 3, inheritable=False)
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))
    return 3


def _policy(request: wire.JudgeRequest, readable: tuple[Path, ...]) -> confinement.Policy:
    return confinement.Policy(
        read=(*readable, request.initial, request.final),
        threads=False,
        memory_bytes=request.memory_bytes,
        cpu_s=math.ceil(request.deadline_s) + 1,  # the judge's own deadline comes first, unless the judge is gone
        open_files=_OPEN_FILES,
        file_bytes=0,
    )


def _judge(request: wire.JudgeRequest) -> bytes:
    module = types.ModuleType("verifier")
    sys.modules[module.__name__] = module  # dataclasses look their module up there
    exec(compile(request.source, "<verifier>", "exec"), module.__dict__)  # noqa: S102 - confined above
    function = getattr(module, FUNCTIONS[request.mode], None)
    if not callable(function):
        raise _Failed("missing_function", f"the verifier defines no {FUNCTIONS[request.mode]}")
    paths = (str(request.initial), str(request.final))
    result = function(*paths, request.answer) if request.mode == "code" else function(*paths)
    try:
        data = json.dumps(result, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as exc:
        raise _Failed("malformed", f"not JSON: {_one_line(exc)}") from exc
    if len(data) > results.MAX_BYTES:
        raise _Failed("malformed", f"the result is larger than {results.MAX_BYTES} bytes")
    return data


def _one_line(exc: BaseException) -> str:
    lines = traceback.format_exception_only(exc)
    return lines[-1].strip() if lines else type(exc).__name__


def _write(descriptor: int, data: bytes) -> None:
    with contextlib.suppress(OSError):  # the verifier may have closed it: that is its failure, seen at the other end
        while data:
            data = data[os.write(descriptor, data) :]
