"""`awm env check_all`: every environment of a file is loaded, and what does not load is named."""

import json
from pathlib import Path

import pytest

from awm_fleet import examples
from awm_fleet.cli import main
from awm_generator.awm_files import exporting
from awm_runtime.bundle import reading


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """AWM files of two scenarios; the code of one of them exits while it is imported."""
    exporting.export([reading.read(examples.path("clinic"))], tmp_path)
    (tmp_path / "awm_bundle.jsonl").unlink()
    for file, row in (
        ("gen_envs.jsonl", {"scenario": "Trap Door", "full_code": "import sys; sys.exit(3)", "db_path": ""}),
        (
            "gen_db.jsonl",
            {"scenario": "trap_door", "db_schema": {"tables": [{"name": "t", "ddl": "CREATE TABLE t (a)"}]}},
        ),
    ):
        with (tmp_path / file).open("a") as appended:
            appended.write(f"{json.dumps(row)}\n")
    return tmp_path


def check_all(*arguments: object) -> object:
    """Runs it and returns its exit status."""
    with pytest.raises(SystemExit) as stop:
        main.main(["env", "check_all", *map(str, arguments)])
    return stop.value.code


def test_what_does_not_load_is_named_and_the_rest_counts(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_all("--input", files / "gen_envs.jsonl", "--json") == 3
    printed, said = capsys.readouterr()
    clinic, trap = json.loads(printed)["environments"]
    tools = len(reading.read(examples.path("clinic")).tools)
    assert clinic == {"scenario": "clinic", "ok": True, "tools": tools, "reason": None}
    assert (trap["scenario"], trap["ok"], trap["tools"]) == ("trap_door", False, 0)
    assert "exit" in trap["reason"]
    assert said == ""


def test_the_chosen_ones_are_shown_as_a_table(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_all("--input", files / "gen_envs.jsonl", "--allowed_scenarios", "Clinic") == 0
    shown = capsys.readouterr().out
    assert "clinic" in shown
    assert "FAILED" not in shown
    assert "trap_door" not in shown


def test_another_name_for_the_file_of_the_code_will_do(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    renamed = (files / "gen_envs.jsonl").rename(files / "environments.jsonl")
    assert check_all("--input", renamed, "--allowed_scenarios", "trap-door") == 3
    assert "FAILED" in capsys.readouterr().out
