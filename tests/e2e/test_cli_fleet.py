"""`awm tools`, `awm call` and `awm episode` before a router with real instances behind it."""

import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import commands
import fleets
import instances
import pytest

from awm_fleet import examples
from awm_fleet.cli import main
from awm_registry.tokens import authorities, issuing, keys

DOCS = Path(__file__).resolve().parents[2] / "docs"
FILM = "Fourteen Days of Rain"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fleets.Served]:
    folders = {name: examples.path(name) for name in examples.names()}
    catalogues = fleets.catalogue(list(folders.values()), tmp_path_factory.mktemp("catalogue"))
    with (
        fleets.instances(folders, tmp_path_factory.mktemp("state"), AWM_EPISODES="8") as running,
        fleets.router(running.directory, catalogues) as served,
    ):
        yield served


@pytest.fixture
def awm(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, fleet: fleets.Served) -> commands.Awm:
    monkeypatch.setenv("AWM_URL", fleet.url)
    return commands.Awm(capsys)


@pytest.fixture
def episode(awm: commands.Awm) -> Iterator[dict[str, Any]]:
    [opened] = awm.done("episode", "open", "Library", "--task", "rain-hold", "--seed", 3, "--json").document()[
        "episodes"
    ]
    yield opened
    awm.done("episode", "close", opened["id"])


def test_a_scenarios_tools_are_listed_without_waking_it(awm: commands.Awm, fleet: fleets.Served) -> None:
    told = awm.done("tools", "clinic", "--json").document()
    assert told["state"] == "asleep"
    assert {tool["name"] for tool in told["tools"]} == {
        tool["name"] for tool in json.loads((examples.path("clinic") / "tools.json").read_text())
    }
    shown = awm.done("tools", "Library").out
    assert f"tools at {fleet.url}/s/library/mcp" in shown
    assert "get_title title_id" in " ".join(shown.split())
    assert "add_to_reading_list list_id, title_id, [note]" in " ".join(shown.split())


def test_a_task_is_done_by_hand_and_judged(awm: commands.Awm, episode: dict[str, Any]) -> None:
    id = episode["id"]
    found = awm.done("call", "library", "search_titles", f"q={FILM}", "--episode", id, "--json").document()
    title = found["result"]["items"][0]["id"]
    said = awm.done("call", "library", "place_hold", f"title_id={title}", "--episode", id)
    assert json.loads(said.out)
    assert "holds added" in " ".join(awm.done("episode", "diff", id).out.split())
    assert list(awm.done("episode", "diff", id, "--json").document()) == ["holds"]
    trace = awm.done("episode", "trace", id, "--json").document()["calls"]
    assert [call["tool"] for call in trace] == ["search_titles", "place_hold"]
    assert "2 calls" in awm.done("episode", "trace", id).out
    assert "verdict: completed, reward 1" in awm.done("episode", "verify", id).out
    assert awm.done("episode", "verify", id, "--json").document()["outcome"] == "completed"


def test_an_episode_is_shown_reset_saved_and_closed(awm: commands.Awm, episode: dict[str, Any], tmp_path: Path) -> None:
    id = episode["id"]
    assert episode["instruction"] in awm.done("episode", "get", id).out
    awm.done("call", "library", "create_reading_list", "name=Rain", "--episode", id)
    assert awm.done("episode", "get", id, "--json").document()["calls"] == 1
    out = tmp_path / "now.db"
    awm.done("episode", "snapshot", id, "--out", out)
    with sqlite3.connect(out) as database:
        assert database.execute("select count(*) from reading_lists where name = 'Rain'").fetchone() == (1,)
    database.close()
    assert awm.done("episode", "reset", id, "--json").document()["state_hash"] == episode["state_hash"]
    assert "No row changed" in awm.done("episode", "diff", id).out
    listed = awm.done("episode", "list", "--state", "open", "--scenario", "library", "--json").document()["episodes"]
    assert id in {each["id"] for each in listed}
    assert "closed 1 of 1" in awm.done("episode", "close", id).out
    assert awm.done("episode", "get", id, "--json").document()["state"] == "closed"


def test_a_call_without_an_episode_goes_to_the_default_one(awm: commands.Awm) -> None:
    awm.done("call", "library", "create_reading_list", "name=Kept")
    assert "Kept" in awm.done("call", "library", "list_my_reading_lists").out


def test_a_tools_error_is_an_error_of_the_command(awm: commands.Awm, episode: dict[str, Any]) -> None:
    ended = awm("call", "library", "get_title", "title_id=999999", "--episode", episode["id"])
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("error: ")
    told = awm("call", "library", "get_title", "title_id=999999", "--episode", episode["id"], "--json")
    assert (told.status, told.document()["is_error"]) == (1, True)


def test_a_batch_that_does_not_fit_is_opened_in_part_or_not_at_all(awm: commands.Awm) -> None:
    first = awm("episode", "open", "clinic", "--count", 20, "--json")
    assert first.status in (1, 3)
    assert "error: " in first.err
    awm.done("episode", "open", "library")
    opened = [each["id"] for each in first.document()["episodes"]]
    if opened:
        awm.done("episode", "close", *opened)


