"""`awm env reset_db`: databases from AWM's files, without running any of their code."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from awm_fleet.cli import main


def schema(scenario: str, table: str) -> dict[str, Any]:
    ddl = f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, name TEXT)"
    return {"scenario": scenario, "db_schema": {"tables": [{"name": table, "ddl": ddl}]}}


def samples(scenario: str, table: str, *statements: str) -> dict[str, Any]:
    return {"scenario": scenario, "sample_data": {"tables": [{"table_name": table, "insert_statements": statements}]}}


@pytest.fixture
def reset_db(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[object, str, str]]:
    """Runs it on two scenarios; one of them has an insert that fails."""
    rows = {
        "gen_db": [schema("Pet Shop", "pets"), schema("Zoo", "cages")],
        "gen_sample": [
            samples("zoo", "cages", "INSERT INTO cages VALUES (1, 'lions')", "INSERT INTO cages VALUES (1, 'bears')"),
            samples("pet_shop", "pets", "INSERT INTO pets VALUES (1, 'Milo')"),
        ],
    }
    for name, lines in rows.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    given = {"--input_db": "gen_db.jsonl", "--input_sample": "gen_sample.jsonl", "--database_dir": "made/databases"}
    flags = [word for flag, file in given.items() for word in (flag, str(tmp_path / file))]

    def run(*arguments: str) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as stop:
            main.main(["env", "reset_db", *flags, *arguments])
        return (stop.value.code, *capsys.readouterr())

    return run


def names_in(database: Path, table: str) -> list[str]:
    with closing(sqlite3.connect(database)) as connection:
        return [name for (name,) in connection.execute(f"SELECT name FROM {table}")]


def test_databases_are_built_and_a_failing_insert_is_named(
    reset_db: Callable[..., tuple[object, str, str]], tmp_path: Path
) -> None:
    status, shown, warned = reset_db()
    assert status == 3
    assert "pet_shop" in shown
    assert warned.startswith("zoo: cages: ")
    assert "UNIQUE constraint failed: cages.id" in warned
    assert names_in(tmp_path / "made/databases/pet_shop.db", "pets") == ["Milo"]
    assert names_in(tmp_path / "made/databases/zoo.db", "cages") == ["lions"]


def test_only_the_chosen_scenarios_are_built_in_place_of_what_is_there(
    reset_db: Callable[..., tuple[object, str, str]], tmp_path: Path
) -> None:
    database = tmp_path / "made/databases/pet_shop.db"
    database.parent.mkdir(parents=True)
    database.write_text("something else")
    status, printed, warned = reset_db("--scenarios", " PET SHOP,", "--json")
    assert (status, warned) == (0, "")
    assert json.loads(printed) == {
        "databases": [{"scenario": "pet_shop", "path": str(database), "rows": 1, "dropped": []}]
    }
    assert names_in(database, "pets") == ["Milo"]
    assert not database.with_name("zoo.db").exists()


def test_an_unknown_scenario_is_answered_with_close_names(reset_db: Callable[..., tuple[object, str, str]]) -> None:
    assert reset_db("--scenarios", "pet_shp") == (1, "", "error: no scenario 'pet_shp'; did you mean pet_shop?\n")
