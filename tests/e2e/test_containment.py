"""What a hostile scenario can reach in a running instance: a table of attempts, each contained, its target untouched.

The server's own memory is its to spoil (docs/adr/0007); files, network, processes and secrets of others are not.
"""

import contextlib
import hashlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bundles
import hostile
import instances
import psutil
import pytest

from awm_registry import client
from awm_runtime.bundle import model
from awm_runtime.contract import problems

SECRET = "not-for-scenario-code"

HOSTILE = (
    hostile.ATTEMPTS
    + '''
@app.get("/hello", operation_id="hello")
def hello():
    return "hello"


@app.post("/loop", operation_id="loop_without_timer")
def loop_without_timer():
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    while True:
        pass


@app.post("/swallow", operation_id="loop_that_swallows_its_deadline")
def loop_that_swallows_its_deadline():
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass


@app.post("/sum", operation_id="loop_in_c")
def loop_in_c():
    return sum(range(10 ** 13))


@app.post("/print", operation_id="print_much")
def print_much():
    for _ in range(1000):
        print("x" * 1000)
    return "printed"


def judge_socket():
    """The one whose other end the keeper made."""
    for number in range(3, 256):
        try:
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                continue
        except OSError:
            continue
        peer = socket.socket(fileno=os.dup(number))
        if peer.family == socket.AF_UNIX:
            made_by, _, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            if made_by == os.getppid():
                return peer


def ask_the_judge(request):
    body = json.dumps(request).encode()
    peer = judge_socket()
    peer.settimeout(0.9)
    peer.sendall(struct.pack(">I", len(body)) + body)
    (length,) = struct.unpack(">I", peer.recv(4))
    return json.loads(peer.recv(length))
'''
)

FILES = {
    "read a file of the user's": "found = open(w['secret']).read()",
    "read the users of the machine": "found = open('/etc/passwd').read()",
    "read the episodes of another instance": "found = open(w['database'], 'rb').read()",
    "query them": "found = sqlite3.Connection(w['database']).execute('SELECT * FROM items').fetchall()",
    "attach them": "found = engine.raw_connection().execute('ATTACH ? AS other', [w['database']])",
    "attach them to a connection of its own": "c = sqlite3.dbapi2.Connection(':memory:')\n"
    "c.execute('ATTACH ? AS other', [w['database']]); found = c.execute('SELECT * FROM other.items').fetchall()",
    "change them": "c = sqlite3.dbapi2.Connection(w['database']); c.execute('DELETE FROM items'); c.commit()",
    "list them": "found = os.listdir(os.path.dirname(w['database']))",
    "read the tasks": "found = open(os.path.join(w['bundle'], 'tasks.jsonl')).read()",
    "list the verifiers": "found = os.listdir(os.path.join(w['bundle'], 'verifiers'))",
    "write to the bundle": "open(os.path.join(w['bundle'], 'tools.json'), 'a').write('x')",
    "add to the bundle": "open(os.path.join(w['bundle'], 'new'), 'w')",
    "write to the home folder": "open(os.path.expanduser('~/awm-was-here'), 'w')",
    "write to the temporary folder": "open('/tmp/awm-was-here', 'w')",
    "write to the libraries": "open(os.path.join(os.path.dirname(sqlite3.__file__), 'awm-was-here'), 'w')",
    "load a library into SQLite": "found = engine.raw_connection().execute('SELECT load_extension(?)', [w['secret']])",
    "read the log of the server": "found = open(os.path.join(w['state'], 'instance.log')).read()",
}
NETWORK = {
    "connect to the control plane": "found = socket.create_connection(('127.0.0.1', w['port']), 1)",
    "listen on TCP": "found = socket.create_server(('127.0.0.1', 0))",
    "send a datagram": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', w['port']))",
    "connect to a socket file": "socket.socket(socket.AF_UNIX).connect(w['socket'])",
    "bind a socket file": "socket.socket(socket.AF_UNIX).bind(os.path.join(w['own'], 'socket'))",
    "resolve a name": "found = socket.getaddrinfo('example.com', 80)",
    "connect an inherited listening socket": "import ctypes\nfor n in range(3, 32):\n"
    "    try: s = socket.socket(fileno=os.dup(n))\n    except OSError: continue\n"
    "    if s.family == socket.AF_INET: s.connect(('127.0.0.1', w['port'])); found = 'connected'; break",
}
PROCESSES = {
    "fork": "found = os.fork() or os._exit(0)",
    "run a program": "found = subprocess.run(['/bin/true'])",
    "become a program": "os.execv('/bin/true', ['true'])",
    "kill the keeper": "os.kill(w['keeper'], signal.SIGKILL)",
    "stop the keeper": "os.kill(os.getppid(), signal.SIGTERM)",
    "kill the judge": "os.kill(w['judge'], signal.SIGKILL)",
    "kill the tests": "os.kill(w['tests'], signal.SIGTERM)",
    "kill all": "os.kill(-1, signal.SIGKILL)",
    "trace the keeper": "libc = ctypes.CDLL(None, use_errno=True)\n"
    "if libc.ptrace(16, w['keeper'], 0, 0) < 0: raise OSError(ctypes.get_errno(), 'refused')",
    "read the keeper's environment": "found = open(f\"/proc/{w['keeper']}/environ\", 'rb').read()",
    "read the keeper's memory": "found = open(f\"/proc/{w['keeper']}/mem\", 'rb')",
    "read its command line from the kernel": "found = open('/proc/self/cmdline', 'rb').read()",
    "list its descriptors": "found = os.listdir('/proc/self/fd')",
    "limit the keeper": "resource.prlimit(w['keeper'], resource.RLIMIT_NOFILE, (16, 16))",
    "allow core dumps again": "resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20))",
    "slow the keeper down": "os.setpriority(os.PRIO_PROCESS, w['keeper'], 19)",
}


