"""What a confined process may still do."""

import site
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What is left to a process. Everything else is refused with an error, not with a kill.

    Never left, whatever the policy: executing programs, making or connecting sockets (those that were inherited can be
    listened on, accepted from, read and written), signals to others, tracing, namespaces, mounts, changing modes,
    owners or times of files.

    Attributes:
        read: Files and folders (with all below) that may be read. They must exist.
        write: Folders in which files and folders may also be made, changed and removed; files that may be changed.
        processes: Whether `fork` is left.
        threads: Whether new threads are left.
        memory_bytes: Limit of the address space.
        cpu_s: Limit of processor time; the kernel kills at it.
        open_files: Limit of file descriptors.
        file_bytes: Limit of the size of a written file.
    """

    read: tuple[Path, ...]
    write: tuple[Path, ...] = ()
    processes: bool = False
    threads: bool = True
    memory_bytes: int | None = None
    cpu_s: int | None = None
    open_files: int | None = None
    file_bytes: int | None = None


_SYSTEM_READ_PATHS = (
    "/lib",  # shared libraries that extension modules are linked with, loaded on their first import
    "/lib64",
    "/usr/lib",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/etc/ssl/openssl.cnf",  # read by the first import of hashlib
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/dev/null",
    "/dev/urandom",
)


def runtime_read_paths() -> tuple[Path, ...]:
    """What a Python process needs to read to go on: its library, installed packages, this package, time zones.

    Folders are taken from the installation, never from `sys.path`: that may hold the working directory, and with it a
    user's home.
    """
    packages = Path(__file__).resolve().parents[1]
    candidates = [*map(Path, _SYSTEM_READ_PATHS), *map(Path, _installation_folders()), packages]
    return tuple(dict.fromkeys(path for path in candidates if path.exists()))


def _installation_folders() -> list[str]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    bases = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix, "installed_base": sys.base_prefix}
    own = [sysconfig.get_path(name) for name in names]
    base = [sysconfig.get_path(name, vars=bases) for name in names]
    user = [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    libraries = Path(sys.base_prefix, "lib")  # of an interpreter that brings its own, for example conda's
    return [*own, *base, str(libraries), *site.getsitepackages(), *user]
