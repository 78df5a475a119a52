"""Puts a policy in force."""

import os
import threading
from dataclasses import dataclass
from pathlib import Path

from awm_runtime import errors
from awm_runtime.confinement import kernel, landlock, limits, policy, seccomp


class ConfinementUnavailable(errors.PermanentError):
    """This kernel cannot enforce the policy, and the caller required it."""


@dataclass(frozen=True)
class Enforcement:
    """What is in force from now on.

    Attributes:
        landlock_abi: The version of Landlock that guards the files, or None.
        seccomp: Whether the system call filter is in force.
    """

    landlock_abi: int | None
    seccomp: bool

    @property
    def complete(self) -> bool:
        """Whether all of the policy is in force."""
        return self.landlock_abi is not None and self.seccomp


def confine(rules: policy.Policy, *, required: bool = False) -> Enforcement:
    """Confines the calling process, and all that it starts, for good. Call it before threads are started.

    Args:
        rules: What is left to the process.
        required: Fail when any of it cannot be enforced; otherwise enforce what the kernel has, and say so.

    Raises:
        ConfinementUnavailable: `required`, and the kernel lacks Landlock or seccomp.
        RuntimeError: there are other threads; Landlock would not hold for them.
        FileNotFoundError: a path of the policy does not exist.
    """
    version = landlock.abi()
    possible = Enforcement(landlock_abi=version, seccomp=seccomp.available())
    if required and not possible.complete:
        raise ConfinementUnavailable(f"this kernel cannot confine a process: {possible}")
    limits.apply(rules)
    if not kernel.supported():
        return possible
    if _thread_count() > 1:
        raise RuntimeError("confine the process before it starts threads")
    kernel.forbid_new_privileges()
    limits.drop_capabilities()
    if version is not None:
        landlock.restrict(rules, version)
    if possible.seccomp:
        seccomp.install(rules, pid=os.getpid(), signals_scoped=(version or 0) >= landlock.SCOPES_SINCE)
    return possible


def _thread_count() -> int:
    try:
        return len(list(Path("/proc/self/task").iterdir()))
    except PermissionError:  # confined already, and about to be more so: count what Python knows of
        return threading.active_count()
