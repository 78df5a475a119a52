"""How an instance starts, refuses to start, and ends: one clear line, no process and no socket left behind."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import bundles
import httpx
import instances
import psutil
import pytest

from awm_runtime.server import launching

PLAIN = """
from fastapi import FastAPI

app = FastAPI()


@app.get("/greeting", operation_id="greet")
def greet():
    return "hello"
"""

WAITING = (
    """
import os
import time

while os.path.exists("hold"):
    time.sleep(0.01)
"""
    + PLAIN
)


JUNK = """
import os
import stat

for descriptor in range(3, 64):
    try:
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            os.write(descriptor, b"{junk}")
    except OSError:
        pass
while True:
    pass
"""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundles.make(tmp_path_factory.mktemp("start") / "plain", PLAIN)


@pytest.fixture
def bundle(plain: Path, tmp_path: Path) -> Path:
    """A bundle of the test's own, to be broken."""
    return Path(shutil.copytree(plain, tmp_path / "plain"))


def _start(bundle: Path, *options: str, **settings: str) -> "subprocess.Popen[str]":
    """Starts a keeper as containers do."""
    command = [sys.executable, "-m", "awm_runtime.server", str(bundle), "--state", str(bundle.parent / "state")]
    return subprocess.Popen(
        [*command, "--port=0", "--control-port=0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "AWM_LOAD_DEADLINE_S": "2", "AWM_SHUTDOWN_S": "0.5", **settings},
    )


def _refusal(bundle: Path, *options: str, **settings: str) -> str:
    """Why a bundle is not served: what follows `error: ` in the one line that says so."""
    process = _start(bundle, *options, **settings)
    try:
        said, log = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (process.returncode, said) == (1, "")
    [line] = [line for line in log.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in log.partition("error: ")[0]
    return line.removeprefix("error: ")


# Refusing to start


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("raise RuntimeError('no table')", "RuntimeError: no table (line 1)"),
        ("import no_such_module", "No module named 'no_such_module' (line 1)"),
        ("def broken(:", "not Python"),
        ("app = 1", "defines no FastAPI app"),
        ("import sys; sys.exit(0)", "exits the process"),
        ("while True:\n    pass", "did not load within 2 s"),
        ("import os; os._exit(7)", "ended before it was ready (exit status 7)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "before it was ready (signal SIGKILL)"),
        ("import socket; socket.create_connection(('127.0.0.1', 1))", "PermissionError"),
        ("import socket; socket.create_server(('127.0.0.1', 0))", "PermissionError"),
        (JUNK.format(junk="junk\\n"), "wrote into the pipe that its instance reports on"),
        (JUNK.format(junk="[]\\n"), "wrote into the pipe that its instance reports on"),
        (PLAIN + "\n@app.get('/more')\ndef more():\n    return 1\n", "other tools than the bundle's tools.json"),
    ],
)
def test_code_that_cannot_be_loaded_is_refused_with_one_line(bundle: Path, source: str, says: str) -> None:
    (bundle / "environment.py").write_text(source)
    assert says in _refusal(bundle)


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("scenario.json", "{", "scenario.json: broken JSON"),
        ("schema.sql", "CREATE TABLE items (id", "statements of the bundle's SQL fail"),
        ("seed.sql", "INSERT INTO nowhere VALUES (1);", "no such table: nowhere"),
    ],
)
def test_a_bundle_that_cannot_be_used_is_refused_with_one_line(bundle: Path, file: str, text: str, says: str) -> None:
    (bundle / file).write_text(text)
    assert says in _refusal(bundle)


@pytest.mark.parametrize("token", ["", " \n"])
def test_an_empty_token_is_none(bundle: Path, token: str) -> None:
    says = "0.0.0.0 is reachable from other machines: give the control plane a token (AWM_CONTROL_TOKEN) or"
    assert _refusal(bundle, "--host=0.0.0.0", AWM_CONTROL_TOKEN=token).startswith(says)


def test_a_token_may_end_in_a_newline_as_files_do(plain: Path, tmp_path: Path) -> None:
    variables = {"AWM_CONTROL_TOKEN": "the token\n"}
    with launching.launched(plain, tmp_path / "state", settings=variables) as launched:
        url = f"{launched.address.control_url}/v1/episodes"
        given = [httpx.get(url, headers={"Authorization": f"Bearer {token}"}) for token in ("the token", "another")]
    assert [response.status_code for response in given] == [200, 401]


