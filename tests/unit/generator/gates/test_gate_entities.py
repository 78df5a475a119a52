"""Which rows a task's numbers mean."""

import dataclasses
from pathlib import Path

import pytest

from awm_fleet import examples
from awm_generator.gates import subjects
from awm_generator.gates.static import task_entities
from awm_runtime.bundle import model, reading

SCHEMA = "CREATE TABLE rooms (id INTEGER PRIMARY KEY, number TEXT, room_code INTEGER, floor INTEGER, beds INTEGER);"
SEED = "INSERT INTO rooms VALUES (1, '104', 9001, 3, 12), (2, '105', 9002, 3, 14);"


@pytest.mark.parametrize(
    ("text", "details"),
    [
        ("Please clean room 2.", []),
        ("Please clean room 104.", []),
        ("Please clean room 9002.", []),
        ("Please clean room 12.", ["it names room 12, and rooms has no such row"]),
        ("Please clean room 3.", ["it names room 3, and rooms has no such row"]),
        ("Please clean cell 777.", []),  # what the schema does not know may be anything
    ],
)
def test_a_number_means_a_row_by_its_key_or_by_what_it_is_called(text: str, details: list[str], tmp_path: Path) -> None:
    task = model.Task(id="clean", instruction=text)
    library = reading.read(examples.path("library"))
    bundle = dataclasses.replace(library, schema_sql=SCHEMA, seed_sql=SEED, tasks=(task,), verifiers={})
    subject = subjects.Subject(bundle, tmp_path, tmp_path / "seed.db", subjects.build(bundle, tmp_path), None)
    assert [found.detail for found in task_entities.find(subject)] == details
