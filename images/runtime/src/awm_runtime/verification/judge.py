"""The judge: a clean process that forks one confined child per verification. Standard library only.

`python -m awm_runtime.verification.judge --fd N` reads requests from the socket that it inherited as N, answers there,
and ends when the other side closes it. It never loads scenario code, and has one thread, so that forking is safe.
"""

import argparse
import collections
import contextlib
import gc
import importlib
import os
import selectors
import signal
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from awm_runtime import confinement
from awm_runtime.verification import results, trial, wire

# What verifiers import, once for all of them. `_strptime` is what `datetime.strptime` imports on its first use.
_PRELOADED = """
    bisect calendar collections contextlib copy csv dataclasses datetime decimal difflib enum fractions functools
    hashlib heapq itertools json math operator os pathlib random re sqlite3 statistics string textwrap time traceback
    typing unicodedata uuid zoneinfo _strptime
""".split()  # noqa: SIM905 - one name a line would fill a page

_LOG_BYTES = 16 * 1024
_DETAIL_CHARACTERS = 500
_CHUNK = 65536

_OWN_FAILURES: dict[str, wire.FailureKind] = {
    "crashed": "crashed",
    "malformed": "malformed",
    "missing_function": "missing_function",
}


class _NoResult(Exception):
    """A child reported no result."""

    def __init__(self, kind: wire.FailureKind, detail: str) -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail


@dataclass(eq=False)
class _Trial:
    """A verification that is running in a child. Not its request: later children inherit this memory."""

    number: int
    mode: Literal["code", "sql"]
    deadline_s: float
    pid: int
    reply_fd: int
    output_fd: int
    started: float = field(default_factory=time.monotonic)
    reply: bytearray = field(default_factory=bytearray)
    output: bytearray = field(default_factory=bytearray)
    given_up: tuple[wire.FailureKind, str] | None = None  # why the judge ended it, for example a timeout

    @property
    def deadline(self) -> float:
        return self.started + self.deadline_s


class Court:
    """Runs the requests that arrive on a socket, a few at once, and answers each on it."""

    def __init__(self, sock: socket.socket, *, within: Path | None = None) -> None:
        self._within = within
        self._sock = sock
        self._frames = wire.Frames()
        self._selector = selectors.DefaultSelector()
        self._selector.register(sock, selectors.EVENT_READ)
        self._waiting: collections.OrderedDict[int, wire.JudgeRequest] = collections.OrderedDict()
        self._running: dict[int, _Trial] = {}
        self._readable = confinement.runtime_read_paths()

    def serve(self) -> None:
        """Works until the other side closes the socket; then ends what is running."""
        while self._step():
            pass
        for running in list(self._running.values()):
            os.kill(running.pid, signal.SIGKILL)
            self._reap(running)

    def _step(self) -> bool:
        nearest = min((running.deadline for running in self._running.values()), default=None)
        timeout = None if nearest is None else max(0.0, nearest - time.monotonic())
        for key, _ in self._selector.select(timeout):
            if key.fileobj is self._sock:
                if not self._receive():
                    return False
            elif key.data.number in self._running:  # else ended by an earlier event of this round
                self._collect(key.data, key.fd)
        self._end_overdue()
        self._start_waiting()
        return True

    def _receive(self) -> bool:
        try:
            data = self._sock.recv(_CHUNK)
        except ConnectionResetError:
            return False
        for message in self._frames.feed(data):
            if "cancel" in message:
                self._cancel(message["cancel"])
            else:
                self._waiting[message["id"]] = wire.JudgeRequest.from_message(message)
        return bool(data)

    def _cancel(self, number: int) -> None:
        self._waiting.pop(number, None)
        if number in self._running:
            self._end(self._running[number])

    def _start_waiting(self) -> None:
        while self._waiting and len(self._running) < wire.AT_ONCE:
            number, request = self._waiting.popitem(last=False)
            if not self._may_show(request):
                self._answer(number, wire.JudgeReply(failure="unavailable", detail="no database of this instance"))
                continue
            try:
                running = self._fork(number, request)
            except OSError as exc:
                self._answer(number, wire.JudgeReply(failure="unavailable", detail=f"cannot fork: {exc}"))
                continue
            self._running[number] = running
            self._selector.register(running.reply_fd, selectors.EVENT_READ, running)
            self._selector.register(running.output_fd, selectors.EVENT_READ, running)

    def _may_show(self, request: wire.JudgeRequest) -> bool:
        """Whether the databases are of the folder that this judge was started for, wherever links lead."""
        paths = (request.initial.resolve(), request.final.resolve())
        return self._within is None or all(path.is_relative_to(self._within) for path in paths)

    def _collect(self, running: _Trial, descriptor: int) -> None:
        data = os.read(descriptor, _CHUNK)
        if descriptor == running.output_fd:
            running.output += data[: _LOG_BYTES - len(running.output)]
            if not data:
                self._selector.unregister(descriptor)
            return
        running.reply += data
        if len(running.reply) > len(b"CR") + results.MAX_BYTES:
            running.given_up = ("malformed", f"the result is larger than {results.MAX_BYTES} bytes")
        if not data or running.given_up:
            self._end(running)

    def _end_overdue(self) -> None:
        now = time.monotonic()
        for running in [running for running in self._running.values() if running.deadline <= now]:
            running.given_up = ("timeout", f"not done after {running.deadline_s:g} s")
            self._end(running)

    def _end(self, running: _Trial) -> None:
        # The reply is complete or given up: whatever the child still does, it does not outlive its trial. It cannot
        # have children of its own. One that is exiting already keeps its own status.
        os.kill(running.pid, signal.SIGKILL)
        self._answer(running.number, self._reap(running))

    def _reap(self, running: _Trial) -> wire.JudgeReply:
        _, status = os.waitpid(running.pid, 0)
        with contextlib.suppress(BlockingIOError):
            running.output += os.read(running.output_fd, _CHUNK)[: _LOG_BYTES - len(running.output)]
        for descriptor in (running.reply_fd, running.output_fd):
            with contextlib.suppress(KeyError):  # an output that ended before is no longer watched
                self._selector.unregister(descriptor)
            os.close(descriptor)
        del self._running[running.number]
        return _reply(running, status)

    def _answer(self, number: int, reply: wire.JudgeReply) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the next `recv` sees that it is closed
            self._sock.sendall(wire.frame({**vars(reply), "id": number}))

    def _fork(self, number: int, request: wire.JudgeRequest) -> _Trial:
        reply_fd, reply_end = os.pipe()
        output_fd, output_end = os.pipe()
        judge_pid = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            os.close(reply_fd)
            os.close(output_fd)
            raise
        else:
            if pid == 0:
                try:
                    # What others ask of this bundle's verifiers is nothing to hand to each of them on a plate; code
                    # that reads raw memory may still find traces of it.
                    self._waiting.clear()
                    self._running.clear()
                    self._frames = wire.Frames()
                    trial.run(request, self._readable, reply_fd=reply_end, output_fd=output_end, judge_pid=judge_pid)
                finally:
                    os._exit(1)  # never back into the loop, whatever happens
        finally:
            os.close(reply_end)
            os.close(output_end)
        os.set_blocking(output_fd, False)
        return _Trial(
            number=number,
            mode=request.mode,
            deadline_s=request.deadline_s,
            pid=pid,
            reply_fd=reply_fd,
            output_fd=output_fd,
        )


