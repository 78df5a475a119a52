import dataclasses
import json
import tempfile
from pathlib import Path

import disks
import pytest
import strategies
from hypothesis import given, settings

from awm_generator.awm_files import exporting, rows, sidecars
from awm_runtime import errors
from awm_runtime.bundle import digest, model


def exported(bundle: model.Bundle, folder: Path) -> rows.Originals:
    exporting.export([bundle], folder)
    return rows.load(folder)[bundle.scenario.name]


@given(strategies.bundles())
@settings(max_examples=50)
def test_import_of_an_export_is_the_same_bundle(bundle: model.Bundle) -> None:
    with tempfile.TemporaryDirectory() as folder:
        restored = sidecars.restored(exported(bundle, Path(folder)), bundle.root)
    assert restored == bundle
    assert digest.digest(restored) == digest.digest(bundle)


@pytest.fixture
def pets(tmp_path: Path) -> model.Bundle:
    return model.Bundle(
        root=tmp_path,
        scenario=model.Scenario(
            name="pets", title="Pets!", clock="2026-01-15T09:00:00Z", provenance=model.Provenance(source="test")
        ),
        tasks=(model.Task(id="adopt", instruction="Adopt Milo."), model.Task(id="feed", instruction="Feed him.")),
        schema_sql=(
            "CREATE TABLE pets (id INTEGER);\nCREATE INDEX by_id ON pets (id);\nCREATE TABLE bowls (id INTEGER);\n"
        ),
        seed_sql="INSERT INTO bowls VALUES (1);\nINSERT INTO pets VALUES (1);\nINSERT INTO pets VALUES (2);\n",
        environment="app = None\n",
        spec={"api_groups": []},
        tools=(),
        verifiers={
            ("feed", "code"): "def verify_task_completion(a, b, c=None): ...\n",
            ("feed", "sql"): "def verify_task(a, b): ...\n",
        },
        source={
            "gen_sample.jsonl": json.dumps(
                {
                    "scenario": "pets",
                    "sample_data": {"tables": [{"table_name": "pets", "reasoning": "so that there are some"}]},
                }
            )
        },
    )


def lines(folder: Path, file: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / file).read_text(encoding="utf-8").splitlines()]


def test_the_files_are_as_awm_writes_them(pets: model.Bundle, tmp_path: Path) -> None:
    exporting.export([pets], tmp_path)
    assert lines(tmp_path, "gen_scenario.jsonl") == [{"name": "Pets!", "description": ""}]
    assert lines(tmp_path, "gen_tasks.jsonl") == [{"scenario": "Pets!", "tasks": ["Adopt Milo.", "Feed him."]}]
    assert lines(tmp_path, "gen_db.jsonl") == [
        {
            "scenario": "Pets!",
            "db_schema": {
                "tables": [
                    {
                        "name": "pets",
                        "ddl": "CREATE TABLE pets (id INTEGER);",
                        "indexes": ["CREATE INDEX by_id ON pets (id);"],
                    },
                    {"name": "bowls", "ddl": "CREATE TABLE bowls (id INTEGER);", "indexes": []},
                ]
            },
            "db_path": "./outputs/databases/pets.db",
        }
    ]
    (sample,) = lines(tmp_path, "gen_sample.jsonl")
    assert (sample["tables_count"], sample["inserts_count"]) == (2, 3)
    assert sample["sample_data"]["tables"][1] == {
        "table_name": "pets",
        "reasoning": "so that there are some",
        "insert_statements": ["INSERT INTO pets VALUES (1);", "INSERT INTO pets VALUES (2);"],
    }
    assert lines(tmp_path, "gen_spec.jsonl") == [{"scenario": "Pets!", "api_spec": {"api_groups": []}}]
    assert lines(tmp_path, "gen_envs.jsonl")[0]["full_code"] == "app = None\n"


def test_a_view_or_a_trigger_goes_with_the_table_before_it(pets: model.Bundle, tmp_path: Path) -> None:
    about_none = [
        "CREATE VIEW all_pets AS SELECT * FROM pets;",
        "CREATE TRIGGER kept BEFORE DELETE ON pets BEGIN SELECT RAISE(ABORT, 'no'); END;",
    ]
    tables = ["CREATE TABLE pets (id INTEGER);", "CREATE TABLE bowls (id INTEGER);"]
    schema = "\n".join([tables[0], *about_none, tables[1]]) + "\n"
    exporting.export([dataclasses.replace(pets, schema_sql=schema, seed_sql="")], tmp_path)
    [row] = lines(tmp_path, "gen_db.jsonl")
    assert row["db_schema"]["tables"] == [
        {"name": "pets", "ddl": tables[0], "indexes": about_none},
        {"name": "bowls", "ddl": tables[1], "indexes": []},
    ]


