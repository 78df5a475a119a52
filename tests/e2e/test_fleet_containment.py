"""What a hostile bundle can reach from inside its process in a fleet: a table of attempts, each refused."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bundles
import hostile
import local_fleets
import psutil
import pytest

from awm_fleet.backends.process import states
from awm_runtime.bundle import model

PLAIN = """
from fastapi import FastAPI

app = FastAPI()


@app.get("/greeting", operation_id="greet")
def greet():
    return "hello"
"""
FILES = {
    "read the bundle of another scenario": "found = open(os.path.join(w['bundle'], 'tasks.jsonl')).read()",
    "list the bundles": "found = os.listdir(os.path.dirname(w['bundle']))",
    "read its own tasks": "found = open(os.path.join(w['own_bundle'], 'tasks.jsonl')).read()",
    "read an episode of another scenario": "found = open(w['database'], 'rb').read()",
    "query it": "found = sqlite3.Connection(w['database']).execute('SELECT * FROM items').fetchall()",
    "write to it": "open(w['database'], 'ab').write(b'x')",
    "list the environments": "found = os.listdir(os.path.join(w['state'], 'environments'))",
    "read the log of another scenario": "found = open(w['log']).read()",
    "read its own log": "found = open(w['own_log']).read()",
    "read the key of episode ids": "found = open(os.path.join(w['state'], 'episode-ids.key')).read()",
    "read the catalogue": "found = open(os.path.join(w['state'], 'catalogue', 'index.json')).read()",
    "list the state folder": "found = os.listdir(w['state'])",
    "write to the state folder": "open(os.path.join(w['state'], 'was-here'), 'w')",
    "read the calls in flight of another scenario": "found = open(w['in_flight'], 'rb').read()",
}
NETWORK = {
    "connect to the supervisor": "s = socket.socket(socket.AF_UNIX); s.connect(w['socket']); found = 'connected'",
    "connect to another control plane": "found = socket.create_connection(('127.0.0.1', w['control']), 1)",
    "connect to the router": "found = socket.create_connection(('127.0.0.1', w['router']), 1)",
    "listen": "found = socket.create_server(('127.0.0.1', 0))",
}
PROCESSES = {
    "kill the supervisor": "os.kill(w['supervisor'], signal.SIGKILL)",
    "kill the zygote": "os.kill(w['zygote'], signal.SIGKILL)",
    "kill another scenario": "os.kill(w['other'], signal.SIGKILL)",
    "kill its judge": "os.kill(w['judge'], signal.SIGKILL)",
    "kill the router": "os.kill(w['router_pid'], signal.SIGKILL)",
    "kill its own group": "os.killpg(0, signal.SIGKILL)",
    "read the supervisor's memory": "found = open(f\"/proc/{w['supervisor']}/mem\", 'rb')",
    "read the zygote's environment": "found = open(f\"/proc/{w['zygote']}/environ\", 'rb').read()",
    "read the other scenario's command line": "found = open(f\"/proc/{w['other']}/cmdline\", 'rb').read()",
    "fork": "found = os.fork() or os._exit(0)",
    "adopt the orphans of others": "libc = ctypes.CDLL(None, use_errno=True)\n"
    "if libc.ptrace(16, w['other'], 0, 0) < 0: raise OSError(ctypes.get_errno(), 'refused')",
}
HARMLESS = {*FILES, *NETWORK} - {"write to it", "write to the state folder"}


@dataclass(frozen=True)
class World:
    """A fleet with a hostile scenario and another one beside it."""

    fleet: local_fleets.LocalFleet
    shelf: Path
    other_episode: str

    def attempt(self, code: str) -> dict[str, str]:
        """What an attempt came to, in an episode of its own."""
        episode = self.fleet.open("hostile")
        facts = json.dumps(self.facts())
        answer: dict[str, str] = self.fleet.call(episode["mcp_url"], "attempt", code=code, facts=facts).data()
        return answer

    def facts(self) -> dict[str, str | int]:
        [home] = self.fleet.state.glob("environments/plain.*")
        [database] = home.glob(f"*/episodes/{self.other_episode}/*.db")
        return {
            "bundle": str(self.shelf / "plain"),
            "own_bundle": str(self.shelf / "hostile"),
            "database": str(database),
            "in_flight": str(database.parents[2] / "inflight"),
            "log": str(home / "instance.log"),
            "own_log": str(home.parent / "hostile.g1" / "instance.log"),
            "state": str(self.fleet.state),
            "socket": str(self.fleet.state / states.SOCKET),
            "control": self.control_port,
            "router": int(self.fleet.url.rpartition(":")[2]),
            "supervisor": self.fleet.supervisor.pid,
            "zygote": self.fleet.processes(local_fleets.ZYGOTE)[0].pid,
            "router_pid": self.fleet.processes(local_fleets.ROUTER)[0].pid,
            "other": self.fleet.instance("plain").pid,
            "judge": next(each.pid for each in self.fleet.supervisor.children() if each.name() == "judge:plain"),
        }

    @property
    def control_port(self) -> int:
        ports = [each.laddr.port for each in self.fleet.instance("plain").net_connections() if each.status == "LISTEN"]
        return max(ports)

    def look(self) -> object:
        """What must stay as it is."""
        facts = self.facts()
        files = [Path(str(facts[each])) for each in ("database", "log")]
        return (
            [hashlib.sha256(each.read_bytes()).hexdigest() for each in files],
            [facts[each] for each in ("supervisor", "zygote", "router_pid", "other", "judge")],
            (self.fleet.state / "was-here").exists(),
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("containment")
    shelf = folder / "bundles"
    bundles.make(shelf / "hostile", hostile.ATTEMPTS)
    verifier = "def verify_task_completion(*paths):\n    return {'result': 'others'}\n"
    task = model.Task(id="any", instruction="Do it.")
    bundles.make(shelf / "plain", PLAIN, tasks=[task], verifiers={("any", "code"): verifier})
    with local_fleets.running([shelf], folder / "state") as fleet:
        episode = fleet.open("plain", task="any")
        fleet.call(episode["mcp_url"], "greet")
        assert fleet.http.post(f"/v1/episodes/{episode['id']}/verify", json={}).json()["outcome"] == "failed"
        yield World(fleet, shelf, episode["id"])


@pytest.mark.parametrize("name", [*FILES, *NETWORK, *PROCESSES])
def test_an_attempt_is_refused_and_its_target_untouched(world: World, name: str) -> None:
    before = world.look()
    answer = world.attempt({**FILES, **NETWORK, **PROCESSES}[name])
    assert set(answer) == {"refused", "why"}, answer
    assert answer["refused"] in {"PermissionError", "OperationalError", "DatabaseError"}, answer
    assert world.look() == before


def test_the_attempts_are_worth_refusing(world: World) -> None:
    """They do what they say where nothing confines them; those that would spoil the fleet are left out."""
    facts = json.dumps(world.facts())
    tried = {name: code for name, code in {**FILES, **NETWORK}.items() if name in HARMLESS}
    script = f"{hostile.ATTEMPTS}\nfor code in {list(tried.values())!r}: print(json.dumps(attempt(code, {facts!r})))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"DATABASE_PATH": "sqlite://"},
        capture_output=True,
        text=True,
        check=True,
    )
    answers = dict(zip(tried, map(json.loads, done.stdout.splitlines()), strict=True))
    assert not {name: answer for name, answer in answers.items() if "found" not in answer}


def test_a_fork_inherits_its_own_descriptors_and_nobody_elses(world: World) -> None:
    assert world.attempt("found = 'awake'")["found"]
    fleet = world.fleet
    own = _channels(fleet.instance("hostile"))
    for each in fleet.supervisor.children():
        if each != fleet.instance("hostile"):
            assert not own & _channels(each), each
    # Of the supervisor: the sockets of its two planes, what it logs to, the report of its start, its judge's.
    assert len(own & _channels(fleet.supervisor)) <= 4
    listening = [each for each in fleet.instance("hostile").net_connections() if each.status == "LISTEN"]
    assert len(listening) == 2


def _channels(process: psutil.Process) -> set[str]:
    """The sockets and pipes that a process has open, as the kernel numbers them."""
    links = {str(each.readlink()) for each in Path(f"/proc/{process.pid}/fd").iterdir()}
    return {each for each in links if each.startswith(("socket:", "pipe:"))}


def test_no_secret_of_the_fleet_is_visible(world: World) -> None:
    visible = world.attempt("found = [dict(os.environ), sys.argv, sys.orig_argv]")["found"]
    assert "PYTHONHASHSEED" in visible
    for secret in (str(world.shelf), "AWM_TEST_RUN", "TOKEN"):
        assert secret not in visible


def test_the_supervisors_socket_is_for_its_user_only(world: World) -> None:
    assert (world.fleet.state / states.SOCKET).stat().st_mode & 0o777 == 0o600
    assert world.fleet.state.stat().st_mode & 0o777 == 0o700