def _reply(running: _Trial, status: int) -> wire.JudgeReply:
    ms = round((time.monotonic() - running.started) * 1000, 3)
    log = running.output.decode(errors="replace")
    if running.given_up is not None:
        kind, detail = running.given_up
        return wire.JudgeReply(failure=kind, detail=detail, ms=ms, log=log)
    try:
        result = _report(bytes(running.reply), running.mode, status)
    except _NoResult as exc:
        return wire.JudgeReply(failure=exc.kind, detail=exc.detail[:_DETAIL_CHARACTERS], ms=ms, log=log)
    return wire.JudgeReply(result=result, ms=ms, log=log)


def _report(data: bytes, mode: Literal["code", "sql"], status: int) -> dict[str, Any]:
    """The result in a child's report (see `trial`), which is not to be trusted after its first letter."""
    if not data.startswith(b"C"):
        raise _NoResult("unavailable", data[1:].decode(errors="replace") or f"the child ended early: {_death(status)}")
    report, body = data[1:2], data[2:]
    if report == b"":
        raise _NoResult("crashed", _death(status))
    if report == b"R":
        try:
            return results.parse(body, mode)
        except results.MalformedResult as exc:
            raise _NoResult("malformed", str(exc)) from exc
    kind, _, detail = body.decode(errors="replace").partition("\n")
    if report != b"F" or kind not in _OWN_FAILURES:
        raise _NoResult("malformed", "the verifier wrote nonsense over its report")
    raise _NoResult(_OWN_FAILURES[kind], detail)


def _death(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"ended by signal {-code}" if code < 0 else f"ended the process with status {code}"


def prepare() -> None:
    """Makes this process ready to fork trials."""
    for name in _PRELOADED:
        importlib.import_module(name)
    trial.keep_sqlite_temporaries_in_memory()
    gc.collect()
    gc.disable()  # the children turn it on again; a collection here would copy pages that they share
    gc.freeze()


def main(arguments: list[str] | None = None) -> None:
    """Serves the socket that was inherited as `--fd` until its other side is closed."""
    parser = argparse.ArgumentParser(prog="python -m awm_runtime.verification.judge", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="the number of the inherited socket")
    parser.add_argument("--within", type=Path, help="show verifiers databases of this folder only")
    options = parser.parse_args(arguments)
    # Ctrl-C reaches the whole terminal; the judge is wanted until the last client has gone.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prepare()
    with socket.socket(fileno=options.fd) as sock:
        Court(sock, within=options.within).serve()


if __name__ == "__main__":
    main()
