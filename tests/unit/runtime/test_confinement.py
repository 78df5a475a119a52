import errno
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from awm_runtime import confinement
from awm_runtime.confinement import kernel, seccomp

CONFINED = """
import sys
from pathlib import Path
from awm_runtime import confinement
own = Path(sys.argv[1])
read = (*confinement.runtime_read_paths(), *map(Path, sys.argv[2:]))
in_force = confinement.confine(confinement.Policy(read=read, write=(own,)), required=True)
"""


def run(code: str, *arguments: str | Path, pass_fds: tuple[int, ...] = ()) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, pass_fds=pass_fds)


STILL_POSSIBLE = {
    "files in its own folder": """
folder = own / "episodes" / "one"
folder.mkdir(parents=True)
(folder / "meta.json").write_text("{}")
(folder / "meta.json").rename(folder.parent / "moved.json")
(folder.parent / "moved.json").unlink()
folder.rmdir()
""",
    "a database in its own folder": """
import sqlite3
connection = sqlite3.connect(own / "episode.db")
connection.execute("PRAGMA journal_mode=PERSIST")
connection.executescript("CREATE TABLE t (a); INSERT INTO t VALUES (1)")
""",
    "threads": """
import threading
started = []
thread = threading.Thread(target=started.append, args=[1])
thread.start()
thread.join()
assert started == [1]
""",
    "an event loop": "import asyncio; asyncio.run(asyncio.sleep(0))",
    "an event loop on uvloop": "import asyncio, uvloop; uvloop.run(asyncio.sleep(0))",
    "signals to itself": """
import os, signal
heard = []
signal.signal(signal.SIGALRM, lambda *_: heard.append(1))
os.kill(os.getpid(), signal.SIGALRM)
signal.raise_signal(signal.SIGALRM)
assert heard == [1, 1]
""",
    "imports and time zones": "import decimal, fastapi, hashlib, zoneinfo; zoneinfo.ZoneInfo('Europe/Berlin')",
    "randomness": "import os; assert os.urandom(8) and open('/dev/urandom', 'rb').read(8)",
    "confining itself further": """
inner = confinement.confine(confinement.Policy(read=(), write=(own,)), required=True)
assert inner.complete
""",
}


@pytest.mark.parametrize("code", STILL_POSSIBLE.values(), ids=STILL_POSSIBLE.keys())
def test_confined_process_can_still_have(code: str, tmp_path: Path) -> None:
    done = run(CONFINED + code, tmp_path)

    assert done.returncode == 0, done.stderr


def test_confined_process_reads_what_the_policy_names_and_cannot_change_it(tmp_path: Path) -> None:
    own, bundle = tmp_path / "own", tmp_path / "bundle"
    own.mkdir()
    bundle.mkdir()
    (bundle / "tools.json").write_text("[]")

    done = run(CONFINED + "p = Path(sys.argv[2], 'tools.json'); p.read_text(); p.write_text('{}')", own, bundle)

    assert "PermissionError" in done.stderr
    assert (bundle / "tools.json").read_text() == "[]"


def test_confined_process_serves_an_inherited_socket(tmp_path: Path) -> None:
    serve = """
import asyncio, socket
async def hello(reader, writer):
    writer.write(await reader.readline())
    await writer.drain()
    writer.close()
    server.close()
async def main():
    global server
    server = await asyncio.start_server(hello, sock=socket.socket(fileno=int(sys.argv[2].rpartition("/")[2])))
    await server.wait_closed()
asyncio.run(main())
"""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        client.sendall(b"hello\n")
        fd = listener.fileno()
        code = CONFINED.replace("sys.argv[2:]", "[]") + serve

        done = run(code, tmp_path, f"/{fd}", pass_fds=(fd,))

        assert done.returncode == 0, done.stderr
        assert client.recv(100) == b"hello\n"


