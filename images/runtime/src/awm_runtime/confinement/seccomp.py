"""Everything but files, by seccomp: a filter that refuses system calls with EPERM, so that code can report it.

The filter lists what is refused. System calls from number 424 on, where the kernel still grows, are listed the other
way round: what is not known to be harmless does not exist (ENOSYS), and the C library falls back to older ones.
"""

import ctypes
import errno
import platform
import socket
import struct

from awm_runtime.confinement import kernel, policy

_REFUSED = (
    # Network. Inherited sockets can be listened on, accepted from and used; `listen` needs a bound socket.
    "socket", "connect", "bind", "sendmmsg",
    # Programs.
    "execve", "execveat", "uselib",
    # Other processes: reading and writing their memory, their priorities, pages and groups. `tkill` cannot be held to
    # the own process, the C library uses `tgkill`.
    "ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "tkill", "migrate_pages", "move_pages", "setpriority",
    "ioprio_set", "sched_setparam", "sched_setscheduler", "sched_setattr", "sched_setaffinity", "setpgid",
    "setsid",
    # Memory and queues that are shared by name, or that the limit of the address space does not count.
    "shmget", "shmat", "shmctl", "shmdt", "semget", "semop", "semctl", "semtimedop", "msgget", "msgsnd", "msgrcv",
    "msgctl", "mq_open", "mq_unlink", "memfd_create",
    # Modes, owners, times and attributes of files, which Landlock does not guard; truncation by path, which it guards
    # from its third version on.
    "chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown", "fchownat", "utime", "utimes", "futimesat",
    "utimensat", "setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr", "truncate",
    # Watching what others do to files.
    "inotify_init", "inotify_init1", "inotify_add_watch", "fanotify_init", "fanotify_mark",
    # Another view of the file system, or a way past its paths.
    "mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "name_to_handle_at", "open_by_handle_at",
    # Another identity.
    "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid", "setgroups",
    "capset", "personality",
    # The kernel and the machine.
    "bpf", "perf_event_open", "userfaultfd", "add_key", "request_key", "keyctl", "init_module", "finit_module",
    "delete_module", "kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff", "acct", "quotactl", "syslog",
    "vhangup", "settimeofday", "adjtimex", "clock_settime", "clock_adjtime", "sethostname", "setdomainname", "iopl",
    "ioperm", "modify_ldt", "lookup_dcookie", "nfsservctl",
)  # fmt: skip

_FORKS = ("fork", "vfork")
_SIGNALS = ("kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo")  # the first argument is the process

# Not among them, so refused: pidfd_*, io_uring_*, the new mount calls, openat2 and clone3 (their flags are behind a
# pointer, which a filter cannot follow). Landlock's stay: they can only take more away.
_HARMLESS_COMMON = {
    "close_range": 436,
    "faccessat2": 439,
    "epoll_pwait2": 441,
    "landlock_create_ruleset": kernel.LANDLOCK_CREATE_RULESET,
    "landlock_add_rule": kernel.LANDLOCK_ADD_RULE,
    "landlock_restrict_self": kernel.LANDLOCK_RESTRICT_SELF,
    "futex_waitv": 449,
    "cachestat": 451,
    "map_shadow_stack": 453,
    "futex_wake": 454,
    "futex_wait": 455,
    "futex_requeue": 456,
    "mseal": 462,
}

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "arm64": 0xC00000B7}

_CLONE_THREAD = 0x00010000
_CLONE_NEW_NAMESPACES = 0x7E020000
_MSG_FASTOPEN = 0x20000000
_SOCKET_TYPE_MASK = 0xF
_O_ACCMODE, _O_WRONLY, _O_RDWR, _O_TRUNC = 0o3, 0o1, 0o2, 0o1000
_F_SETOWN, _F_SETSIG, _F_SETOWN_EX = 8, 10, 15
_FIOSETOWN, _SIOCSPGRP, _TIOCSTI, _TIOCLINUX = 0x8901, 0x8902, 0x5412, 0x541C

_LOAD, _AND, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_OFFSET_NUMBER, _OFFSET_ARCH, _OFFSET_ARGUMENTS = 0, 4, 16

_SET_MODE_FILTER = 1
_GET_ACTION_AVAILABLE = 2
_FLAG_TSYNC = 1
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_KILL_PROCESS = 0x80000000
_REFUSE = _ERRNO | errno.EPERM
_ABSENT = _ERRNO | errno.ENOSYS

_Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand
_Code = list[_Instruction]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def available() -> bool:
    """Whether the running kernel takes filters, on an architecture whose system calls are known."""
    if not kernel.supported():
        return False
    action = ctypes.c_uint32(_ERRNO)
    return kernel.call(kernel.numbers()["seccomp"], _GET_ACTION_AVAILABLE, 0, ctypes.byref(action)) == 0


def install(rules: policy.Policy, *, pid: int, signals_scoped: bool) -> None:
    """Puts the filter in force for all threads of the process. `no_new_privs` must be set.

    Args:
        rules: The policy.
        pid: The calling process.
        signals_scoped: Whether Landlock holds signals to the process and its children. Only then a process that may
            fork can signal its children; otherwise nothing but itself.

    Raises:
        OSError: the kernel refused the filter.
    """
    program = build(rules, numbers=kernel.numbers(), machine=platform.machine(), pid=pid, signals_scoped=signals_scoped)
    packed = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    argument = _Program(length=len(program), instructions=packed)
    number = kernel.numbers()["seccomp"]
    if kernel.call(number, _SET_MODE_FILTER, _FLAG_TSYNC, ctypes.byref(argument)) != 0:
        raise kernel.last_error("seccomp")