HARMLESS = {
    "read a file of the user's",
    "read the users of the machine",
    "read the episodes of another instance",
    "query them",
    "attach them",
    "attach them to a connection of its own",
    "list them",
    "read the tasks",
    "list the verifiers",
    "read the log of the server",
    "connect to the control plane",
    "listen on TCP",
    "send a datagram",
    "connect to a socket file",
}


@dataclass(frozen=True)
class World:
    """A hostile scenario that is served, and what it may reach for."""

    instance: instances.Running
    bundle: Path
    database: Path
    secret: Path
    listener: socket.socket

    def attempt(self, code: str) -> dict[str, str]:
        """What an attempt came to, in an episode of its own."""
        episode = self.instance.open()
        answer = self.instance.call(episode, "attempt", code=code, facts=json.dumps(self.facts(episode.id)))
        result: dict[str, str] = answer.data()
        return result

    def facts(self, episode: str) -> dict[str, str | int]:
        [own] = self.instance.state.glob(f"*/episodes/{episode}")
        return {
            "secret": str(self.secret),
            "database": str(self.database),
            "bundle": str(self.bundle),
            "state": str(self.instance.state),
            "own": str(own),
            "socket": self.listener.getsockname(),
            "port": int(self.instance.address.control_url.rpartition(":")[2]),
            "keeper": self.instance.keeper.pid,
            "judge": self.instance.process(instances.JUDGE).pid,
            "tests": os.getpid(),
        }

    def look(self) -> object:
        """What must stay as it is."""
        folders = (self.bundle, self.database.parent, self.secret.parent)
        files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
        return (
            [(str(path), hashlib.sha256(path.read_bytes()).hexdigest()) for path in files],
            [
                (self.instance.process(each).pid, self.instance.process(each).nice())
                for each in (instances.INSTANCE, instances.JUDGE)
            ],
            self.instance.keeper.status() != psutil.STATUS_ZOMBIE,
            psutil.Process(self.instance.keeper.pid).rlimit(psutil.RLIMIT_NOFILE),
            self.instance.keeper.nice(),
            [Path(place, "awm-was-here").exists() for place in (Path.home(), "/tmp", Path(sqlite3.__file__).parent)],
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("containment")
    bundle = bundles.make(
        folder / "bundles" / "hostile",
        HOSTILE,
        tasks=[model.Task(id="any", instruction="Do it.")],
        verifiers={("any", "code"): "def verify_task_completion(*paths):\n    return {'result': 'others'}\n"},
    )
    other = folder / "other instance"
    other.mkdir()
    with contextlib.closing(sqlite3.connect(other / "0.db")) as connection:
        connection.executescript("CREATE TABLE items (name TEXT); INSERT INTO items VALUES ('private');")
    (folder / "home").mkdir()
    secret = folder / "home" / "secret.txt"
    secret.write_text(SECRET)
    environment = {"OPENAI_API_KEY": SECRET, "AWS_SECRET_ACCESS_KEY": SECRET, "AWM_UNKNOWN": SECRET}
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(folder / "listener"))
        listener.listen()
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in environment.items():
            patch.setenv(name, value)
        instance = stack.enter_context(
            instances.running(bundle, folder / "state", token=SECRET, call_deadline_s=1, call_grace_s=1)
        )
        yield World(instance, bundle, other / "0.db", secret, listener)


