"""`awm gen` with the built-in provider: what it prints, its exit codes, and its complaints."""

import json
from pathlib import Path

import pytest
from typer import testing

from awm_fleet.cli import gen, gen_builtin, main
from awm_generator.builtin import errors, reading, staging
from awm_generator.builtin.compiler import environment_text
from awm_generator.stages import paths
from awm_runtime.bundle import reading as bundles

FILE = reading.shipped_blueprints()["canoe_rental"]


def run(*arguments: object) -> testing.Result:
    return testing.CliRunner().invoke(gen.app, [str(argument) for argument in arguments])


def test_a_run_writes_bundles_and_files_and_says_how_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = gen_builtin.generate(tmp_path, staging.Order(count=1, seed=7, families=("canoe_rental",)), as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert status == 0
    assert (document["made"], document["kept"], document["failed"]) == (1, 0, [])
    (path,) = (tmp_path / "bundles").iterdir()
    assert document["scenarios"] == [bundles.read(path).scenario.name]
    assert len((tmp_path / "gen_envs.jsonl").read_text().splitlines()) == 1
    stats = json.loads(run("stats", tmp_path, "--json").stdout)
    assert (stats["scenarios"], stats["tasks"]["mean"], stats["sources"]) == (1, 10, {"canoe_rental": 1})
    assert stats["categories"] == {"leisure": 1}
    assert "calls per oracle" in run("stats", tmp_path).stdout


def test_a_scenario_that_does_not_compile_is_replaced_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    order = staging.Order(count=1, seed=7, families=("canoe_rental",))
    [planned] = order.planned()
    right = environment_text.source
    wrong = "raise SystemError('of this one')"
    monkeypatch.setattr(environment_text, "source", lambda world: wrong if world.name == planned.name else right(world))
    assert gen_builtin.generate(tmp_path, order, as_json=True) == 0
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert (document["made"], document["replaced"], document["failed"]) == (1, [planned.name], [])
    assert f"{planned.name} could not be made, and another is made in its place" in said.err
    assert staging.recall(tmp_path).planned()[0].name == document["scenarios"][0] != planned.name


def test_a_blueprint_of_which_nothing_compiles_says_so_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(environment_text, "source", lambda _world: "raise SystemError('of every one')")
    order = staging.Order(count=1, seed=7, families=("canoe_rental",))
    assert gen_builtin.generate(tmp_path, order, as_json=True) == 1
    document = json.loads(capsys.readouterr().out)
    assert len(document["failed"]) == 1
    assert "of every one" in document["failed"][0]["reason"]
    assert document["failed"][0]["name"] not in document["replaced"]


BUILTIN = ("--provider", "builtin")


def test_the_stages_one_by_one_write_the_files_of_a_whole_run(tmp_path: Path) -> None:
    whole, staged = tmp_path / "whole", tmp_path / "staged"
    order = ("--families", "canoe_rental,vet_practice", "--target_count", 2, "--seed", 5)
    assert run("all", *BUILTIN, *order, "--output_dir", whole).exit_code == 0
    file = {stage: staged / name for stage, name in paths.FILES.items()}
    tasks_and_db = ("--input_task", file["task"], "--input_db", file["db"])
    for command in (
        ("scenario", *order, "--output_path", file["scenario"]),
        ("task", "--input", file["scenario"], "--output", file["task"]),
        ("db", "--input", file["task"], "--output", file["db"]),
        ("sample", *tasks_and_db, "--output", file["sample"]),
        ("spec", *tasks_and_db, "--output", file["spec"]),
        ("env", "--input_spec", file["spec"], "--input_db", file["db"], "--output", file["env"]),
        ("verifier", "--mode", "code", "--input_task", file["task"], "--output", file["verifier"]),
    ):
        done = run(command[0], *BUILTIN, *command[1:])
        assert done.exit_code == 0, done.output
    assert _files(staged) == _files(whole)
    assert len((staged / "gen_envs.jsonl").read_text("utf-8").splitlines()) == 2


def test_a_stage_elsewhere_makes_the_scenarios_again_that_it_is_asked_for(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    order = ("--families", "canoe_rental", "--target_count", 2)
    assert run("scenario", *BUILTIN, *order, "--output_path", first / "gen_scenario.jsonl").exit_code == 0
    command = ("task", "--input", first / "gen_scenario.jsonl", "--output", second / "gen_tasks.jsonl", "--limit", 1)
    done = run(command[0], *BUILTIN, *command[1:], "--json")
    assert json.loads(done.stdout)["made"] == 1
    assert len((second / "gen_tasks.jsonl").read_text("utf-8").splitlines()) == 1


def test_a_stage_over_files_of_another_provider_says_how_to_begin(tmp_path: Path) -> None:
    (tmp_path / "gen_scenario.jsonl").write_text('{"name": "Rover", "description": "Walks"}\n', "utf-8")
    command = ("--input", tmp_path / "gen_scenario.jsonl", "--output", tmp_path / "gen_tasks.jsonl")
    done = run("task", *BUILTIN, *command)
    assert "begin with awm gen scenario --provider builtin" in str(done.exception)
    assert not (tmp_path / "gen_tasks.jsonl").exists()


@pytest.mark.parametrize(("stage", "said"), [("oracle", "awm_bundle.jsonl"), ("verifier", "add --mode code")])
def test_what_the_built_in_generator_has_no_stage_for_is_said(stage: str, said: str) -> None:
    assert said in str(run(stage, *BUILTIN).exception)


def test_a_blueprint_that_makes_no_sense_is_named_before_anything_is_made(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(FILE.read_text("utf-8").replace("user: true", "user: false"), "utf-8")
    done = run("all", *BUILTIN, "--blueprint", wrong, "--output_dir", tmp_path / "out")
    assert f"{wrong}:" in str(done.exception)
    assert not (tmp_path / "out").exists()


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.jsonl")}


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
        gen_builtin.generate(tmp_path, staging.Order(count=5000, seed=7, families=("vet_practice",)))
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
