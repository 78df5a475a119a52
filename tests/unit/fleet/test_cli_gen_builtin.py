"""`awm gen` with the built-in provider: what it prints, its exit codes, and its complaints."""

import json
from pathlib import Path

import pytest
from typer import testing

from awm_fleet.cli import gen, gen_builtin, main
from awm_generator.builtin import errors, reading
from awm_runtime.bundle import reading as bundles

FILE = reading.shipped_blueprints()["canoe_rental"]


def run(*arguments: object) -> testing.Result:
    return testing.CliRunner().invoke(gen.app, [str(argument) for argument in arguments])


def test_a_run_writes_bundles_and_files_and_says_how_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = gen_builtin.generate(tmp_path, target_count=1, seed=7, families=["canoe_rental"], workers=1, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert status == 0
    assert (document["made"], document["kept"], document["failed"]) == (1, 0, [])
    (path,) = (tmp_path / "bundles").iterdir()
    assert document["scenarios"] == [bundles.read(path).scenario.name]
    assert len((tmp_path / "gen_envs.jsonl").read_text().splitlines()) == 1
    stats = json.loads(run("stats", tmp_path, "--json").stdout)
    assert (stats["scenarios"], stats["tasks"]["mean"], stats["sources"]) == (1, 10, {"canoe_rental": 1})
    assert "calls per oracle" in run("stats", tmp_path).stdout


def test_a_sound_blueprint_is_ok_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(FILE.read_text("utf-8").replace("user: true", "user: false"), "utf-8")
    done = run("check", FILE, wrong)
    assert done.exit_code == 1
    assert f"{FILE}: ok, 7 entities" in done.stdout
    assert f"{wrong}:" in done.stderr
    assert "exactly one entity has user: true" in done.stderr


def test_an_unknown_family_is_an_error_that_names_the_known_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(["gen", "all", "--provider", "builtin", "--families", "bakery", "--output_dir", str(tmp_path)])
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert "no blueprint bakery; there are " in said
    assert "canoe_rental" in said
    assert list(tmp_path.iterdir()) == []


def test_too_many_is_an_error_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(errors.VarietyError, match="only"):
        gen_builtin.generate(tmp_path, target_count=5000, seed=7, families=["vet_practice"])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_bundles_has_no_statistics(tmp_path: Path) -> None:
    assert "no bundle here" in str(run("stats", tmp_path).exception)


def test_flags_of_blueprints_are_refused_where_a_model_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(["gen", "all", "--provider", "openai", "--families", "canoe_rental", "--output_dir", str(tmp_path)])
    assert ended.value.code == 2
    assert "--families and --blueprint go with --provider builtin" in capsys.readouterr().err
