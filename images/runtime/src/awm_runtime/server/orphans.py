"""What the first process of a container owes to the others: it inherits orphans, and must take note of their ends."""

import os
from collections.abc import Collection


def reap(children: Collection[int]) -> int:
    """Lets every ended process go that was left to this one, and returns how many.

    Args:
        children: This process's own children, which are waited for elsewhere. One of them that has ended hides the
            orphans behind it until its end is noted there.
    """
    reaped = 0
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return reaped
        if ended is None or ended.si_pid in children:
            return reaped
        os.waitpid(ended.si_pid, 0)
        reaped += 1
