import contextlib
import sqlite3
from pathlib import Path

import pytest

from awm_generator.awm_files import databases, mending, rows
from awm_runtime.bundle import database
from awm_runtime.determinism import clock

CLOCK = clock.parse("2026-01-15T09:00:00Z")
NOTES = "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT, tag TEXT);"


def usable(schema: list[tuple[str, str, list[object]]], inserts: dict[str, list[object]]) -> databases.Database:
    tables = [{"name": name, "ddl": ddl, "indexes": indexes} for name, ddl, indexes in schema]
    samples = [{"table_name": name, "insert_statements": texts} for name, texts in inserts.items()]
    return databases.usable(
        rows.DbRow.model_validate({"scenario": "x", "db_schema": {"tables": tables}}),
        rows.SampleRow.model_validate({"scenario": "x", "sample_data": {"tables": samples}}),
        CLOCK,
    )


def notes(*inserts: str) -> databases.Database:
    return usable([("notes", NOTES, [])], {"notes": list(inserts)})


def bodies(made: databases.Database) -> list[str]:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(made.schema_sql + made.seed_sql)
        return [body for (body,) in connection.execute("SELECT body FROM notes ORDER BY id")]


def kinds(made: databases.Database) -> list[tuple[str, str, str, str]]:
    return [(finding.kind, finding.stage, finding.subject, finding.action) for finding in made.findings]


@pytest.mark.parametrize(
    ("insert", "kind", "body"),
    [
        (r"INSERT INTO notes VALUES (1, 'It\'s \"here\"', 'a');", "backslash_quotes", 'It\'s "here"'),
        (
            "INSERT INTO notes VALUES (1, 'So—I'll look, and wait', 'a');",
            "unescaped_apostrophe",
            "So—I'll look, and wait",
        ),
        ("INSERT INTO notes VALUES (1, 'I'll say; don't go', 'a');", "unescaped_apostrophe", "I'll say; don't go"),
        ("INSERT INTO notes VALUES (1, 'the dogs' bowls', 'a');", "unescaped_apostrophe", "the dogs' bowls"),
        ("INSERT INTO notes VALUES (1, '(a smile :)', 'a';", "missing_parenthesis", "(a smile :)"),
    ],
)
def test_an_unambiguous_slip_is_mended_and_named(insert: str, kind: str, body: str) -> None:
    made = notes(insert)
    assert bodies(made) == [body]
    assert kinds(made) == [(kind, "sample", "notes", "mended")]


@pytest.mark.parametrize(
    "insert",
    [
        "INSERT INTO notes VALUES (1, 'one value too few');",
        "INSERT INTO nowhere VALUES (1);",
        "INSERT INTO notes VALUES (1, 'I'll', 'one', 'too many');",
        "INSERT INTO notes VALUES (1, " + "'a'b', " * 9 + "'c');",
    ],
)
def test_a_row_that_cannot_be_mended_is_dropped_and_named(insert: str) -> None:
    made = notes("INSERT INTO notes VALUES (7, 'kept', 'a');", insert)
    assert bodies(made) == ["kept"]
    assert kinds(made) == [("statement_failed", "sample", "notes", "dropped")]


def test_a_slip_with_several_readings_is_not_mended() -> None:
    assert mending.mend("x 'a'b'c' y", lambda reading: reading.count("''") == 1) is None
    assert mending.mend("x 'a'b'c' y", lambda reading: reading.count("''") == 3) is not None


def test_a_statement_with_so_many_apostrophes_that_readings_multiply_is_not_tried() -> None:
    def mended(places: int) -> mending.Mend | None:
        return mending.mend("x 'a" + "'b" * places + "')", lambda reading: reading.count("''") == places)

    assert mended(8) is not None
    assert mended(9) is None