@pytest.mark.parametrize(("file", "mode"), [("gen_verifier.jsonl", "sql"), ("gen_verifier.pure_code.jsonl", "code")])
def test_verifiers_go_to_the_file_of_their_mode(pets: model.Bundle, tmp_path: Path, file: str, mode: str) -> None:
    exporting.export([pets], tmp_path)
    (row,) = lines(tmp_path, file)
    assert (row["scenario"], row["task_idx"], row["task"]) == ("pets", 1, "Feed him.")
    assert row["verification"] == {"code": pets.verifiers["feed", mode], "raw_response": ""}


def test_the_sidecar_holds_no_sql_that_the_other_files_carry(pets: model.Bundle, tmp_path: Path) -> None:
    exporting.export([pets], tmp_path)
    (row,) = lines(tmp_path, rows.SIDECAR)
    assert set(row["bundle"]) == {"scenario", "tasks", "tools", "report", "source"}


def test_two_bundles_of_one_scenario_are_refused_before_anything_is_written(pets: model.Bundle, tmp_path: Path) -> None:
    other = dataclasses.replace(pets, root=tmp_path / "other")
    with pytest.raises(errors.BundleError, match=r"other: is scenario pets, as .* is"):
        exporting.export([pets, other], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_export_that_the_disk_refuses_leaves_the_older_one_as_it_was(pets: model.Bundle, tmp_path: Path) -> None:
    exporting.export([pets], tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    longer = dataclasses.replace(pets, environment="#" * 5000, spec={"version": 2})
    with disks.full(at_bytes=4096), pytest.raises(errors.BundleError, match=r"out: cannot be written: File too large"):
        exporting.export([longer], tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_a_title_that_leads_to_another_name_does_not_break_the_join(pets: model.Bundle, tmp_path: Path) -> None:
    scenario = pets.scenario.model_copy(update={"title": "The Shelter"})
    renamed = dataclasses.replace(pets, scenario=scenario)
    assert sidecars.restored(exported(renamed, tmp_path), tmp_path) == renamed


def test_a_sidecar_does_not_count_once_other_rows_were_changed(pets: model.Bundle, tmp_path: Path) -> None:
    exporting.export([pets], tmp_path)
    path = tmp_path / "gen_tasks.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("Milo", "Rex"), encoding="utf-8")
    assert sidecars.restored(rows.load(tmp_path)["pets"], tmp_path) is None


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("tasks", None, "the row of pets: tasks: "),
        ("tools", 5, "the row of pets: tools: "),
        ("verifiers", ["x"], "the row of pets: verifiers: "),
        ("verifiers", {"nobody.code": "pass"}, "has no task 'nobody'"),
        ("source", {"../x": ""}, "not a plain file name"),
        ("source", {"x": 1}, "the row of pets: source.x: "),
    ],
)
def test_a_malformed_sidecar_is_refused(
    pets: model.Bundle, tmp_path: Path, field: str, value: object, message: str
) -> None:
    exporting.export([pets], tmp_path)
    (row,) = lines(tmp_path, rows.SIDECAR)
    row["bundle"][field] = value
    (tmp_path / rows.SIDECAR).write_text(json.dumps(row), encoding="utf-8")
    with pytest.raises(errors.BundleError, match=message):
        sidecars.restored(rows.load(tmp_path)["pets"], tmp_path)


def test_a_sidecar_about_another_scenario_is_refused(pets: model.Bundle, tmp_path: Path) -> None:
    exporting.export([pets], tmp_path)
    (row,) = lines(tmp_path, rows.SIDECAR)
    row["bundle"]["scenario"]["name"] = "dogs"
    (tmp_path / rows.SIDECAR).write_text(json.dumps(row), encoding="utf-8")
    with pytest.raises(errors.BundleError, match="the row of pets is about dogs"):
        sidecars.restored(rows.load(tmp_path)["pets"], tmp_path)