def test_children_inherit_the_confinement_where_processes_are_left(tmp_path: Path) -> None:
    code = (
        CONFINED.replace("write=(own,)", "write=(own,), processes=True")
        + """
import os, signal
child = os.fork()
if child == 0:
    try:
        open("/etc/passwd")
    except PermissionError:
        os._exit(7)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
try:
    os.kill(os.getppid(), 0)
except PermissionError:
    sys.exit(0)
sys.exit(1)
"""
    )

    done = run(code, tmp_path)

    assert done.returncode == 0, done.stderr


def test_limits_are_those_of_the_policy(tmp_path: Path) -> None:
    limits = "memory_bytes=2**29, cpu_s=20, open_files=32, file_bytes=1000"
    code = (
        CONFINED.replace("write=(own,)", f"write=(own,), {limits}")
        + """
import resource
kinds = ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_NOFILE", "RLIMIT_FSIZE", "RLIMIT_CORE")
print([resource.getrlimit(getattr(resource, kind)) for kind in kinds])
"""
    )

    done = run(code, tmp_path)

    assert done.stdout.strip() == str([(2**29, 2**29), (20, 20), (32, 32), (1000, 1000), (0, 0)])


def test_confined_root_keeps_no_right_but_to_read_files_of_others(tmp_path: Path) -> None:
    capabilities = """
import ctypes
from awm_runtime.confinement import kernel
sets = (ctypes.c_uint32 * 6)()
kernel.call(kernel.numbers()["capget"], ctypes.byref((ctypes.c_uint32 * 2)(0x20080522, 0)), ctypes.byref(sets))
dac_override = 1 << 1
print([word & ~dac_override for word in sets])
"""

    done = run(CONFINED + capabilities, tmp_path)

    assert done.stdout.strip() == "[0, 0, 0, 0, 0, 0]", done.stderr


def test_threads_are_refused_where_the_policy_leaves_none(tmp_path: Path) -> None:
    code = CONFINED.replace("write=(own,)", "write=(own,), threads=False")

    done = run(code + "import threading; threading.Thread(target=print).start()", tmp_path)

    assert "can't start new thread" in done.stderr


def test_confining_a_process_with_threads_is_an_error(tmp_path: Path) -> None:
    started = "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"

    done = run(started + CONFINED, tmp_path)

    assert "RuntimeError: confine the process before it starts threads" in done.stderr


def test_missing_path_is_an_error(tmp_path: Path) -> None:
    done = run(CONFINED, tmp_path / "absent")

    assert "FileNotFoundError" in done.stderr


# What a kernel without Landlock answers, from a filter: LOAD number; is it landlock_create_ruleset: ENOSYS; else ALLOW.
WITHOUT_LANDLOCK = f"""
from awm_runtime.confinement import kernel, seccomp
import ctypes, struct
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, 444), (0x06, 0, 0, 0x50000 | {errno.ENOSYS}), (0x06, 0, 0, 0x7FFF0000)]
packed = b"".join(struct.pack("=HBBI", *step) for step in steps)
kernel.forbid_new_privileges()
program = seccomp._Program(length=len(steps), instructions=packed)
assert kernel.call(kernel.numbers()["seccomp"], 1, 0, ctypes.byref(program)) == 0
"""


def test_required_confinement_fails_on_a_kernel_without_landlock(tmp_path: Path) -> None:
    done = run(WITHOUT_LANDLOCK + CONFINED, tmp_path)

    assert "ConfinementUnavailable" in done.stderr


def test_confinement_that_is_not_required_takes_what_the_kernel_has_and_says_so(tmp_path: Path) -> None:
    code = (
        WITHOUT_LANDLOCK
        + CONFINED.replace(", required=True", "")
        + """
import socket
print(in_force, in_force.complete)
try:
    socket.socket()
except PermissionError:
    print("no sockets")
"""
    )

    done = run(code, tmp_path)

    assert done.stdout.splitlines() == ["Enforcement(landlock_abi=None, seccomp=True) False", "no sockets"]


def test_runtime_paths_hold_no_working_directory_and_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))

    paths = confinement.runtime_read_paths()

    assert all(path.exists() for path in paths)
    assert not {Path("/"), Path.home(), Path.cwd(), tmp_path, Path("/proc"), Path("/etc")} & set(paths)


