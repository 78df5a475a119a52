"""Files, by Landlock: a process keeps the rights on the paths that it is given, and loses all others."""

import ctypes
import os
import stat
from pathlib import Path

from awm_runtime.confinement import kernel, policy

_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1

_EXECUTE = 1 << 0
_WRITE_FILE = 1 << 1
_READ_FILE = 1 << 2
_READ_DIR = 1 << 3
_REMOVE_DIR = 1 << 4
_REMOVE_FILE = 1 << 5
_MAKE_DIR = 1 << 7
_MAKE_REG = 1 << 8
_REFER = 1 << 13
_TRUNCATE = 1 << 14
_IOCTL_DEV = 1 << 15

_READ = _READ_FILE | _READ_DIR
# Left out on purpose: making links, sockets, pipes and devices, with which another reader of the folder could be led
# astray, and executing.
_WRITE = _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER | _TRUNCATE
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV  # the others make sense on folders only

_FILE_RIGHTS_OF_ABI_1 = (1 << 13) - 1
_FILE_RIGHTS_SINCE = {2: _REFER, 3: _TRUNCATE, 5: _IOCTL_DEV}
_NETWORK_SINCE = 4
_TCP_BIND_AND_CONNECT = 0b11
SCOPES_SINCE = 6
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"  # Python 3.14 wants the layout of a packed structure said
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def abi() -> int | None:
    """The version of Landlock in the running kernel; None where it is missing or switched off."""
    if not kernel.supported():
        return None
    version = kernel.call(kernel.LANDLOCK_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION)
    return version if version > 0 else None


def handled_rights(version: int) -> int:
    """The file rights that a kernel with this version can take away: all that it knows."""
    return _FILE_RIGHTS_OF_ABI_1 | sum(right for since, right in _FILE_RIGHTS_SINCE.items() if version >= since)


def restrict(rules: policy.Policy, version: int) -> None:
    """Confines the calling thread, and every thread and process that it starts from now on.

    Raises:
        FileNotFoundError: a path of the policy does not exist.
        OSError: the kernel refused.
    """
    handled = handled_rights(version)
    attributes = _Ruleset(
        handled_access_fs=handled,
        handled_access_net=_TCP_BIND_AND_CONNECT if version >= _NETWORK_SINCE else 0,
        scoped=_ABSTRACT_SOCKETS_AND_SIGNALS if version >= SCOPES_SINCE else 0,
    )
    ruleset = kernel.call(kernel.LANDLOCK_CREATE_RULESET, ctypes.byref(attributes), _structure_size(version), 0)
    if ruleset < 0:
        raise kernel.last_error("landlock_create_ruleset")
    try:
        for path in rules.read:
            _allow(ruleset, path, _READ & handled)
        for path in rules.write:
            _allow(ruleset, path, _WRITE & handled)
        if kernel.call(kernel.LANDLOCK_RESTRICT_SELF, ruleset, 0) < 0:
            raise kernel.last_error("landlock_restrict_self")
    finally:
        os.close(ruleset)


def _structure_size(version: int) -> int:
    # An older kernel refuses a structure with fields that it does not know.
    known = 1 + (version >= _NETWORK_SINCE) + (version >= SCOPES_SINCE)
    return known * ctypes.sizeof(ctypes.c_uint64)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        rule = _PathBeneath(allowed_access=rights if folder else rights & _ON_FILES, parent_fd=descriptor)
        if kernel.call(kernel.LANDLOCK_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0) < 0:
            raise kernel.last_error("landlock_add_rule")
    finally:
        os.close(descriptor)
