"""A network and a process tree of their own, so that a cluster neither sees the machine's nor leaves anything in it.

Addresses, routes, firewall rules, mounts and processes end with the first process of the namespaces.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

_PATIENCE_S = 10.0
_LIBC = ctypes.CDLL(None, use_errno=True)


class Namespaces:
    """Namespaces for network, mounts and processes; needs root."""

    def __init__(self) -> None:
        command = [
            "unshare",
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "sleep",
            "infinity",
        ]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._holder = subprocess.Popen(command, **quiet)
        self._first = self._find_first()
        self.run("ip", "link", "set", "lo", "up")

    def _find_first(self) -> int:
        """The process that is number 1 inside, once it has made its own /proc."""
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children")
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            for child in children.read_text().split():
                with contextlib.suppress(OSError):
                    if Path(f"/proc/{child}/cmdline").read_bytes().startswith(b"sleep\0"):
                        return int(child)
            if self._holder.poll() is not None:
                break
            time.sleep(0.01)
        raise RuntimeError("no namespaces can be made here: run as root, with unshare of util-linux")

    def inside(self, *command: str | Path) -> list[str]:
        """The command line that runs a command inside."""
        return ["nsenter", "--target", str(self._first), "--net", "--mount", "--pid", "--", *map(str, command)]

    def run(self, *command: str | Path) -> str:
        """Runs a command inside, to its good end; returns what it printed."""
        return subprocess.run(self.inside(*command), check=True, capture_output=True, text=True, timeout=120).stdout

    @contextlib.contextmanager
    def network(self) -> Iterator[None]:
        """For the length of a `with` block this thread, and those that it starts, are in the network inside."""
        with _descriptor("/proc/thread-self/ns/net") as outside, _descriptor(f"/proc/{self._first}/ns/net") as inside:
            _enter(inside)
            try:
                yield
            finally:
                _enter(outside)

    def close(self) -> None:
        """Ends everything inside; returns when nothing of it is left."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._first, signal.SIGKILL)  # the kernel then ends the others before it counts as ended
        self._holder.wait()


def started(command: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    """A process in the background, which writes its log to a file."""
    with log.open("ab") as output:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)


@contextlib.contextmanager
def _descriptor(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _enter(network: int) -> None:
    if _LIBC.setns(network, 0):
        raise OSError(ctypes.get_errno(), "the network namespace cannot be entered")
