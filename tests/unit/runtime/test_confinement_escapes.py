"""Escape attempts of machine-written code, as a table: each is refused and leaves its target as it was.

The table is run three times: unconfined, where each attempt succeeds (so that the table is honest); as an environment,
under the policy that an instance has; and as a verifier, by a judge.
"""

import asyncio
import dataclasses
import json
import os
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from awm_runtime.verification import sandbox

REFUSED = 3

# What attempts have at hand. `w` is the world that they try to reach.
TOOLS = """
import ctypes, fcntl, json, os, resource, signal, socket, sqlite3, subprocess, sys
from awm_runtime.confinement import kernel

def raw(name, *arguments):
    if kernel.call(kernel.numbers()[name], *arguments) < 0:
        raise kernel.last_error(name)
"""

FILES = {
    "read another episode": "open(w['secret']).read()",
    "read it through a symbolic link": "open(w['way_out']).read()",
    "read it with a raw call": "raw('openat', -100, w['secret'].encode(), 0)",
    "query another episode": "sqlite3.connect(w['database']).execute('SELECT * FROM t').fetchall()",
    "attach another episode": "sqlite3.connect(':memory:').execute('ATTACH ? AS other', [w['database']])",
    "change another episode": "sqlite3.connect(w['database'], isolation_level=None).execute('DELETE FROM t')",
    "list other episodes": "os.listdir(w['other'])",
    "list the root": "os.listdir('/')",
    "read the users": "open('/etc/passwd').read()",
    "read another process's environment": "open(f'/proc/{w[\"victim\"]}/environ', 'rb').read()",
    "read its parent's environment": "open(f'/proc/{os.getppid()}/environ', 'rb').read()",
    "open its own memory": "open('/proc/self/mem', 'rb')",
    "overwrite": "open(w['secret'], 'w').write('mine')",
    "append": "open(w['secret'], 'a').write('mine')",
    "truncate": "os.truncate(w['secret'], 0)",
    "truncate while opening to read": "os.open(w['secret'], os.O_RDONLY | os.O_TRUNC)",
    "make a file": "open(os.path.join(w['other'], 'new'), 'w')",
    "make a folder": "os.mkdir(os.path.join(w['other'], 'new'))",
    "remove": "os.remove(w['secret'])",
    "rename": "os.rename(w['secret'], w['secret'] + '.gone')",
    "link into its own folder": "os.link(w['secret'], os.path.join(w['own'], 'mine'))",
    "make a symbolic link": "os.symlink(w['secret'], os.path.join(w['own'], 'mine'))",
    "make a named pipe": "os.mkfifo(os.path.join(w['own'], 'pipe'))",
    "change the mode": "os.chmod(w['secret'], 0o777)",
    "change the mode of an open file": "os.fchmod(os.open(w['readable'], os.O_RDONLY), 0o777)",
    "change the owner": "os.chown(w['secret'], os.getuid(), os.getgid())",
    "change the times": "os.utime(w['secret'], (1, 1))",
    "watch files": "raw('inotify_init1', 0)",
}

NETWORK = {
    "connect": "socket.create_connection(('127.0.0.1', w['port']))",
    "listen": "socket.create_server(('127.0.0.1', 0))",
    "make a datagram socket": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "make a netlink socket": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "connect to a socket file": "socket.socket(socket.AF_UNIX).connect(w['socket'])",
    "bind an abstract socket": "socket.socket(socket.AF_UNIX).bind('\\0awm-' + str(os.getpid()))",
    "send to a socket file from a pair": "socket.socketpair(type=socket.SOCK_DGRAM)[0].sendto(b'x', w['datagrams'])",
}

PROCESSES = {
    "fork": "pid = os.fork(); os.waitpid(pid, 0) if pid else os._exit(0)",
    "spawn": "os.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0)",
    "run a program": "subprocess.run(['/bin/true'], check=True)",
    "become a program": "os.execv('/bin/true', ['true'])",
    "read another's memory": "raw('process_vm_readv', w['victim'], 0, 0, 0, 0, 0)",
    "slow another down": "os.setpriority(os.PRIO_PROCESS, w['victim'], os.getpriority(os.PRIO_PROCESS, 0) + 1)",
    "pin another": "os.sched_setaffinity(w['victim'], os.sched_getaffinity(0))",
    "limit another": "resource.prlimit(w['victim'], resource.RLIMIT_CORE, (0, 0))",
    "make memory that no limit counts": "os.memfd_create('x')",
}

