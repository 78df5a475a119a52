"""The owner's side of a zygote, for an event loop."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from awm_runtime.zygote import serving

_START_S = 60.0
_ANSWER_S = 20.0


class ZygoteGone(OSError):
    """The zygote ended or does not answer: nothing was forked."""


class Forked:
    """A process that a zygote forked and this process adopted; like a `subprocess.Popen` as far as it is used."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        if self._status is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # somebody else has waited for it: how it ended is not known
                pid, status = self.pid, signal.SIGKILL
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status

    def terminate(self) -> None:
        """Asks it to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kills it."""
        self._signal(signal.SIGKILL)

    def _signal(self, which: signal.Signals) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, which)


class Zygote:
    """A running zygote. Its owner has called `families.adopt`.

    Args:
        module: The module that it runs.
        owner: Whom it serves, for `ps`.
        environment: Its environment variables, and what it forks begins with.
        log: Where its output goes.

    Attributes:
        process: The zygote.
    """

    def __init__(self, module: str, *, owner: str, environment: Mapping[str, str], log: int) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, "--fd", str(theirs.fileno()), "--for", owner],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(theirs.fileno(),),
                cwd="/",
                start_new_session=True,
            )
        ours.setblocking(False)
        self._sock = ours
        self._turn = asyncio.Lock()
        self._ready = False

    async def fork(self, request: Mapping[str, Any], descriptors: Sequence[int]) -> Forked:
        """Forks a process.

        Args:
            request: What its life is given.
            descriptors: What it inherits, beside the standard files; in the order that its life expects.

        Raises:
            ZygoteGone: The zygote ended.
            OSError: The system has no room for another process.
        """
        async with self._turn:
            await self._wait_until_ready()
            try:
                socket.send_fds(self._sock, [json.dumps(request).encode()], descriptors)
            except OSError as exc:
                raise ZygoteGone(f"the zygote is gone: {exc.strerror}") from exc
            answer = await self._receive(_ANSWER_S)
        (pid,) = serving.PID.unpack(answer)
        if pid == serving.FAILED:
            raise OSError("the system has no room for another process")
        return Forked(pid)

    def close(self) -> None:
        """Ends the zygote; what it forked goes on."""
        self._sock.close()
        self.process.kill()
        self.process.wait()

    async def _wait_until_ready(self) -> None:
        if not self._ready:
            await self._receive(_START_S)
            self._ready = True

    async def _receive(self, patience_s: float) -> bytes:
        try:
            async with asyncio.timeout(patience_s):
                answer = await asyncio.get_running_loop().sock_recv(self._sock, 64)
        except (OSError, TimeoutError) as exc:
            self.process.kill()  # an answer that came later would be taken for the next one's
            raise ZygoteGone(f"the zygote does not answer: {exc or 'it takes too long'}") from exc
        if not answer:
            raise ZygoteGone("the zygote ended")
        return answer
