"""What `check` makes of foreign keys: it says of them what the bundle's own setting makes an error."""

from pathlib import Path
from typing import Literal

import pytest

from awm_generator import checking
from awm_runtime.bundle import model, writing

PETS = "CREATE TABLE pets (id INTEGER PRIMARY KEY, name TEXT);\n"
VISITS = "CREATE TABLE visits (pet_id INTEGER REFERENCES pets (id));\n"
ADDRESSED = "CREATE TABLE visits (pet TEXT REFERENCES pets (name));\n"  # a name is no key
ORPHAN = "INSERT INTO visits VALUES (9);\n"


def slips(folder: Path, foreign_keys: Literal["on", "off"], schema_sql: str, seed_sql: str) -> list[str]:
    bundle = model.Bundle(
        root=folder,
        scenario=model.Scenario(
            name="pets",
            title="Pets",
            clock="2026-01-15T09:00:00Z",
            foreign_keys=foreign_keys,
            provenance=model.Provenance(source="test"),
        ),
        tasks=(),
        schema_sql=schema_sql,
        seed_sql=seed_sql,
        environment="(",  # so that no process is started for it
        spec={},
        tools=(),
        verifiers={},
    )
    found = checking.check(writing.write(bundle, folder / "pets").root)
    return [slip for slip in found if slip != "environment.py: is not Python"]


@pytest.mark.parametrize(
    ("foreign_keys", "schema_sql", "seed_sql", "expected"),
    [
        ("on", PETS + VISITS, ORPHAN, ["seed.sql: statement 0 (visits): FOREIGN KEY constraint failed"]),
        ("on", PETS + ADDRESSED, "", ["schema.sql: visits: a foreign key leads to no key of its parent"]),
        ("on", PETS + VISITS, "", []),
        ("off", PETS + VISITS, ORPHAN, []),
        ("off", PETS + ADDRESSED, "", []),
    ],
)
def test_keys_are_checked_where_they_are_enforced(
    tmp_path: Path, foreign_keys: Literal["on", "off"], schema_sql: str, seed_sql: str, expected: list[str]
) -> None:
    assert slips(tmp_path, foreign_keys, schema_sql, seed_sql) == expected
