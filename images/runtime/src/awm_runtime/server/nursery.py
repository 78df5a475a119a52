"""The process that the processes of episodes are forked from; itself forked once the scenario's code is loaded.

It has one thread and has seen no episode. A fork of the serving process might inherit a lock that one of its threads
held at that moment, and would carry along what the server has in memory of other episodes.
"""

import gc
import logging
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from awm_runtime import families

logger = logging.getLogger(__name__)

Life = Callable[[socket.socket, Path], None]
"""What a process does: it is given its end of a socket pair and its episode's database."""

_PID = struct.Struct("<i")
_NO_PID = 0
_PATIENCE_S = 10.0
_LONGEST_PATH = 4096


class NurseryGone(Exception):
    """The process that forks has ended."""


class Nursery:
    """Forks processes that each have their own episode.

    Args:
        live: The whole life of a process.
    """

    def __init__(self, live: Life) -> None:
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        if os.fork() == 0:
            _be_nursery(theirs, live, parent=parent)
        theirs.close()
        ours.settimeout(_PATIENCE_S)
        self._sock = ours

    def fork(self, database: Path) -> tuple[int, socket.socket]:
        """Forks a process for the episode of a database; returns its id and the socket that speaks with it.

        Raises:
            NurseryGone: There will be no further process.
            OSError: The system has no room for one.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                pid = self._ask(database, theirs)
            if pid == _NO_PID:
                raise OSError("no further process can be made")
        except BaseException:
            ours.close()
            raise
        return pid, ours

    def _ask(self, database: Path, theirs: socket.socket) -> int:
        try:
            socket.send_fds(self._sock, [os.fsencode(database)], [theirs.fileno()])
            answer = self._sock.recv(_PID.size)
        except OSError as exc:
            raise NurseryGone from exc
        if len(answer) < _PID.size:
            raise NurseryGone
        pid: int = _PID.unpack(answer)[0]
        return pid


def _be_nursery(peer: socket.socket, live: Life, *, parent: int) -> NoReturn:
    """Forks as it is asked to, until the other side hangs up; never returns into the server."""
    try:
        families.die_with(parent)
        _leave_the_server(peer.fileno())
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits: its socket says that a child is gone
        gc.collect()
        gc.freeze()
        while True:
            path, descriptors, _, _ = socket.recv_fds(peer, _LONGEST_PATH, 1)
            if not descriptors:
                os._exit(0)
            peer.sendall(_PID.pack(_fork(peer, descriptors[0], Path(os.fsdecode(path)), live)))
    except Exception:
        logger.exception("no further process can be forked")
    finally:
        os._exit(1)


def _fork(nursery: socket.socket, descriptor: int, database: Path, live: Life) -> int:
    parent = os.getpid()
    try:
        pid = os.fork()
    except OSError:
        logger.exception("no process for %s", database.parent.name)
        pid = _NO_PID
    else:
        if pid == 0:
            _be_child(nursery, socket.socket(fileno=descriptor), database, live, parent=parent)
    os.close(descriptor)
    return pid


def _be_child(nursery: socket.socket, peer: socket.socket, database: Path, live: Life, *, parent: int) -> NoReturn:
    status = 1
    try:
        families.die_with(parent)
        nursery.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        live(peer, database)
        status = 0
    except Exception:
        logger.exception("the process of %s failed", database.parent.name)
    finally:
        os._exit(status)


def _leave_the_server(kept: int) -> None:
    """Closes all that the server has open but the standard files and one other, and forgets its signal handlers."""
    os.closerange(3, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))
    signal.set_wakeup_fd(-1)
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_DFL)