@pytest.mark.parametrize("name", [*FILES, *NETWORK, *PROCESSES])
def test_an_attempt_is_refused_and_its_target_untouched(world: World, name: str) -> None:
    before = world.look()
    answer = world.attempt({**FILES, **NETWORK, **PROCESSES}[name])
    assert set(answer) == {"refused", "why"}, answer
    assert answer["refused"] in {"PermissionError", "OperationalError", "DatabaseError", "gaierror", "ValueError"}, (
        answer
    )
    assert SECRET not in str(answer)
    assert world.look() == before


def test_the_attempts_are_worth_refusing(world: World) -> None:
    """They do what they say where nothing confines them; those that would spoil this machine are left out."""
    facts = json.dumps(world.facts(world.instance.open().id))
    tried = {name: code for name, code in {**FILES, **NETWORK}.items() if name in HARMLESS}
    script = f"{HOSTILE}\nfor code in {list(tried.values())!r}: print(json.dumps(attempt(code, {facts!r})))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "DATABASE_PATH": f"sqlite:///{world.database}"},
        capture_output=True,
        text=True,
        check=True,
    )
    answers = dict(zip(tried, map(json.loads, done.stdout.splitlines()), strict=True))
    assert not {name: answer for name, answer in answers.items() if "found" not in answer}


def test_no_secret_of_the_keeper_is_visible(world: World) -> None:
    visible = world.attempt("found = [dict(os.environ), sys.argv, sys.orig_argv]")
    assert "PYTHONHASHSEED" in visible["found"]
    assert SECRET not in visible["found"]
    assert str(world.bundle) not in visible["found"]
    for module in (instances.INSTANCE, instances.JUDGE):
        process = world.instance.process(module)
        assert SECRET not in str(process.cmdline())
        assert SECRET not in str(process.environ())
    with client.ControlClient(world.instance.address.control_url, token="wrong") as stranger:
        with pytest.raises(problems.ProblemError) as caught:
            stranger.open()
        assert caught.value.code is problems.Code.UNAUTHENTICATED


JUDGE_READS = """
def verify_task_completion(initial, final, answer=None):
    return {"result": "complete", "checks": {open(initial, "rb").read().decode("latin-1")[-40:]: True}}
"""


@pytest.mark.parametrize("target", ["secret", "database"])
def test_the_judge_shows_no_file_of_another_place(world: World, target: str) -> None:
    """Scenario code has the judge's socket at hand: it shares the server's process."""
    before = world.look()
    code = (
        "request = {'id': 10 ** 9, 'source': w_source, 'mode': 'code', 'answer': None, 'deadline_s': 2,\n"
        f"    'memory_bytes': 1 << 30, 'initial': w['{target}'], 'final': w['{target}']}}\n"
        "found = ask_the_judge(request)"
    ).replace("w_source", repr(JUDGE_READS))
    answer = world.attempt(code)
    assert "no database of this instance" in answer["found"], answer
    assert SECRET not in str(answer)
    assert "private" not in str(answer)
    assert world.look() == before


@pytest.mark.parametrize("tool", ["loop_without_timer", "loop_that_swallows_its_deadline", "loop_in_c"])
def test_code_that_never_returns_is_killed_and_its_episode_says_so(world: World, tool: str) -> None:
    stuck, other = world.instance.open(), world.instance.open()
    with pytest.raises(client.Unreachable):
        world.instance.call(stuck, tool)
    assert instances.wait_for(lambda: world.instance.control.get(stuck.id)).interrupted == 1
    assert world.instance.call(other, "hello").text == '"hello"'
    assert world.instance.control.get(other.id).interrupted is None


def test_what_scenario_code_prints_goes_to_the_log(world: World) -> None:
    """Nobody reads the keeper's standard output after its first line: a full pipe would stop the instance."""
    episode = world.instance.open()
    assert world.instance.call(episode, "print_much").text == '"printed"'
    assert "x" * 1000 in world.instance.log()
