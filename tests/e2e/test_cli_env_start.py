"""`awm env start` as a person runs it: what it says, what it serves, how it stops."""

import contextlib
import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import instances
import psutil
import pytest

from awm_fleet import examples
from awm_registry import client
from awm_runtime.determinism import clock

AWM = Path(sys.executable).with_name("awm")


@dataclass
class Started:
    process: "subprocess.Popen[str]"
    said: str
    log: Path

    @property
    def mcp_url(self) -> str:
        return self._found(r"MCP +(http\S+/mcp)\n")

    @property
    def control_url(self) -> str:
        return self._found(r"control +(http\S+)/v1/episodes\n")

    def _found(self, pattern: str) -> str:
        found = re.search(pattern, self.said)
        assert found, self.said
        return found[1]


@contextlib.contextmanager
def started(folder: Path, *arguments: object) -> Iterator[Started]:
    """`awm env start` in a folder, from when it is ready until Ctrl-C."""
    log = folder / "log"
    command = [AWM, "env", "start", *map(str, arguments)]
    with (
        log.open("w") as errors,
        subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdout is not None
        said = ""
        while "Ctrl-C" not in said:
            line = process.stdout.readline()
            assert line, log.read_text()
            said += line
        try:
            yield Started(process, said, log)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def refused(folder: Path, *arguments: object) -> str:
    """The one line that it fails with."""
    command = [AWM, "env", "start", *map(str, arguments)]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (1, ""), ended.stderr
    return ended.stderr


def files(folder: Path) -> list[object]:
    return [
        *("--envs_load_path", folder / "gen_envs.jsonl"),
        *("--db_schema_path", folder / "gen_db.jsonl"),
        *("--sample_path", folder / "gen_sample.jsonl"),
    ]


@pytest.fixture
def own_files(tmp_path: Path) -> Path:
    """AWM files of one scenario, an example's."""
    folder = tmp_path / "files"
    export = [AWM, "bundle", "export", examples.path("clinic"), "--out", folder]
    subprocess.run(export, check=True, capture_output=True)
    return folder


def test_an_example_is_announced_served_logged_and_stopped_by_ctrl_c(tmp_path: Path) -> None:
    with started(tmp_path, "library", "--port", 0) as awm:
        assert "Larch Street Library: 24 tools, 10 tasks" in awm.said
        assert f"{AWM} demo library" in awm.said
        with client.ControlClient(awm.control_url) as control:
            first, *_ = control.open(task="rain-hold", count=2)
            with client.ToolClient(first.mcp_url) as tools:
                tools.call("get_me", {})
                tools.call("place_hold", {"title_id": 999})
            control.close(first.id)
        family = psutil.Process(awm.process.pid).children(recursive=True)
    assert awm.process.returncode == 0
    assert not [process for process in family if process.is_running()]
    patterns = [
        r"library is ready: 24 tools",
        rf"opened 2 episodes, the first is {first.id} rain-hold",
        rf"call get_me ok \d+ ms {first.id}",
        rf"call place_hold refused \d+ ms {first.id}",
        rf"closed {first.id}",
    ]
    assert re.fullmatch("".join(rf"\d\d:\d\d:\d\d {pattern}\n" for pattern in patterns), awm.log.read_text())


def test_a_scenario_of_real_awm_files_is_served(tmp_path: Path, sample: Path) -> None:
    with (
        started(tmp_path, "--scenario", "Rover", *files(sample.resolve()), "--port", 0) as awm,
        client.ToolClient(awm.mcp_url) as tools,
    ):
        listed = tools.tools()
        assert len(listed) > 10
        assert "Rover" in awm.said
        assert f"{AWM} env check --url {awm.mcp_url}" in awm.said
        answers = [
            tools.call(tool["name"], {})
            for tool in listed
            if tool["annotations"]["readOnlyHint"] and not tool["inputSchema"].get("required")
        ]
    assert answers
    assert not [answer for answer in answers if answer.is_error]


def test_awm_files_are_served_with_what_stands_beside_them_as_an_import_has_it(tmp_path: Path, own_files: Path) -> None:
    (own_files / "awm_bundle.jsonl").unlink()
    into = ["--out", tmp_path / "imported", "--json"]
    done = subprocess.run([AWM, "bundle", "import", own_files, *into], check=True, capture_output=True)
    [imported] = json.loads(done.stdout)["scenarios"]
    with (
        started(tmp_path, "--scenario", "clinic", *files(own_files), "--port", 0) as awm,
        client.ControlClient(awm.control_url) as control,
    ):
        [episode] = control.open(task="0")
        verdict = control.verify(episode.id)
    assert episode.clock == clock.parse(imported["clock"])
    assert (episode.instruction, verdict.outcome) == (imported["tasks"][0]["instruction"], "failed")


def test_a_database_takes_the_place_of_the_samples(tmp_path: Path, own_files: Path) -> None:
    sources = ["--input_db", own_files / "gen_db.jsonl", "--input_sample", own_files / "gen_sample.jsonl"]
    subprocess.run([AWM, "env", "reset_db", *sources, "--database_dir", tmp_path], check=True, capture_output=True)
    with contextlib.closing(sqlite3.connect(tmp_path / "clinic.db")) as connection, connection:
        connection.execute("UPDATE patients SET name = 'Somebody Else'")
    arguments = ("--scenario", "clinic", *files(own_files), "--db_path", tmp_path / "clinic.db", "--port", 0)
    with started(tmp_path, *arguments) as awm, client.ControlClient(awm.control_url) as control:
        [episode] = control.open()
        (tmp_path / "served.db").write_bytes(control.snapshot(episode.id))
    with contextlib.closing(sqlite3.connect(tmp_path / "served.db")) as connection:
        assert connection.execute("SELECT DISTINCT name FROM patients").fetchall() == [("Somebody Else",)]


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(tmp_path, "library", "--port", port, "--control_port", 0)
    assert said == f"error: cannot listen on 127.0.0.1:{port}: Address already in use; choose another\n"


def test_another_machine_gets_in_with_a_token_only(tmp_path: Path) -> None:
    assert "AWM_CONTROL_TOKEN" in refused(tmp_path, "library", "--host", "0.0.0.0", "--port", 0)


def test_a_host_name_is_answered_once_it_is_allowed(tmp_path: Path) -> None:
    def status(awm: Started, host: str) -> int:
        return httpx.get(f"{awm.control_url}/v1/episodes/none", headers={"Host": host}).status_code

    with started(tmp_path, "library", "--port", 0) as awm:
        alone = status(awm, "games.example")
    with started(tmp_path, "library", "--port", 0, "--allow_host", "games.example", "--allow-host", "b.example") as awm:
        named = [status(awm, host) for host in ("games.example", "b.example", "c.example")]
    assert (alone, named) == (403, [404, 404, 403])


def test_an_unknown_scenario_is_answered_with_close_names(tmp_path: Path, own_files: Path) -> None:
    said = refused(tmp_path, "--scenario", "clinics", *files(own_files))
    assert said == "error: no scenario 'clinics'; did you mean clinic?\n"


def test_code_that_raises_is_quarantined_with_its_own_last_words(tmp_path: Path, own_files: Path) -> None:
    broken = {"scenario": "clinic", "full_code": "raise RuntimeError('out of paint')", "db_path": ""}
    (own_files / "gen_envs.jsonl").write_text(f"{json.dumps(broken)}\n")
    said = refused(tmp_path, "--scenario", "clinic", *files(own_files))
    assert said.startswith("error: clinic cannot be served: its code does not import: ")
    assert "out of paint" in said
    assert "awm_fleet" not in said


def test_a_broken_line_is_named_by_the_path_that_was_given(tmp_path: Path, own_files: Path) -> None:
    with (own_files / "gen_db.jsonl").open("a") as file:
        file.write('{"scenario": "clinic", "db_')
    said = refused(tmp_path, "--scenario", "clinic", *files(own_files))
    assert said.startswith(f"error: {own_files}/gen_db.jsonl:2: broken JSON")


def test_check_asks_a_running_environment(tmp_path: Path) -> None:
    def check(url: str, *flags: str) -> "subprocess.CompletedProcess[str]":
        command = [AWM, "env", "check", "--url", url, *flags]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    with instances.running(examples.path("clinic"), tmp_path / "state") as instance:
        url = instance.address.mcp_url
        shown = check(url)
        document = json.loads(check(url, "--json").stdout)
        elsewhere = check(instance.address.control_url)
        nowhere = check(f"{instance.address.agent_url}/e/ep_unknown/mcp")
    gone = check(url)
    assert shown.returncode == 0
    assert f"clinic at {url}: {len(document['tools'])} tools" in shown.stdout
    assert all(tool in shown.stdout for tool in document["tools"])
    assert (elsewhere.returncode, elsewhere.stdout) == (1, "")
    assert nowhere.stderr == f"error: {nowhere.args[4]} serves no tools: there is no such episode on this instance\n"
    assert gone.stderr == f"error: {url} cannot be reached: [Errno 111] Connection refused\n"
