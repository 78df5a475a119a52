"""`awm up`: scenarios asleep until used behind one port, episodes that outlive it, and nothing left of it."""

import contextlib
import json
import select
import shutil
import socket
from collections.abc import Iterator
from http import client
from pathlib import Path
from urllib import parse

import bundles
import instances
import local_fleets
import mcp
import psutil
import pytest

from awm_fleet import examples
from awm_fleet.backends.process import states

PLAIN = """
from fastapi import FastAPI

app = FastAPI()


@app.get("/greeting", operation_id="greet")
def greet():
    return "hello"
"""
CRASHING = "import os\nprint('about to go', flush=True)\nos._exit(7)\n"
LATE_S = 6
"""httpx, and with it MCP's SDK, gives an idle connection up after 5 s."""
LISTED = ({"name": "greet", "inputSchema": {"type": "object"}, "annotations": {}},)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of bundles: a plain one, one that crashes at every start, one that cannot be read."""
    folder = tmp_path_factory.mktemp("shelf") / "bundles"
    bundles.make(folder / "plain", PLAIN)
    bundles.make(folder / "crashing", CRASHING, tools=LISTED)
    bundles.make(folder / "unreadable", PLAIN)
    (folder / "unreadable" / "tools.json").write_text("[")
    return folder


@pytest.fixture(scope="module")
def fleet(shelf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[local_fleets.LocalFleet]:
    with local_fleets.running([shelf], tmp_path_factory.mktemp("fleet") / "state") as running:
        yield running


def test_a_sleeping_scenario_is_listed_and_wakes_with_its_first_request(fleet: local_fleets.LocalFleet) -> None:
    listed = {each["name"] for each in fleet.http.get("/v1/scenarios").json()["scenarios"]}
    assert listed == {"plain", "crashing"}
    assert fleet.scenario("plain")["state"] == "asleep"
    assert fleet.call(f"{fleet.url}/s/plain/mcp", "greet").data() == "hello"
    assert fleet.scenario("plain")["state"] == "ready"
    assert fleet.scenario("plain")["episodes"] == 0
    assert "plain is ready" in local_fleets.run("logs", "plain", "--state", str(fleet.state)).stdout


def test_an_episode_is_opened_called_and_counted(fleet: local_fleets.LocalFleet) -> None:
    episode = fleet.open("plain")
    assert fleet.call(episode["mcp_url"], "greet").data() == "hello"
    assert fleet.episode(episode["id"])["calls"] == 1
    instances.wait_for(lambda: fleet.scenario("plain")["episodes"] == 1)


def test_a_connection_that_idles_longer_than_clients_keep_one_is_still_there(fleet: local_fleets.LocalFleet) -> None:
    direct = fleet.open("plain")["direct_url"]
    with contextlib.ExitStack() as stack:
        idle = []
        for url in (fleet.url, direct):
            address = parse.urlsplit(url)
            connection = client.HTTPConnection(str(address.hostname), address.port, timeout=LATE_S)
            stack.callback(connection.close)
            connection.request("GET", address.path or "/livez")
            connection.getresponse().read()
            idle.append(connection.sock)
        closed, _, _ = select.select(idle, [], [], LATE_S)
    assert closed == []


def test_what_crashes_at_every_start_says_why_and_the_others_serve(fleet: local_fleets.LocalFleet) -> None:
    answer = fleet.http.post("/v1/episodes", json={"episodes": [{"scenario": "crashing"}]})
    [rejected] = answer.json()["rejected"]
    assert rejected["error"]["code"] == "start_failed"
    assert rejected["error"]["class"] == "environment"
    assert "ended before it was ready (exit status 7)" in rejected["error"]["detail"]
    assert "about to go" in rejected["error"]["diagnostics"]["log"]
    row = fleet.scenario("crashing")
    assert (row["state"], row["episodes"]) == ("failed", 0)
    assert fleet.call(f"{fleet.url}/s/plain/mcp", "greet").data() == "hello"


def test_a_bundle_that_cannot_be_read_is_named(fleet: local_fleets.LocalFleet) -> None:
    [problem] = fleet.status()["problems"]
    assert "unreadable/tools.json: broken JSON" in problem["reason"]
    done = local_fleets.run("status", "--state", str(fleet.state))
    assert done.returncode == 3
    assert "not served: " in done.stderr
    assert "plain" in done.stdout
    assert "not served: " in fleet.said()


async def _sdk_2(url: str) -> list[str]:
    async with mcp.Client(url) as tools:
        return [each.name for each in (await tools.list_tools()).tools]


@pytest.mark.anyio
async def test_the_official_client_works_through_both_urls(fleet: local_fleets.LocalFleet) -> None:
    for url in (f"{fleet.url}/s/plain/mcp", fleet.open("plain")["mcp_url"]):
        assert await _sdk_2(url) == ["greet"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_a_second_fleet_on_the_state_folder_or_the_port_is_refused(
    fleet: local_fleets.LocalFleet, shelf: Path, tmp_path: Path
) -> None:
    plain = ["--bundles", str(shelf / "plain")]
    same_state = local_fleets.run("up", *plain, "--port", "0", "--state", str(fleet.state))
    assert same_state.returncode == 1
    assert f"a fleet runs on {fleet.state} already" in same_state.stderr
    port = fleet.url.rpartition(":")[2]
    same_port = local_fleets.run("up", *plain, "--port", port, "--state", str(tmp_path / "state"))
    assert same_port.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in same_port.stderr
    assert fleet.call(f"{fleet.url}/s/plain/mcp", "greet").data() == "hello"


def test_earlier_episodes_are_found_again_asleep_with_the_same_state(tmp_path: Path) -> None:
    library, state = [examples.path("library")], tmp_path / "state"
    with local_fleets.running(library, state) as first:
        episode = first.open("library", task="rain-hold", seed=3)
        assert not first.call(episode["mcp_url"], "create_reading_list", name="Kept").is_error
        before = first.episode(episode["id"])
    with local_fleets.running(library, state) as second:
        row = second.scenario("library")
        assert (row["state"], row["episodes"]) == ("asleep", 1)
        after = second.episode(episode["id"])
        assert after["state_hash"] == before["state_hash"] != episode["state_hash"]
        assert not second.call(f"{second.url}/e/{episode['id']}/mcp", "create_reading_list", name="Again").is_error


def test_nobody_uses_it_so_it_sleeps_unless_an_episode_is_open(shelf: Path, tmp_path: Path) -> None:
    bundles.make(tmp_path / "bundles" / "other", PLAIN)
    with local_fleets.running([shelf / "plain", tmp_path / "bundles"], tmp_path / "state", "--idle", "1") as fleet:
        assert fleet.call(f"{fleet.url}/s/plain/mcp", "greet").data() == "hello"
        process = fleet.instance("plain")
        instances.wait_for(lambda: fleet.scenario("plain")["state"] == "asleep")
        assert not process.is_running()
        episode = fleet.open("plain")
        assert fleet.call(f"{fleet.url}/s/other/mcp", "greet").data() == "hello"  # later, and yet it sleeps first
        instances.wait_for(lambda: fleet.scenario("other")["state"] == "asleep")
        assert fleet.scenario("plain")["state"] == "ready"
        assert fleet.http.delete(f"/v1/episodes/{episode['id']}").status_code == 204
        instances.wait_for(lambda: fleet.scenario("plain")["state"] == "asleep")
        assert fleet.call(f"{fleet.url}/s/plain/mcp", "greet").data() == "hello"


def test_a_bundle_that_breaks_while_others_serve_is_an_error_of_its_own(shelf: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundles"
    shutil.copytree(shelf / "plain", folder / "plain")
    bundles.make(folder / "other", PLAIN)
    with local_fleets.running([folder], tmp_path / "state") as fleet:
        (folder / "other" / "tasks.jsonl").write_text("{")
        answer = fleet.http.post("/v1/episodes", json={"episodes": [{"scenario": "other"}, {"scenario": "plain"}]})
        [rejected] = answer.json()["rejected"]
        assert rejected["error"]["code"] == "start_failed"
        assert "tasks.jsonl:1: broken JSON" in rejected["error"]["detail"]
        assert len(answer.json()["episodes"]) == 1
        bundles.make(folder / "other", PLAIN.replace("hello", "mended"))
        assert fleet.call(f"{fleet.url}/s/other/mcp", "greet").data() == "mended"


def test_detached_it_serves_until_awm_down(shelf: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    up = local_fleets.run("up", "--bundles", str(shelf), "--port", "0", "--state", str(state), "--detach")
    try:
        assert up.returncode == 3, up.stderr  # one bundle is left out
        seen = local_fleets.status_json(state)
        assert f"{seen['url']}/s/plain/mcp" in up.stdout
        family = [psutil.Process(seen["pid"]), *psutil.Process(seen["pid"]).children(recursive=True)]
    finally:
        down = local_fleets.run("down", "--state", str(state))
    assert (down.returncode, down.stdout) == (0, "stopped\n")
    local_fleets.gone_with_it(family)
    again = local_fleets.run("down", "--state", str(state))
    assert (again.returncode, again.stdout.startswith("nothing runs on")) == (0, True)
    status = local_fleets.run("status", "--state", str(state))
    assert status.returncode == 1
    assert "no fleet runs on" in status.stderr


def test_detached_it_says_why_it_does_not_start(tmp_path: Path, shelf: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        options = ("--bundles", str(shelf), "--port", port, "--state", str(tmp_path / "state"), "--detach")
        done = local_fleets.run("up", *options)
    assert done.returncode == 1
    assert f"the fleet did not start: cannot listen on 127.0.0.1:{port}" in done.stderr


@pytest.mark.parametrize("version", ["awm-fleet-state/0", "awm-fleet-state/2", None])
def test_the_state_of_another_version_is_refused_with_what_to_do(
    shelf: Path, tmp_path: Path, version: str | None
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / states.MARKER).write_text(f'{{"format": "{version}"}}' if version else "nonsense")
    done = local_fleets.run("up", "--bundles", str(shelf), "--port", "0", "--state", str(state))
    assert done.returncode == 1
    assert "is the state of another version of AWM Fleet" in done.stderr
    assert "--state" in done.stderr
    assert sorted(path.name for path in state.iterdir()) == [states.MARKER]


def test_a_folder_of_somebody_elses_is_no_state_folder(shelf: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all my work")
    done = local_fleets.run("up", "--bundles", str(shelf), "--port", "0", "--state", str(tmp_path))
    assert done.returncode == 1
    assert "holds other things than a fleet's state" in done.stderr


def test_without_descriptors_it_is_refused_clearly_and_the_others_serve(shelf: Path, tmp_path: Path) -> None:
    with local_fleets.running([shelf / "plain", shelf / "crashing"], tmp_path / "state") as fleet:
        assert fleet.call(f"{fleet.url}/s/plain/mcp", "greet").data() == "hello"
        few = fleet.supervisor.num_fds() + 2
        fleet.supervisor.rlimit(psutil.RLIMIT_NOFILE, (few, few))
        answer = fleet.http.post("/v1/episodes", json={"episodes": [{"scenario": "crashing"}]})
        [rejected] = answer.json()["rejected"]
        assert rejected["error"]["code"] == "at_capacity"
        assert "no file descriptors left" in rejected["error"]["detail"]
        assert fleet.call(f"{fleet.url}/s/plain/mcp", "greet").data() == "hello"


STATEFUL = """
from fastapi import FastAPI

