import dataclasses
import json
import re
from pathlib import Path

import pytest
from typer import testing

from awm_fleet.cli import bundle as commands
from awm_fleet.cli import main
from awm_runtime import errors
from awm_runtime.bundle import model, reading, writing
from awm_runtime.determinism import clock

CLOCK = clock.parse("2026-01-15T09:00:00Z")


@pytest.fixture
def run() -> object:
    def invoke(*arguments: object) -> testing.Result:
        return testing.CliRunner().invoke(commands.app, [str(argument) for argument in arguments])

    return invoke


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    finding = model.Finding(kind="odd_thing", stage="db", subject="pets", detail="It is odd.")
    made = model.Bundle(
        root=tmp_path,
        scenario=model.Scenario(
            name="pets", title="Pets [/b]", clock=CLOCK, tier="bronze", provenance=model.Provenance(source="test")
        ),
        tasks=(model.Task(id="0", instruction="Adopt Milo."),),
        schema_sql="CREATE TABLE pets (id INTEGER);\n",
        seed_sql="",
        environment="",
        spec={},
        tools=({"name": "list_pets", "annotations": {"readOnlyHint": True}},),
        verifiers={("0", "code"): "def verify_task_completion(a, b, c=None): ...\n"},
        report=model.Report(findings=(finding,)),
    )
    return writing.write(made, tmp_path / "bundles" / "pets").root


def envs(folder: Path, **rows: str) -> Path:
    folder.mkdir(exist_ok=True)
    for file, text in rows.items():
        (folder / f"{file}.jsonl").write_text(text, encoding="utf-8")
    return folder


def test_show_prints_a_report_card(run, pets: Path) -> None:
    result = run("show", pets)
    assert result.exit_code == 0
    for part in (
        "Pets [/b]",
        "bronze",
        "2026-01-15T09:00:00Z",
        "1 read-only",
        "Adopt Milo.",
        "odd thing: noted",
        "It is odd.",
    ):
        assert part in result.stdout


def test_show_prints_one_document_for_programs(run, pets: Path) -> None:
    card = json.loads(run("show", pets, "--json").stdout)
    assert (card["name"], card["tier"], card["findings"][0]["kind"]) == ("pets", "bronze", "odd_thing")
    assert card["tasks"] == [
        {"id": "0", "split": "train", "instruction": "Adopt Milo.", "verifiers": ["code"], "oracle": False}
    ]


@pytest.mark.parametrize("command", ["show", "check"])
def test_a_folder_without_a_bundle_is_an_error_that_says_so(run, tmp_path: Path, command: str) -> None:
    result = run(command, tmp_path / "nowhere")
    assert isinstance(result.exception, errors.BundleError)
    assert "a bundle is a folder with a scenario.json in it" in str(result.exception)


@pytest.mark.parametrize("given", ["bundles", "bundles/pets"])
def test_export_takes_a_bundle_or_a_folder_of_them(run, pets: Path, tmp_path: Path, given: str) -> None:
    result = run("export", tmp_path / given, "--out", tmp_path / "out", "--json")
    assert json.loads(result.stdout)["scenarios"] == ["pets"]
    assert (tmp_path / "out" / "awm_bundle.jsonl").read_text(encoding="utf-8").count("\n") == 1


def test_import_names_what_it_quarantines_and_ignores(run, tmp_path: Path) -> None:
    folder = envs(
        tmp_path / "in",
        gen_envs='{"scenario": "Pets", "full_code": ""}',
        gen_db="",
        gen_scenario='{"name": "Ghost"}',
    )
    result = run("import", folder, "--out", tmp_path / "out", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout) == {
        "scenarios": [],
        "quarantined": [{"name": "pets", "reason": "gen_db.jsonl has no row for it", "detail": ""}],
        "refused": [],
        "ignored": ["ghost"],
    }
    assert "quarantined: pets: gen_db.jsonl has no row for it" in result.stderr
    assert "ignored, without code and schema: ghost" in result.stderr


