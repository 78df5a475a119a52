import contextlib
import sqlite3
from pathlib import Path

import pytest

from awm_generator import reseeding
from awm_runtime import errors
from awm_runtime.bundle import database, model

SCRIPT = """
CREATE TABLE pets (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT);
CREATE TABLE log (entry TEXT);
CREATE INDEX by_name ON pets (name);
create trigger noted AFTER INSERT ON pets BEGIN INSERT INTO log VALUES ('new: ' || NEW.name); END;
INSERT INTO pets (name) VALUES ('Milo; the "first"'), ('It''s Rex');
DELETE FROM pets WHERE id = 2;
"""


def bundle(folder: Path) -> model.Bundle:
    return model.Bundle(
        root=folder,
        scenario=model.Scenario(
            name="pets", title="Pets", clock="2026-01-15T09:00:00Z", provenance=model.Provenance(source="test")
        ),
        tasks=(),
        schema_sql="CREATE TABLE old (id INTEGER);\n",
        seed_sql="INSERT INTO old VALUES (1);\n",
        environment="app = None\n",
        spec={},
        tools=(),
    )


def test_a_bundle_reseeded_from_a_file_builds_what_the_file_holds(tmp_path: Path) -> None:
    path, built = tmp_path / "pets.db", tmp_path / "built.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCRIPT)
    made = reseeding.from_file(bundle(tmp_path), path)
    report = database.build(made.schema_sql, made.seed_sql, made.clock, built, "off")
    assert report.failures == ()
    assert database.state_hash(built) == database.state_hash(path)
    assert report.tables == {"log": 2, "pets": 1}
    with contextlib.closing(sqlite3.connect(built)) as connection:
        connection.execute("INSERT INTO pets (name) VALUES ('Ada')")
        assert connection.execute("SELECT max(id) FROM pets").fetchone() == (3,)
        assert connection.execute("SELECT entry FROM log ORDER BY rowid DESC").fetchone() == ("new: Ada",)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("not a database, but long enough to be taken for one by its size " * 20)
    with pytest.raises(errors.BundleError, match=r"notes\.db: not a usable SQLite database"):
        reseeding.from_file(bundle(tmp_path), tmp_path / "notes.db")