@pytest.mark.parametrize(
    ("line", "status", "says"),
    [
        ("tools libary", 1, "there is no scenario 'libary'; did you mean library?"),
        ("call libary get_me", 1, "library"),
        ("call library get_mee", 1, "there is no tool 'get_mee'; did you mean get_me or get_title?"),
        (
            "call library get_title title_id=one",
            2,
            "title_id: 'one' does not fit: a whole number (from 1 to 2147483647)",
        ),
        ("call library get_title titel_id=1", 2, "get_title has no argument titel_id; did you mean title_id?"),
        ("call library get_title", 2, "get_title needs title_id: a whole number"),
        ("call clinic get_me --episode {id}", 1, "is of library, not of clinic"),
        ("call library get_me --episode ep_nobodys", 1, "there is no such episode"),
        ("episode open libary", 1, "there is no scenario 'libary'; did you mean library?"),
        ("episode open library --task nothing", 1, "nothing"),
        ("episode get ep_nobodys", 1, "there is no such episode"),
        ("episode close {id} ep_nobodys", 3, "ep_nobodys"),
        ("episode verify {id} --task nothing", 1, "nothing"),
        ("episode snapshot {id} --out no/such/folder/x.db", 1, "No such file or directory"),
        (
            "episode list --url http://127.0.0.1:1",
            1,
            "nothing answers at http://127.0.0.1:1: start a fleet with `awm up`",
        ),
        ("tools library --url nonsense", 1, "'nonsense' is no URL"),
    ],
)
def test_bad_input_is_one_line(awm: commands.Awm, episode: dict[str, Any], line: str, status: int, says: str) -> None:
    ended = awm(*line.format(id=episode["id"]).split())
    assert ended.status == status, ended.err
    assert says in ended.err
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1


def test_names_are_completed_from_the_fleet_and_without_one_from_the_examples(
    fleet: fleets.Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for url in (fleet.url, "http://127.0.0.1:1"):
        monkeypatch.setenv("AWM_URL", url)
        monkeypatch.setenv("_AWM_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", "awm tools cl")
        monkeypatch.setenv("COMP_CWORD", "2")
        with pytest.raises(SystemExit):
            main.main(["tools", "cl"])
        assert capsys.readouterr().out.split() == ["clinic"]


def test_a_fleet_with_tokens_is_opened_by_one(
    awm: commands.Awm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "keys"
    awm.done("token", "rotate", "--keys", folder)
    catalogues = fleets.catalogue([examples.path("library")], tmp_path / "catalogue")
    issuer = issuing.Issuer(keys.Signer(folder))
    with (
        fleets.instances({"library": examples.path("library")}, tmp_path / "state") as running,
        fleets.router(running.directory, catalogues, tokens=authorities.TokenAuthority(folder)) as served,
    ):
        monkeypatch.setenv("AWM_URL", served.url)
        refused = awm("episode", "list")
        assert (refused.status, "asks for a token" in refused.err) == (1, True)
        monkeypatch.setenv("AWM_TOKEN", issuer.token("control", ttl_s=60))
        [opened] = awm.done("episode", "open", "library", "--task", "next-due", "--json").document()["episodes"]
        monkeypatch.setenv("AWM_TOKEN", opened["token"])
        for line in ("episode list", f"episode verify {opened['id']}", f"episode snapshot {opened['id']} --out x.db"):
            ended = awm(*line.split())
            assert ended.status == 1
            assert "this needs a token of scope control; yours is of scope agent" in ended.err


def test_one_instance_is_a_fleet_of_one(awm: commands.Awm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with instances.running(examples.path("library"), tmp_path / "state") as running:
        monkeypatch.setenv("AWM_URL", running.address.control_url)
        [opened] = awm.done("episode", "open", "library", "--task", "next-due", "--json").document()["episodes"]
        assert "Bread" in awm.done("call", "library", "list_my_loans", "--episode", opened["id"]).out
        assert awm.done("episode", "verify", opened["id"], "--answer", "x", "--json").document()["outcome"] == "failed"
        for line in ("tools library", "call library get_me"):
            assert "is no router: one instance lists no scenarios" in awm(*line.split()).err


def test_the_trainers_page_runs(fleet: fleets.Served, capsys: pytest.CaptureFixture[str]) -> None:
    step, single = re.findall(r"```python\n(.*?)```", (DOCS / "client.md").read_text(encoding="utf-8"), re.DOTALL)
    small = step.replace("TASKS, ROLLOUTS = 64, 16", "TASKS, ROLLOUTS = 3, 2")
    assert small != step
    exec(compile(small.replace("http://127.0.0.1:8080", fleet.url), "client.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" ")[2] for line in lines] == ["[0.0, 0.0]"] * 3
    exec(compile(single.replace("http://127.0.0.1:8080", fleet.url), "client.md", "exec"), {})
    assert capsys.readouterr().out.endswith("completed\n")