def test_a_table_without_its_closing_parenthesis_is_mended_with_its_indexes_and_rows() -> None:
    broken = "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT CHECK (body IN ('(', 'b')), tag TEXT;"
    made = usable(
        [("notes", broken, ["CREATE INDEX by_tag ON notes (tag);"])],
        {"notes": ["INSERT INTO notes VALUES (1, 'b', 'c')"]},
    )
    assert bodies(made) == ["b"]
    assert kinds(made) == [("missing_parenthesis", "db", "notes", "mended")]


def test_a_table_that_cannot_be_made_takes_its_indexes_and_rows_along() -> None:
    made = usable(
        [("notes", NOTES, []), ("bad", "CREATE TABLE bad id INTEGER;", ["CREATE INDEX i ON bad (id);"])],
        {"notes": ["INSERT INTO notes (id) VALUES (1);"], "bad": ["INSERT INTO bad VALUES (1);"]},
    )
    assert made.report.tables == {"notes": 1}
    assert kinds(made) == [
        ("statement_failed", "db", "bad", "dropped"),
        ("statement_failed", "db", "bad", "dropped"),
        ("statement_failed", "sample", "bad", "dropped"),
    ]


def test_an_entry_that_is_no_statement_costs_itself_only() -> None:
    made = usable(
        [("notes", NOTES, ["CREATE INDEX by_tag ON notes (tag);", 7])],
        {"notes": [None, "INSERT INTO notes VALUES (1, 'kept', 'a');", {"sql": "INSERT"}]},
    )
    assert bodies(made) == ["kept"]
    assert "by_tag" in made.schema_sql
    assert [
        (finding.kind, finding.stage, finding.subject, finding.action, finding.detail) for finding in made.findings
    ] == [
        ("unusable_entry", "db", "notes", "dropped", "statement 2 of this table is no text"),
        ("unusable_entry", "sample", "notes", "dropped", "statement 0 of this table is no text"),
        ("unusable_entry", "sample", "notes", "dropped", "statement 2 of this table is no text"),
    ]


def test_a_table_of_another_shape_costs_itself_only() -> None:
    schema = {
        "tables": [{"name": "lost"}, {"name": "notes", "ddl": NOTES, "indexes": None}, {"name": "x", "ddl": " "}, 7]
    }
    sample = {
        "tables": [
            {"table_name": "notes", "insert_statements": "INSERT INTO notes VALUES (1, 'kept', 'a');"},
            {"insert_statements": []},
        ]
    }
    made = databases.usable(
        rows.DbRow.model_validate({"scenario": "x", "db_schema": schema}),
        rows.SampleRow.model_validate({"scenario": "x", "sample_data": sample}),
        CLOCK,
    )
    assert bodies(made) == ["kept"]
    assert [(finding.kind, finding.stage, finding.subject, finding.detail) for finding in made.findings] == [
        ("unusable_entry", "db", "lost", "entry 0: ddl: Field required"),
        ("unusable_entry", "db", "x", "entry 2: ddl: String should match pattern '\\S'"),
        ("unusable_entry", "db", "tables", "entry 3: the row: Input should be a valid dictionary or instance of Table"),
        ("unusable_entry", "sample", "tables", "entry 1: table_name: Field required"),
    ]


def test_rows_of_no_parent_are_kept_and_reported() -> None:
    made = usable(
        [("a", "CREATE TABLE a (id INTEGER PRIMARY KEY);", []), ("b", "CREATE TABLE b (a REFERENCES a (id));", [])],
        {"b": ["INSERT INTO b VALUES (9);"]},
    )
    assert made.report.rows == 1
    assert kinds(made) == [("foreign_key_violation", "sample", "b", "noted")]


def test_what_is_left_builds_without_a_failure(tmp_path: Path) -> None:
    made = notes(
        "INSERT INTO notes (body) VALUES ('a') -- no end", "INSERT INTO notes (body) VALUES ('I'll')", "nonsense"
    )
    report = database.build(made.schema_sql, made.seed_sql, CLOCK, tmp_path / "a.db", "off")
    assert (report.failures, report.tables) == ((), {"notes": 2})