def test_import_of_an_export_prints_what_came_in(run, pets: Path, tmp_path: Path) -> None:
    run("export", pets, "--out", tmp_path / "files")
    result = run("import", tmp_path / "files", "--out", tmp_path / "out", "--scenarios", " PETS, ")
    assert result.exit_code == 0
    assert "odd thing: noted" in result.stdout
    assert (tmp_path / "out" / "pets" / "scenario.json").read_bytes() == (pets / "scenario.json").read_bytes()


@pytest.mark.parametrize("nothing", ["", ",", " , "])
def test_a_choice_of_no_scenario_is_wrong_usage(run, pets: Path, tmp_path: Path, nothing: str) -> None:
    run("export", pets, "--out", tmp_path / "files")
    result = run("import", tmp_path / "files", "--out", tmp_path / "out", "--scenarios", nothing)
    assert result.exit_code == 2
    assert "--scenarios names no scenario" in result.stderr
    assert not (tmp_path / "out").exists()


def test_the_clock_of_an_import_can_be_given(run, pets: Path, tmp_path: Path) -> None:
    run("export", pets, "--out", tmp_path / "files")
    run("import", tmp_path / "files", "--out", tmp_path / "out", "--clock", "2030-01-01T00:00:00Z")
    assert json.loads((tmp_path / "out" / "pets" / "scenario.json").read_text())["clock"] == "2030-01-01T00:00:00Z"


def test_a_clock_that_is_no_time_is_wrong_usage(run, tmp_path: Path) -> None:
    result = run("import", tmp_path, "--out", tmp_path / "out", "--clock", "tomorrow")
    assert result.exit_code == 2
    assert "2026-01-15T09:00:00Z" in result.stderr


def test_an_unknown_scenario_is_an_error_with_close_names(run, pets: Path, tmp_path: Path) -> None:
    run("export", pets, "--out", tmp_path / "files")
    result = run("import", tmp_path / "files", "--out", tmp_path / "out", "--scenarios", "pest")
    assert str(result.exception) == "no scenario 'pest'; did you mean pets?"
    assert not (tmp_path / "out").exists()


def test_import_refuses_to_replace_what_is_no_bundle_and_brings_the_others_in(run, pets: Path, tmp_path: Path) -> None:
    dogs = reading.read(pets)
    scenario = dogs.scenario.model_copy(update={"name": "dogs", "title": "Dogs"})
    writing.write(dataclasses.replace(dogs, scenario=scenario), tmp_path / "bundles" / "dogs")
    run("export", tmp_path / "bundles", "--out", tmp_path / "files")
    (tmp_path / "out" / "dogs" / "photos").mkdir(parents=True)
    result = run("import", tmp_path / "files", "--out", tmp_path / "out", "--json")
    why = f"{tmp_path}/out/dogs: exists and is not a bundle; give another folder or remove it first"
    assert result.exit_code == 3
    document = json.loads(result.stdout)
    assert document["refused"] == [{"name": "dogs", "reason": why}]
    assert [each["name"] for each in document["scenarios"]] == ["pets"]
    assert f"refused: dogs: {why}" in result.stderr
    assert [path.name for path in (tmp_path / "out" / "dogs").iterdir()] == ["photos"]


def test_a_refused_scenario_stands_in_the_table(run, pets: Path, tmp_path: Path) -> None:
    run("export", pets, "--out", tmp_path / "files")
    (tmp_path / "out" / "pets" / "photos").mkdir(parents=True)
    result = run("import", tmp_path / "files", "--out", tmp_path / "out")
    assert result.exit_code == 3
    assert re.search(r"^ *pets +refused *$", result.stdout, re.MULTILINE)


def test_an_error_is_one_line_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    envs(tmp_path / "in", gen_db="", gen_envs='{"scenario": "Pets", "full')
    monkeypatch.setattr("sys.argv", ["awm", "bundle", "import", str(tmp_path / "in"), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as stop:
        main.main()
    captured = capsys.readouterr()
    assert stop.value.code == 1
    assert captured.out == ""
    assert "gen_envs.jsonl:1: broken JSON" in captured.err
    assert captured.err.count("\n") == 1
