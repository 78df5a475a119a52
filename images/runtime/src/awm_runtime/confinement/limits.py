"""Resource limits and capabilities: what the kernel counts, and what root could do beyond other users."""

import ctypes
import resource

from awm_runtime.confinement import kernel, policy

_CAPABILITY_VERSION_3 = 0x20080522
_CAP_DAC_OVERRIDE = 1


def apply(rules: policy.Policy) -> None:
    """Sets the limits that the policy names, hard. No core dumps in any case."""
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_AS, rules.memory_bytes)
    _limit(resource.RLIMIT_CPU, rules.cpu_s)
    _limit(resource.RLIMIT_NOFILE, rules.open_files)
    _limit(resource.RLIMIT_FSIZE, rules.file_bytes)
    if not rules.processes and not rules.threads:
        _limit(resource.RLIMIT_NPROC, 0)  # a second lock behind the filter; the kernel does not hold root to it


def drop_capabilities() -> None:
    """Gives up what root may do, but for reading files of other users where the policy allows them.

    Matters in containers that run as root: raising the limits again, signals to other users' processes, raw devices.
    """
    numbers = kernel.numbers()
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable: the low words, then the high ones
    if kernel.call(numbers["capget"], ctypes.byref(header), ctypes.byref(sets)) < 0:
        raise kernel.last_error("capget")
    kept = 1 << _CAP_DAC_OVERRIDE
    dropped = (ctypes.c_uint32 * 6)(sets[0] & kept, sets[1] & kept, 0, 0, 0, 0)
    if sets[:] == dropped[:]:  # an ordinary user's; or confined already, which refuses the next call
        return
    if kernel.call(numbers["capset"], ctypes.byref(header), ctypes.byref(dropped)) < 0:
        raise kernel.last_error("capset")


def _limit(kind: int, value: int | None) -> None:
    if value is None:
        return
    _, hard = resource.getrlimit(kind)
    ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (ceiling, ceiling))