SIGNALS = {
    "kill another": "os.kill(w['victim'], signal.SIGKILL)",
    "kill another by descriptor": "signal.pidfd_send_signal(os.pidfd_open(w['victim']), signal.SIGKILL)",
    "kill another's thread": "raw('tgkill', w['victim'], w['victim'], 9)",
    "kill a thread anywhere": "raw('tkill', w['victim'], 9)",
    "reach its parent": "os.kill(os.getppid(), 0)",
    "reach its group": "os.kill(0, 0)",
    "reach everyone": "os.kill(-1, 0)",
    "have the kernel signal another": "fcntl.fcntl(0, fcntl.F_SETOWN, w['victim'])",
}

# These need rights that the machine running the tests may not give; they have no unconfined run.
KERNEL = {
    "trace another": "raw('ptrace', 16, w['victim'], 0, 0)",
    "make a user namespace": "raw('unshare', 0x10000000)",
    "mount": "raw('mount', 0, w['own'].encode(), b'tmpfs', 0, 0)",
    "change the root": "os.chroot(w['own'])",
    "make a shared segment": "raw('shmget', 0, 4096, 0o1600)",
    "use io_uring": "kernel.call(425, 1, 0) >= 0 or (_ for _ in ()).throw(kernel.last_error('io_uring_setup'))",
    "load a program into the kernel": "raw('bpf', 0, 0, 0)",
    "read the kernel's log": "raw('syslog', 10, 0, 0)",
    "ask for keys": "raw('keyctl', 0, -3, 0)",
    "regain rights": "raw('capset', (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(*[2**32 - 1] * 6))",
    "become another user": "os.setuid(65534)",
}

ATTEMPTS = {**FILES, **NETWORK, **PROCESSES, **SIGNALS}
EVERY_ATTEMPT = {**ATTEMPTS, **KERNEL}


@dataclasses.dataclass
class World:
    """What an attempt may reach for, and how it looks."""

    root: Path
    own: Path
    victim: "subprocess.Popen[bytes]"
    stream: socket.socket
    tcp: socket.socket
    datagrams: socket.socket

    def facts(self) -> dict[str, str | int]:
        other = self.root / "other"
        return {
            "own": str(self.own),
            "other": str(other),
            "secret": str(other / "secret.txt"),
            "database": str(other / "episode.db"),
            "way_out": str(self.own / "way_out"),
            "readable": str(self.own / "initial.db"),
            "victim": self.victim.pid,
            "port": self.tcp.getsockname()[1],
            "socket": self.stream.getsockname(),
            "datagrams": self.datagrams.getsockname(),
        }

    def look(self) -> object:
        files = {}
        for path in sorted(self.root.rglob("*")):
            status = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            files[str(path)] = (content, status.st_mode, status.st_uid, status.st_nlink, status.st_mtime_ns)
        arrived, _, _ = select.select([self.stream, self.tcp, self.datagrams], [], [], 0)
        return files, self.victim.poll(), os.getpriority(os.PRIO_PROCESS, self.victim.pid), len(arrived)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.mkdir()
    (other / "secret.txt").write_text("secret")
    (own / "way_out").symlink_to(other / "secret.txt")
    for database in (other / "episode.db", own / "initial.db", own / "final.db"):
        connection = sqlite3.connect(database)
        connection.executescript("CREATE TABLE t (a); INSERT INTO t VALUES (1);")
        connection.close()
    with (
        subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as victim,
        socket.socket(socket.AF_UNIX) as stream,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams,
        socket.create_server(("127.0.0.1", 0)) as tcp,
    ):
        stream.bind(str(other / "stream"))
        stream.listen()
        datagrams.bind(str(other / "datagrams"))
        yield World(tmp_path, own, victim, stream, tcp, datagrams)
        victim.kill()


@pytest.fixture(scope="module")
def judge() -> Iterator[sandbox.LocalJudge]:
    with sandbox.local_judge() as running:
        yield running


