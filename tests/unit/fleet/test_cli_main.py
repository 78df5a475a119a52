"""Every command with bad input: one line that says what to do, the right status, never a traceback."""

import json
from pathlib import Path

import commands
import pytest

REFERENCE = {
    "env start": "--scenario --envs_load_path --db_path --host --port --db_schema_path --sample_path --output_dir",
    "env check": "--url --timeout",
    "env check_all": "--input --allowed_scenarios",
    "env reset_db": "--input_db --input_sample --database_dir --scenarios",
    "verify": "--input --init_db_path --final_db_path --mode --verifier_path --verifier_code_path",
}


@pytest.fixture
def awm(capsys: pytest.CaptureFixture[str]) -> commands.Awm:
    return commands.Awm(capsys)


@pytest.mark.parametrize("command", REFERENCE)
def test_help_names_the_flags_of_the_reference_and_shows_examples(
    awm: commands.Awm, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    ended = awm(*command.split(), "--help")
    assert ended.status == 0
    words = ended.out.split()
    assert not [flag for flag in REFERENCE[command].split() if flag not in words]
    assert f"$ awm {command}" in ended.out


@pytest.mark.parametrize("flag", ["--input_db", "--input-db"])
@pytest.mark.parametrize("command", ["reset_db", "reset-db"])
def test_underscores_and_dashes_are_the_same(awm: commands.Awm, command: str, flag: str) -> None:
    ended = awm("env", command, flag, "no-such-file", "--input_sample", "x")
    assert (ended.status, ended.err) == (1, "error: no-such-file: no such file; name it with --input_db\n")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("env strat", "No such command 'strat'. Did you mean 'start'? (see awm env --help)"),
        ("env start --prot 1", "No such option: --prot (Possible options: --host, --port) (see awm env start --help)"),
        ("env start", "give a BUNDLE, or --scenario with --envs_load_path (see awm env start --help)"),
        ("env start library --scenario x", "give a BUNDLE, or --scenario with --envs_load_path"),
        ("env start --scenario x", "give --envs_load_path too"),
        ("env start library --port 70000", "'--port'"),
        ("env check --timeout soon", "'--timeout'"),
        ("verify --mode judge", "'judge' is not one of 'code', 'sql'"),
        ("env reset_db", "Missing option '--input_db'"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(awm: commands.Awm, line: str, says: str) -> None:
    ended = awm(*line.split())
    assert (ended.status, ended.out) == (2, "")
    assert says in ended.err
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1


def test_a_group_without_a_command_shows_its_help(awm: commands.Awm) -> None:
    ended = awm("env")
    assert ended.status == 2
    assert "check_all" in ended.out
    assert ended.err == ""


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            "demo libary",
            "no bundle 'libary': no folder with a scenario.json, and no example of that name; did you mean",
        ),
        ("demo qqq", "the examples are clinic, library"),
        ("demo ./{folder}", "{folder}: no bundle; a bundle is a folder with a scenario.json in it"),
        ("demo library --task 99", "library: there is no task '99'; tasks to play: renew-week"),
        (
            "env start --scenario x --envs_load_path {folder}",
            "{folder}: a folder, not a file; name it with --envs_load",
        ),
        ("env start --scenario x --envs_load_path {file}", "gen_db.jsonl: no such file; name it with --db_schema_path"),
        ("env check_all --input {file}", "gen_db.jsonl: no such file; name it with --input, as a file beside it"),
        ("env check_all --input {file}x", "no such file; name it with --input"),
        ("env reset_db --input_db {file} --input_sample {file}", "{file}:2: broken JSON: Unterminated string"),
        ("env check --url nonsense", "'nonsense' is no URL that begins with http:// or https://"),
        ("verify --input {file}", "{file}: no such folder; --input takes the folder of an agent's run"),
        ("verify --input {folder}", "which verifier? name its file with --verifier_code_path"),
        ("verify --mode sql", "which verifier? name its file with --verifier_path"),
        ("verify --verifier_path {folder}", "{folder}: no such file"),
        ("verify --verifier_path {file}", "{file} holds many verifiers: choose one with --scenario and --task_id"),
        ("verify --verifier_path {python}", "which is the initial database? none is given: name one with --init_db"),
        (
            "verify --verifier_path {python} --input {folder}",
            "which is the initial database? {folder} holds 0 files named *init*.db: name one with --init_db_path",
        ),
        (
            "verify --verifier_path {python} --init_db_path {file} --final_db_path {file}",
            "{file}: not a usable SQLite database: file is not a database",
        ),
        (
            "verify --verifier_path {python} --init_db_path {folder} --final_db_path {file}",
            "{folder}: no such file",
        ),
    ],
)
def test_bad_input_is_one_line_and_status_1(
    awm: commands.Awm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"folder": "run", "file": "broken.jsonl", "python": "check.py"}
    Path("run").mkdir()
    Path("check.py").touch()
    Path("broken.jsonl").write_text(json.dumps({"scenario": "x", "db_schema": {"tables": []}}) + '\n{"scenario": "')
    ended = awm(*line.format(**names).split())
    assert (ended.status, ended.out) == (1, "")
    assert says.format(**names) in ended.err
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1


def test_what_the_system_refuses_is_one_line(awm: commands.Awm, tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.jsonl" for name in ("input_db", "input_sample")}
    for file in files.values():
        file.touch()
    flags = [word for name, file in files.items() for word in (f"--{name}", file)]
    ended = awm("env", "reset_db", *flags, "--database_dir", files["input_db"])
    assert (ended.status, ended.err) == (1, f"error: {files['input_db']}: File exists\n")