app = FastAPI()
count = 0


@app.post("/count", operation_id="count_up")
def count_up():
    global count
    count += 1
    return count
"""


def test_an_episode_may_have_a_process_of_its_own(tmp_path: Path) -> None:
    folder = bundles.make(tmp_path / "bundles" / "counter", STATEFUL, isolation="process")
    with local_fleets.running([folder], tmp_path / "state") as fleet:
        one, other = fleet.open("counter"), fleet.open("counter")
        counted = [fleet.call(each["mcp_url"], "count_up").data() for each in (one, one, other)]
        assert counted == [1, 2, 1]
        fleet.instance("counter").kill()
        third = fleet.open("counter")
        assert fleet.call(third["mcp_url"], "count_up").data() == 1
        instances.wait_for(lambda: not _zombies(fleet.supervisor))


def _zombies(parent: psutil.Process) -> list[psutil.Process]:
    return [each for each in parent.children() if each.status() == psutil.STATUS_ZOMBIE]


def test_a_full_disk_refuses_what_sleeps_and_leaves_what_runs(shelf: Path, tmp_path: Path) -> None:
    bundles.make(tmp_path / "bundles" / "other", PLAIN)
    with local_fleets.running([shelf / "plain", tmp_path / "bundles"], tmp_path / "state") as fleet:
        episode = fleet.open("plain")
        fleet.supervisor.rlimit(psutil.RLIMIT_FSIZE, (0, psutil.RLIM_INFINITY))
        answer = fleet.http.post("/v1/episodes", json={"episodes": [{"scenario": "other"}]})
        [rejected] = answer.json()["rejected"]
        assert (rejected["error"]["code"], rejected["error"]["class"]) == ("at_capacity", "infrastructure")
        assert "write no more" in rejected["error"]["detail"]
        assert fleet.call(episode["mcp_url"], "greet").data() == "hello"
        fleet.supervisor.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
        fleet.open("other")


def test_a_fleet_logs_a_json_object_a_line_where_that_is_wanted(tmp_path: Path) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    with local_fleets.running([examples.path("library")], tmp_path / "state", "--log_format", "json") as fleet:
        headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
        wanted = {"episodes": [{"scenario": "library"}], "wait": "ready"}
        fleet.http.post("/v1/episodes", json=wanted, headers=headers)
    lines = [json.loads(line) for line in fleet.said().splitlines() if line.startswith("{")]
    assert {"awm.fleet", "awm.audit"} <= {line["logger"] for line in lines}
    [opened] = [line for line in lines if line["logger"] == "awm.audit"]
    assert (opened["action"], opened["trace_id"]) == ("POST /v1/episodes", trace)