def attempted(attempt: str, world: World, *, policy: str = "") -> "subprocess.CompletedProcess[str]":
    """The attempt, made by a process of its own."""
    code = f"""
{TOOLS}
w = json.loads(sys.argv[1])
{policy}
try:
    {attempt}
except (OSError, sqlite3.Error) as exc:
    print(exc)
    sys.exit({REFUSED})
"""
    command = [sys.executable, "-c", code, json.dumps(world.facts())]
    # A session of its own: its group is not the tests'.
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, start_new_session=True)


AS_AN_INSTANCE = """
from pathlib import Path
from awm_runtime import confinement
own = Path(w['own'])
confinement.confine(confinement.Policy(read=confinement.runtime_read_paths(), write=(own,)), required=True)
"""


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS.keys())
def test_attempt_succeeds_unconfined(attempt: str, world: World) -> None:
    done = attempted(attempt, world)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("attempt", EVERY_ATTEMPT.values(), ids=EVERY_ATTEMPT.keys())
def test_environment_cannot(attempt: str, world: World) -> None:
    before = world.look()

    done = attempted(attempt, world, policy=AS_AN_INSTANCE)

    assert done.returncode == REFUSED, done.stdout + done.stderr
    assert world.look() == before


def verification(attempt: str, world: World) -> sandbox.JudgeRequest:
    """A verifier that makes the attempt and tells how it went."""
    source = f"""
{TOOLS}
import threading
def verify_task_completion(initial, final, answer=None):
    w = json.loads(answer)
    try:
{textwrap.indent(textwrap.dedent(attempt), " " * 8)}
    except (OSError, sqlite3.Error, RuntimeError, ValueError) as exc:
        return {{"result": "others", "checks": {{"refused": True}}, "reason": str(exc)}}
    return {{"result": "complete"}}
"""
    own = world.own
    return sandbox.JudgeRequest(
        source=source,
        mode="code",
        initial=own / "initial.db",
        final=own / "final.db",
        answer=json.dumps(world.facts()),
    )


VERIFIER_ATTEMPTS = {
    **EVERY_ATTEMPT,
    "write beside the databases": "open(os.path.join(w['own'], 'new'), 'w')",
    "change the database that it judges": "sqlite3.connect(final, isolation_level=None).execute('DELETE FROM t')",
    "list the folder of the databases": "os.listdir(w['own'])",
    "start a thread": "threading.Thread(target=print).start()",
    "raise its memory limit": "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "write to what was open in the judge": """
        for number in range(4, 1024):
            try:
                os.write(number, b"x")
                break
            except OSError:
                pass
        else:
            raise OSError("nothing is open")
    """,
    "kill the judge": "os.kill(os.getppid(), signal.SIGKILL)",
}


@pytest.mark.parametrize("attempt", VERIFIER_ATTEMPTS.values(), ids=VERIFIER_ATTEMPTS.keys())
def test_verifier_cannot(attempt: str, world: World, judge: sandbox.LocalJudge) -> None:
    before = world.look()

    reply = judge.run(verification(attempt, world))

    assert reply.result is not None, reply
    assert reply.result.get("checks") == {"refused": True}, reply
    assert world.look() == before


SEARCH = """
    import gc
    held = [item.answer for item in gc.get_objects() if type(item).__name__ == "JudgeRequest"]
    if held == [answer]:
        raise OSError("nothing but its own")
"""


def test_verifier_finds_no_other_request_in_memory(world: World) -> None:
    process, sock = sandbox.spawn()
    other = dataclasses.replace(verification("while True: pass", world), answer='{"of": "another"}')

    async def searched() -> sandbox.JudgeReply:
        shared = sandbox.Judge(sock)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(shared.run(other))
            await asyncio.sleep(0)  # so that it is sent first
            reply = await shared.run(verification(SEARCH, world))
            waiting.cancel()
        await shared.aclose()
        return reply

    reply = asyncio.run(searched())

    process.wait()
    assert reply.result is not None, reply
    assert reply.result.get("checks") == {"refused": True}


@pytest.mark.parametrize("name", ["overwrite", "change the mode", "make a file", "connect", "slow another down"])
def test_world_shows_what_an_attempt_did(name: str, world: World) -> None:
    before = world.look()

    attempted(ATTEMPTS[name], world)

    assert world.look() != before


def test_world_shows_a_killed_victim(world: World) -> None:
    attempted(SIGNALS["kill another"], world)

    assert world.victim.wait() == -signal.SIGKILL
