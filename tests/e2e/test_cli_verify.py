"""`awm verify`: an agent's run, judged from its files."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from awm_fleet.cli import main

CODE = """
import sqlite3

def verify_task_completion(initial_db_path, final_db_path, final_answer=None):
    counts = []
    for path in (initial_db_path, final_db_path):
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        counts.append(connection.execute("SELECT count(*) FROM pets").fetchone()[0])
    added = counts[1] == counts[0] + 1
    return {"result": "complete" if added and final_answer == "Milo" else "others", "checks": {"one_added": added}}
"""
SQL = "def verify_task(initial_db_path, final_db_path): return {'pets': 2}\n"
RAISING = "def verify_task_completion(a, b, c=None): raise KeyError('pets')\n"

Verify = Callable[..., tuple[object, str, str]]


@pytest.fixture
def verify(capsys: pytest.CaptureFixture[str]) -> Verify:
    def run(*arguments: object) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as stop:
            main.main(["verify", *map(str, arguments)])
        return (stop.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run's folder; its final database ended in WAL mode, with the last row still in the log beside it."""
    folder = tmp_path / "run"
    folder.mkdir()
    for which, names in (("initial", ["Rex"]), ("final", ["Rex", "Milo"])):
        with closing(sqlite3.connect(folder / f"{which}.db")) as connection:
            connection.execute("CREATE TABLE pets (name TEXT)")
            connection.executemany("INSERT INTO pets VALUES (?)", [(name,) for name in names[:1]])
            connection.commit()
            if which == "final":
                connection.execute("PRAGMA journal_mode = WAL").fetchone()
                connection.executemany("INSERT INTO pets VALUES (?)", [(name,) for name in names[1:]])
                connection.commit()
                beside = (folder / "final.db-wal").read_bytes()
                main_file = (folder / "final.db").read_bytes()
    (folder / "final.db").write_bytes(main_file)
    (folder / "final.db-wal").write_bytes(beside)
    said = {"scenario": "Pet Shop", "task_idx": "3", "final_answer": "Milo"}
    (folder / "trajectory.json").write_text(json.dumps(said))
    return folder


@pytest.fixture
def verifier_file(tmp_path: Path) -> Path:
    path = tmp_path / "gen_verifier.jsonl"
    rows: list[dict[str, Any]] = [
        {"scenario": "pet_shop", "task_idx": 3, "verification": {"code": code}} for code in (CODE, SQL)
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def test_a_run_is_judged_by_the_verifier_of_its_task(verify: Verify, run_folder: Path, verifier_file: Path) -> None:
    before = {path.name: path.read_bytes() for path in run_folder.iterdir()}
    assert verify("--input", run_folder, "--verifier_code_path", verifier_file) == (
        0,
        "  ok   one_added\nverdict: completed, reward 1\n",
        "",
    )
    assert {path.name: path.read_bytes() for path in run_folder.iterdir()} == before


def test_a_failed_verdict_is_a_verdict(verify: Verify, run_folder: Path, verifier_file: Path) -> None:
    status, printed, _ = verify("--input", run_folder, "--verifier_path", verifier_file, "--answer", "Rex", "--json")
    judged = json.loads(printed)
    assert (status, judged["outcome"], judged["reward"], judged["mask"]) == (0, "failed", 0.0, False)


def test_sql_mode_gives_evidence_and_no_reward(verify: Verify, run_folder: Path, verifier_file: Path) -> None:
    status, printed, _ = verify("--input", run_folder, "--verifier_path", verifier_file, "--mode", "sql")
    assert (status, printed) == (0, '{\n  "pets": 2\n}\nverdict: undecided, no reward\n')


def test_databases_and_a_verifier_can_be_named_one_by_one(verify: Verify, run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "check.py").write_text(CODE)
    flags = ["--init_db_path", run_folder / "initial.db", "--final-db-path", run_folder / "initial.db"]
    status, printed, _ = verify(*flags, "--verifier_code_path", tmp_path / "check.py")
    assert (status, printed) == (0, "  FAIL one_added\nverdict: failed, reward 0\n")


def test_a_verifier_that_breaks_abstains_and_is_a_failure(verify: Verify, run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "check.py").write_text(RAISING)
    status, printed, _ = verify("--input", run_folder, "--verifier_code_path", tmp_path / "check.py")
    assert status == 1
    assert printed.startswith("verdict: abstained, no reward (crashed: KeyError")


@pytest.mark.parametrize(
    ("trajectory", "says"),
    [
        (b'{\n"scenario": "Pet', ":2: broken JSON: Unterminated string"),
        (b'{"scenario": "\xff"}', ": not UTF-8 text"),
        (b"[" * 100_000, ": JSON nested too deeply"),
    ],
)
def test_a_broken_trajectory_is_named_with_its_line(
    verify: Verify, run_folder: Path, verifier_file: Path, trajectory: bytes, says: str
) -> None:
    (run_folder / "trajectory.json").write_bytes(trajectory)
    status, printed, said = verify("--input", run_folder, "--verifier_path", verifier_file)
    assert (status, printed) == (1, "")
    assert said.startswith(f"error: {run_folder}/trajectory.json{says}")


def test_a_damaged_database_is_named(verify: Verify, run_folder: Path, verifier_file: Path) -> None:
    content = (run_folder / "initial.db").read_bytes()
    (run_folder / "initial.db").write_bytes(content[:4096] + b"\xff" * 4096)
    status, printed, said = verify("--input", run_folder, "--verifier_path", verifier_file)
    assert (status, printed) == (1, "")
    assert said.startswith(f"error: {run_folder}/initial.db: a damaged SQLite database")
    assert said.count("\n") == 1


def test_a_task_without_a_verifier_is_answered_with_those_that_have_one(
    verify: Verify, run_folder: Path, verifier_file: Path
) -> None:
    status, _, said = verify("--input", run_folder, "--verifier_path", verifier_file, "--task_id", 8)
    assert (status, said) == (
        1,
        f"error: {verifier_file}: no code mode verifier for task 8 of 'Pet Shop'; tasks with one: 3\n",
    )