ALLOW, KILL = 0x7FFF0000, 0x80000000
REFUSE, ABSENT = 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
PID = 4242
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
TABLES = {"x86_64": kernel._X86_64, "aarch64": kernel._AARCH64}


def decided(machine: str, number: int, *arguments: int, arch: int | None = None, **policy: bool) -> int:
    """What the filter for a machine answers: its instructions, interpreted."""
    rules = confinement.Policy(read=(), **policy)  # type: ignore[arg-type]
    program = seccomp.build(rules, numbers=TABLES[machine], machine=machine, pid=PID, signals_scoped=True)
    words = {0: number, 4: ARCH[machine] if arch is None else arch}
    words |= {16 + 8 * index: value for index, value in enumerate(arguments)}
    value = position = 0
    while True:
        code, if_true, if_false, operand = program[position]
        position += 1
        match code:
            case 0x20:
                value = words.get(operand, 0)
            case 0x54:
                value &= operand
            case 0x06:
                return operand
            case 0x15 | 0x35 | 0x45:
                holds = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}[code]
                position += if_true if holds else if_false


DECISIONS = [
    ("socket", (2, 1), REFUSE),
    ("socketpair", (1, 1 | 0x80800), ALLOW),
    ("socketpair", (1, 2), REFUSE),
    ("socketpair", (2, 1), REFUSE),
    ("execve", (), REFUSE),
    ("clone", (0x00010F00,), ALLOW),
    ("clone", (17,), REFUSE),
    ("kill", (PID, 9), ALLOW),
    ("kill", (1, 9), REFUSE),
    ("kill", (0, 9), REFUSE),
    ("kill", (2**32 - 1, 9), REFUSE),
    ("tgkill", (PID, PID, 9), ALLOW),
    ("tgkill", (7, 7, 9), REFUSE),
    ("prlimit64", (0,), ALLOW),
    ("prlimit64", (7,), REFUSE),
    ("openat", (0, 0, 0o1000), REFUSE),
    ("openat", (0, 0, 0o1003), REFUSE),
    ("openat", (0, 0, 0o1001), ALLOW),
    ("openat", (0, 0, 0o1002), ALLOW),
    ("openat", (0, 0, 0), ALLOW),
    ("sendto", (3, 0, 1, 0), ALLOW),
    ("sendto", (3, 0, 1, 0x20000000), REFUSE),
    ("sendmsg", (3, 0, 0x20000000), REFUSE),
    ("fcntl", (0, 8), REFUSE),
    ("fcntl", (0, 2), ALLOW),
    ("ioctl", (0, 0x5412), REFUSE),
    ("ioctl", (0, 0x5401), ALLOW),
]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize(("name", "arguments", "expected"), DECISIONS)
def test_filter_decides_by_arguments(machine: str, name: str, arguments: tuple[int, ...], expected: int) -> None:
    assert decided(machine, TABLES[machine][name], *arguments) == expected


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_filter_hides_calls_that_are_newer_than_itself(machine: str) -> None:
    clone3, close_range, unknown = 435, 436, 999

    assert [decided(machine, number) for number in (clone3, close_range, unknown)] == [ABSENT, ALLOW, ABSENT]


def test_filter_hides_the_x32_calls() -> None:
    assert decided("x86_64", 0x40000000 | TABLES["x86_64"]["open"]) == ABSENT


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_filter_kills_on_calls_of_another_architecture(machine: str) -> None:
    i386 = 0x40000003

    assert decided(machine, 1, arch=i386) == KILL


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_filter_leaves_forks_but_no_namespaces_where_processes_are_left(machine: str) -> None:
    clone, new_user, sigchld = TABLES[machine]["clone"], 0x10000000, 17

    assert decided(machine, clone, sigchld, processes=True) == ALLOW
    assert decided(machine, clone, sigchld | new_user, processes=True) == REFUSE
    assert decided(machine, clone, 0x00010F00, threads=False) == REFUSE
