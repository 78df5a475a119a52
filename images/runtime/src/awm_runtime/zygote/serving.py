"""The zygote's side. Standard library only: a judge's zygote has nothing else."""

import argparse
import gc
import json
import os
import signal
import socket
import struct
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from awm_runtime import families

READY = b"ready"
PID = struct.Struct("<i")
FAILED = -1
LONGEST_REQUEST = 64 * 1024
MOST_DESCRIPTORS = 8

Life = Callable[[dict[str, Any], list[int]], int]
"""What a forked process does with what its owner sent; returns the exit status."""


def serve(live: Life) -> NoReturn:
    """Forks as it is asked to, until the other side hangs up.

    The command line says `--fd`, the number of the inherited socket, and `--for`, whom it serves: that is for `ps`.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--for", dest="owner")
    peer = socket.socket(fileno=parser.parse_args().fd)
    owner = os.getppid()
    families.die_with(owner)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the owner, which ends all in order
    _require_one_thread()
    gc.collect()
    gc.freeze()  # a collection in a child would copy the pages that it shares
    peer.sendall(READY)
    while True:
        request, descriptors, _, _ = socket.recv_fds(peer, LONGEST_REQUEST, MOST_DESCRIPTORS)
        if not request:
            sys.exit(0)
        try:
            pid = _fork_for(owner, peer, json.loads(request), descriptors, live)
        except OSError as exc:
            print(f"cannot fork: {exc}", file=sys.stderr, flush=True)  # noqa: T201
            pid = FAILED
        finally:
            for each in descriptors:
                os.close(each)
        peer.sendall(PID.pack(pid))


def _fork_for(owner: int, peer: socket.socket, request: dict[str, Any], descriptors: list[int], live: Life) -> int:
    """Forks a process that its owner adopts, because the one between them ends at once. Returns its id.

    Raises:
        OSError: The system has no room for one.
    """
    read, write = os.pipe()
    between = os.fork()
    if between == 0:
        status = 1
        try:
            leaving = os.getpid()
            pid = os.fork()
            if pid == 0:
                os.close(read)
                os.close(write)
                peer.close()
                _be(owner, leaving, request, descriptors, live)
            os.write(write, PID.pack(pid))
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    answer = os.read(read, PID.size)
    os.close(read)
    os.waitpid(between, 0)
    if len(answer) < PID.size:
        raise OSError("no further process can be made")
    pid = PID.unpack(answer)[0]
    return int(pid)


def _be(owner: int, leaving: int, request: dict[str, Any], descriptors: list[int], live: Life) -> NoReturn:
    status = 1
    try:
        os.setsid()
        families.die_with_adopter(owner, leaving=leaving)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        status = live(request, descriptors)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001 - never back into the zygote, whatever happens
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _require_one_thread() -> None:
    """A fork of a process with threads may inherit a lock that is held for ever."""
    tasks = Path("/proc/self/task")
    threads = len(list(tasks.iterdir())) if tasks.exists() else threading.active_count()
    if threads != 1:
        raise RuntimeError(f"what is imported started {threads - 1} threads")
