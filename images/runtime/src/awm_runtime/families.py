"""Parents and children: processes that end with whoever started them. Linux only; elsewhere nothing is promised."""

import ctypes
import os
import signal
import sys
import time

SUPPORTED: bool = sys.platform == "linux"
"""Whether anything here is more than a wish."""

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_POLL_S = 0.0005


def die_with(parent: int) -> None:
    """Asks the kernel to kill this process when its parent dies, so that none is left behind."""
    if SUPPORTED:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)


def die_with_adopter(adopter: int, *, leaving: int) -> None:
    """The same for a process whose parent is about to leave it to another one.

    Args:
        adopter: Who adopts it; it has called `adopt`.
        leaving: The parent that is about to end.
    """
    while os.getppid() == leaving:
        time.sleep(_POLL_S)
    die_with(adopter)


def adopt(wanted: bool = True) -> None:
    """Makes this process the parent of what its descendants leave behind, or lets it be that no longer."""
    if SUPPORTED:
        _prctl(_PR_SET_CHILD_SUBREAPER, int(wanted))


def name(text: str) -> None:
    """What `ps -o comm` and `top` show of this process; 15 bytes are kept."""
    if SUPPORTED:
        _prctl(_PR_SET_NAME, ctypes.c_char_p(text.encode()))


def _prctl(option: int, argument: "int | ctypes.c_char_p") -> None:
    zero = ctypes.c_ulong(0)
    plain = ctypes.c_ulong(argument) if isinstance(argument, int) else argument
    ctypes.CDLL(None).prctl(option, plain, zero, zero, zero)