def test_a_port_in_use_is_refused_with_one_line(bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in _refusal(bundle, f"--port={port}")


def test_a_disk_without_room_for_the_database_is_named(bundle: Path) -> None:
    seed = "".join(f"INSERT INTO items VALUES ({n}, '{'x' * 1000}');\n" for n in range(2, 200))
    (bundle / "seed.sql").write_text(seed)
    limited = ["prlimit", "--fsize=65536", sys.executable, "-m", "awm_runtime.server", str(bundle)]
    done = subprocess.run(
        [*limited, "--state", str(bundle.parent / "state"), "--port=0", "--control-port=0"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "no room" in line


# Starting


def test_the_tool_list_is_there_before_the_code_is_loaded_and_readiness_says_so(plain: Path, tmp_path: Path) -> None:
    bundle = bundles.make(tmp_path / "waiting", WAITING)
    state = tmp_path / "state"
    with instances.running(bundle, state):
        pass
    [folder] = [path for path in state.iterdir() if path.is_dir()]
    (folder / "hold").touch()
    port, control_port = _free_ports()
    process = _start(bundle, f"--port={port}", f"--control-port={control_port}", AWM_LOAD_DEADLINE_S="60")
    http = httpx.Client(base_url=f"http://127.0.0.1:{control_port}")
    try:
        assert instances.wait_for(lambda: http.get("/livez").status_code == 200)
        assert http.get("/readyz").status_code == 503
        assert http.get("/readyz").json() == {"status": "starting"}
        listing = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        listed = http.post(f"http://127.0.0.1:{port}/mcp", json=listing).json()
        assert [tool["name"] for tool in listed["result"]["tools"]] == ["greet"]
        (folder / "hold").unlink()
        assert instances.wait_for(lambda: http.get("/readyz").status_code == 200)
    finally:
        http.close()
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 0


def _free_ports() -> list[int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return [one.getsockname()[1], other.getsockname()[1]]


# Ending


@pytest.fixture
def served(bundle: Path) -> Iterator["subprocess.Popen[str]"]:
    process = _start(bundle)
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_when_the_keeper_ends(served: "subprocess.Popen[str]", how: signal.Signals) -> None:
    assert served.stdout is not None
    addresses = json.loads(served.stdout.readline())
    family = psutil.Process(served.pid).children(recursive=True)
    assert len(family) >= 2
    served.send_signal(how)
    served.communicate(timeout=20)
    assert served.returncode == (-signal.SIGKILL if how is signal.SIGKILL else 0)
    gone, alive = psutil.wait_procs(family, timeout=20)
    assert (len(gone), alive) == (len(family), [])
    for url in addresses.values():
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/livez")


def test_a_keeper_that_is_told_to_stop_while_code_hangs_at_import_ends_at_once(bundle: Path) -> None:
    (bundle / "environment.py").write_text("while True:\n    pass\n")
    process = _start(bundle, AWM_LOAD_DEADLINE_S="600", AWM_SHUTDOWN_S="600")
    keeper = psutil.Process(process.pid)
    try:
        family = instances.wait_for(lambda: _started(keeper))
        process.terminate()
        _, log = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0, log
    assert psutil.wait_procs(family, timeout=20)[1] == []


def _started(keeper: psutil.Process) -> list[psutil.Process]:
    children = keeper.children(recursive=True)
    return children if len(children) >= 2 else []


# A full disk


@pytest.fixture
def full(bundle: Path) -> Iterator[tuple[instances.Running, Callable[[bool], None]]]:
    """An instance, and how to take its room to write away and give it back."""
    with instances.running(bundle, bundle.parent / "state") as running:
        instance = running.process("awm_runtime.server.instance")

        def fill(is_full: bool) -> None:
            instance.rlimit(psutil.RLIMIT_FSIZE, (0 if is_full else psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))

        yield running, fill


def test_a_full_disk_is_an_infrastructure_failure_and_the_instance_outlives_it(
    full: tuple[instances.Running, Callable[[bool], None]],
) -> None:
    running, fill = full
    episode, expiring = running.open(), running.open()
    running.call(episode, "greet")
    instance = running.process("awm_runtime.server.instance").pid
    fill(True)
    codes = [
        _code(running.http.post("/v1/episodes", json={"episodes": [{}]})),
        _code(running.http.post(f"/v1/episodes/{episode.id}/reset")),
        _code(running.http.get(f"/v1/episodes/{episode.id}/snapshot")),
        _code(running.http.get(f"/v1/episodes/{episode.id}/diff")),
    ]
    assert codes == ["at_capacity"] * 4
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "greet", "arguments": {}}}
    assert running.http.post(episode.mcp_url, json=call).json()["error"]["data"]["class"] == "infrastructure"
    assert running.http.delete(f"/v1/episodes/{expiring.id}").status_code == 204
    assert running.control.get(episode.id).interrupted == 2
    fill(False)
    assert running.control.get(expiring.id).state == "closed"
    assert running.control.reset(episode.id).interrupted is None
    assert running.call(episode, "greet").data() == "hello"
    assert running.process("awm_runtime.server.instance").pid == instance


def _code(response: httpx.Response) -> str:
    document = response.json()
    return str((document["rejected"][0]["error"] if "rejected" in document else document)["code"])