def build(
    rules: policy.Policy, *, numbers: dict[str, int], machine: str, pid: int, signals_scoped: bool
) -> list[tuple[int, int, int, int]]:
    """The filter as BPF instructions (code, jump if true, jump if false, operand)."""
    checks = _checks(rules, pid=pid, signals_scoped=signals_scoped)
    refused = [*_REFUSED, *(() if rules.processes else _FORKS)]
    program = [
        (_LOAD, 0, 0, _OFFSET_ARCH),
        (_EQUAL, 1, 0, _AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, _KILL_PROCESS),  # 32-bit calls have other numbers; nothing of ours makes any
        (_LOAD, 0, 0, _OFFSET_NUMBER),
        # The calls of the x32 ABI have numbers from 2**30 on, so they end here too.
        *_when((_AT_LEAST, kernel.FIRST_COMMON_NUMBER), [*_allowed_numbers(), (_RETURN, 0, 0, _ABSENT)]),
    ]
    for name in refused:
        if name in numbers:
            program += _when((_EQUAL, numbers[name]), [(_RETURN, 0, 0, _REFUSE)])
    for name, body in checks.items():
        if name in numbers:
            program += _when((_EQUAL, numbers[name]), body)
    return [*program, (_RETURN, 0, 0, _ALLOW)]


def _checks(rules: policy.Policy, *, pid: int, signals_scoped: bool) -> dict[str, _Code]:
    """The calls that depend on their arguments. Only the low half of an argument is looked at: all are 32-bit ones."""
    signals = {} if rules.processes and signals_scoped else {name: _only(0, (pid,)) for name in _SIGNALS}
    return {
        **signals,
        "clone": _clone(rules),
        "prlimit64": _only(0, (0, pid)),
        # A pair of streams leads nowhere else (an event loop wakes itself with one); a pair of datagram sockets could
        # be sent from to any socket file.
        "socketpair": [
            _argument(0),
            (_EQUAL, 0, 4, socket.AF_UNIX),
            _argument(1),
            (_AND, 0, 0, _SOCKET_TYPE_MASK),
            (_EQUAL, 0, 1, socket.SOCK_STREAM),
            (_RETURN, 0, 0, _ALLOW),
            (_RETURN, 0, 0, _REFUSE),
        ],
        # A listening socket that was shut down could be sent from, which connects it.
        "sendto": _without(3, _MSG_FASTOPEN),
        "sendmsg": _without(2, _MSG_FASTOPEN),
        # Truncating while opening to read: Landlock before its third version asks for the right to read only.
        "open": _open(1),
        "openat": _open(2),
        # The kernel would send a signal of choice to a process of choice when the file is ready.
        "fcntl": _none_of(1, (_F_SETOWN, _F_SETSIG, _F_SETOWN_EX)),
        # The same, and typing into the terminal that the server was started from.
        "ioctl": _none_of(1, (_FIOSETOWN, _SIOCSPGRP, _TIOCSTI, _TIOCLINUX)),
    }


def _clone(rules: policy.Policy) -> _Code:
    if rules.processes:
        return _without(0, _CLONE_NEW_NAMESPACES)
    if rules.threads:
        return [_argument(0), (_ANY_BIT, 0, 1, _CLONE_THREAD), (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]
    return [(_RETURN, 0, 0, _REFUSE)]


def _open(flags: int) -> _Code:
    writing = [(_AND, 0, 0, _O_ACCMODE), (_EQUAL, 2, 0, _O_WRONLY), (_EQUAL, 1, 0, _O_RDWR), (_RETURN, 0, 0, _REFUSE)]
    return [_argument(flags), (_ANY_BIT, 0, len(writing), _O_TRUNC), *writing, (_RETURN, 0, 0, _ALLOW)]


def _argument(index: int) -> _Instruction:
    return (_LOAD, 0, 0, _OFFSET_ARGUMENTS + 8 * index)  # both architectures are little-endian


def _when(test: tuple[int, int], body: _Code) -> _Code:
    """`body`, which ends in a return, when the test of the call's number holds; otherwise what comes after."""
    code, operand = test
    return [(code, 0, len(body), operand), *body]


def _allowed_numbers() -> _Code:
    code: _Code = []
    for number in _HARMLESS_COMMON.values():
        code += _when((_EQUAL, number), [(_RETURN, 0, 0, _ALLOW)])
    return code


def _only(index: int, values: tuple[int, ...]) -> _Code:
    code = [_argument(index)]
    for value in values:
        code += _when((_EQUAL, value), [(_RETURN, 0, 0, _ALLOW)])
    return [*code, (_RETURN, 0, 0, _REFUSE)]


def _none_of(index: int, values: tuple[int, ...]) -> _Code:
    code = [_argument(index)]
    for value in values:
        code += _when((_EQUAL, value), [(_RETURN, 0, 0, _REFUSE)])
    return [*code, (_RETURN, 0, 0, _ALLOW)]


def _without(index: int, bits: int) -> _Code:
    return [_argument(index), (_ANY_BIT, 0, 1, bits), (_RETURN, 0, 0, _REFUSE), (_RETURN, 0, 0, _ALLOW)]
