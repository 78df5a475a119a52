import contextlib
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awm_runtime.bundle import database, statements
from awm_runtime.determinism import clock

CLOCK = clock.parse("2026-01-15T09:00:00Z")
PETS = "CREATE TABLE pets (id INTEGER PRIMARY KEY, name TEXT, weight REAL, photo BLOB);"


def build(path: Path, schema: str, seed: str = "", *, foreign_keys: str = "off") -> database.BuildReport:
    return database.build(schema, seed, CLOCK, path, foreign_keys)


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def lines(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return list(database.dump(connection))


def test_a_database_is_built_under_the_frozen_clock(tmp_path: Path) -> None:
    schema = "CREATE TABLE visits (at TEXT DEFAULT CURRENT_TIMESTAMP, until TEXT);"
    report = build(tmp_path / "a.db", schema, "INSERT INTO visits (until) VALUES (date('now', '+3 days'));")
    assert report == database.BuildReport({"visits": 1}, (), ())
    assert rows(tmp_path / "a.db", "SELECT * FROM visits") == [("2026-01-15 09:00:00", "2026-01-18")]


def test_the_same_sql_builds_the_same_bytes(tmp_path: Path) -> None:
    seed = "INSERT INTO pets (name) VALUES (hex(randomblob(8))); INSERT INTO pets (weight) VALUES (random());"
    build(tmp_path / "a.db", PETS, seed)
    build(tmp_path / "b.db", PETS, seed)
    assert (tmp_path / "a.db").read_bytes() == (tmp_path / "b.db").read_bytes()


def test_a_built_database_is_one_file_in_rollback_mode(tmp_path: Path) -> None:
    build(tmp_path / "a.db", PETS)
    assert (tmp_path / "a.db").read_bytes()[18:20] == b"\x01\x01"
    assert [path.name for path in tmp_path.iterdir()] == ["a.db"]


def test_a_failing_statement_is_reported_and_stops_no_other(tmp_path: Path) -> None:
    seed = "INSERT INTO pets (id) VALUES (1);\nINSERT INTO pests VALUES (1);\nINSERT INTO pets (id) VALUES (2);"
    report = build(tmp_path / "a.db", f"{PETS} CREATE TABLE broken (id;", seed)
    assert [(failure.part, failure.index, failure.table) for failure in report.failures] == [
        ("schema", 1, "broken"),
        ("seed", 1, "pests"),
    ]
    assert report.failures[1].error == "no such table: pests"
    assert report.rows == 2


FAMILY = "CREATE TABLE owners (id INTEGER PRIMARY KEY); CREATE TABLE pets (owner INTEGER REFERENCES owners (id));"


def test_foreign_keys_that_are_on_refuse_rows_of_no_parent(tmp_path: Path) -> None:
    report = build(tmp_path / "a.db", FAMILY, "INSERT INTO pets VALUES (7);", foreign_keys="on")
    assert [failure.error for failure in report.failures] == ["FOREIGN KEY constraint failed"]
    assert report.violations == ()


def test_foreign_keys_that_are_off_are_reported_as_violations(tmp_path: Path) -> None:
    report = build(tmp_path / "a.db", FAMILY, "INSERT INTO pets VALUES (7); INSERT INTO pets VALUES (8);")
    assert report.failures == ()
    assert report.violations == (database.Violation("pets", "owners", 2),)


def test_a_foreign_key_to_no_key_is_a_violation_and_not_an_error(tmp_path: Path) -> None:
    schema = "CREATE TABLE a (x INTEGER); CREATE TABLE b (y INTEGER REFERENCES a (x));"
    report = build(tmp_path / "a.db", schema, "INSERT INTO b VALUES (1);")
    assert report.violations == (database.Violation("b", "", 1),)


@pytest.mark.parametrize(
    "statement",
    ["ATTACH 'other.db' AS other", "PRAGMA journal_mode = WAL", "BEGIN", "VACUUM INTO 'copy.db'", "SAVEPOINT here"],
)
def test_sql_cannot_reach_out_of_its_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statement: str) -> None:
    monkeypatch.chdir(tmp_path)
    report = build(tmp_path / "a.db", PETS, statement)
    assert report.failures[0].error in ("not authorized", "authorization denied")
    assert [path.name for path in tmp_path.iterdir()] == ["a.db"]


def test_endless_sql_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "_MAX_TICKS", 2)
    endless = "WITH RECURSIVE n AS (SELECT 1 UNION ALL SELECT 1 FROM n) SELECT count(*) FROM n"
    assert build(tmp_path / "a.db", PETS, endless).failures[0].error == "took too long"


def test_a_text_full_of_semicolons_is_split_in_a_blink() -> None:
    insert = "INSERT INTO a VALUES ('" + ";" * 1_000_000 + "');"
    assert list(statements.split(insert * 2)) == [insert, insert]


@pytest.mark.parametrize("broken", ["SELECT 'open; SELECT 1;", 'SELECT "open; SELECT 1;', "SELECT /* open; SELECT 1;"])
def test_a_quote_that_is_never_closed_holds_all_the_rest(broken: str) -> None:
    assert list(statements.split(f"SELECT 0; {broken}")) == ["SELECT 0;", broken]


def test_an_empty_schema_builds_an_empty_database(tmp_path: Path) -> None:
    assert build(tmp_path / "a.db", "").tables == {}
    assert lines(tmp_path / "a.db") == []


def test_statements_end_where_sqlite_ends_them() -> None:
    trigger = "CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; SELECT 2; END;"
    text = f"-- a; b\nINSERT INTO a VALUES ('x;''y');\n\n{trigger} /* ; */ SELECT 1\n-- the end;"
    assert list(statements.split(text)) == [
        "-- a; b\nINSERT INTO a VALUES ('x;''y');",
        trigger,
        "/* ; */ SELECT 1\n-- the end;",
    ]
    assert list(statements.split("\n-- nothing\n /* here */ ")) == []


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("INSERT INTO pets VALUES (1)", "pets"),
        ('insert or replace into "my pets" values (1)', "my pets"),
        ("-- new\nCREATE TABLE IF NOT EXISTS `pets` (id)", "pets"),
        ("CREATE UNIQUE INDEX i ON [pets] (id)", "pets"),
        ("CREATE VIRTUAL TABLE docs USING fts5(body)", "docs"),
        ("UPDATE pets SET id = 1", "pets"),
        ("DELETE FROM pets", "pets"),
        ("SELECT 1", None),
    ],
)
def test_a_statement_tells_its_table(statement: str, table: str | None) -> None:
    assert statements.table_of(statement) == table


def test_the_dump_does_not_depend_on_the_order_of_writing(tmp_path: Path) -> None:
    schema = f"{PETS} CREATE TABLE notes (body TEXT, at REAL);"
    inserts = ["INSERT INTO pets (id) VALUES (1);", "INSERT INTO pets (id) VALUES (2);"]
    inserts += ["INSERT INTO notes VALUES ('b', 1);", "INSERT INTO notes VALUES ('a', NULL);"]
    build(tmp_path / "a.db", schema, "".join(inserts))
    build(tmp_path / "b.db", schema, "".join(reversed(inserts)))
    assert lines(tmp_path / "a.db") == lines(tmp_path / "b.db")
    assert database.state_hash(tmp_path / "a.db") == database.state_hash(tmp_path / "b.db")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE pets SET name = 'Rex'",
        "UPDATE pets SET name = X'4D696C6F'",
        "UPDATE pets SET photo = 1.0",
        "DELETE FROM pets",
        "CREATE INDEX by_name ON pets (name)",
        "INSERT INTO counted DEFAULT VALUES; DELETE FROM counted",
    ],
)
def test_every_change_of_state_changes_the_hash(tmp_path: Path, change: str) -> None:
    schema = f"{PETS} CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT);"
    build(tmp_path / "a.db", schema, "INSERT INTO pets VALUES (1, 'Milo', 1.5, 1);")
    before = database.state_hash(tmp_path / "a.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.executescript(change)
    assert database.state_hash(tmp_path / "a.db") != before


def test_layout_and_statistics_of_the_file_are_no_state(tmp_path: Path) -> None:
    build(tmp_path / "a.db", PETS, "INSERT INTO pets (id) VALUES (1); INSERT INTO pets (id) VALUES (2);")
    before = database.state_hash(tmp_path / "a.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.executescript("PRAGMA page_size = 8192; VACUUM; PRAGMA journal_mode = PERSIST;")
        assert database.state_hash(connection) == before
    assert database.state_hash(tmp_path / "a.db") == before


def test_hashing_leaves_a_connection_as_it_was(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute("CREATE TABLE a (b)")
        database.state_hash(connection)
        assert connection.row_factory is sqlite3.Row
        assert connection.text_factory is str


values = st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text() | st.binary()


@given(st.lists(values.filter(lambda value: not isinstance(value, str) or value.isprintable()), min_size=1))
def test_different_values_never_dump_alike(stored: list[object]) -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE a (n INTEGER PRIMARY KEY, v)")
        connection.executemany("INSERT INTO a (v) VALUES (?)", [(value,) for value in stored])
        dumped = [line.rpartition(": ")[0] and line.split(", ", 2)[2] for line in list(database.dump(connection))[1:]]
    kinds = {(type(value), repr(value)) for value in stored}
    assert len(set(dumped)) == len(kinds)


def test_a_difference_names_rows_by_key_and_columns_by_value(tmp_path: Path) -> None:
    seed = "INSERT INTO pets VALUES (1, 'Milo', 9.5, NULL), (2, 'Rex', NULL, X'00FF'), (3, 'Ada', NULL, NULL);"
    build(tmp_path / "a.db", f"{PETS} CREATE TABLE quiet (id INTEGER PRIMARY KEY);", seed)
    (tmp_path / "b.db").write_bytes((tmp_path / "a.db").read_bytes())
    with contextlib.closing(sqlite3.connect(tmp_path / "b.db")) as connection:
        connection.executescript(
            "UPDATE pets SET name = 'Max' WHERE id = 1; DELETE FROM pets WHERE id = 2; INSERT INTO pets (id) VALUES (4)"
        )
    assert database.changes(tmp_path / "a.db", tmp_path / "b.db") == {
        "pets": {
            "added": [{"id": 4, "name": None, "weight": None, "photo": None}],
            "removed": [{"id": 2, "name": "Rex", "weight": None, "photo": "X'00FF'"}],
            "changed": [{"key": {"id": 1}, "columns": {"name": ["Milo", "Max"]}}],
        }
    }


def test_rows_without_a_key_are_counted(tmp_path: Path) -> None:
    schema = "CREATE TABLE notes (body TEXT);"
    build(tmp_path / "a.db", schema, "INSERT INTO notes VALUES ('x'), ('x'), ('y');")
    build(tmp_path / "b.db", schema, "INSERT INTO notes VALUES ('x'), ('z');")
    difference = database.changes(tmp_path / "a.db", tmp_path / "b.db")["notes"]
    assert difference == {"added": [{"body": "z"}], "removed": [{"body": "x"}, {"body": "y"}], "changed": []}


def test_keys_that_are_null_tell_no_rows_apart(tmp_path: Path) -> None:
    schema = "CREATE TABLE notes (code TEXT PRIMARY KEY, body TEXT);"
    build(tmp_path / "a.db", schema, "INSERT INTO notes VALUES (NULL, 'x'), (NULL, 'y');")
    build(tmp_path / "b.db", schema, "INSERT INTO notes VALUES (NULL, 'x');")
    difference = database.changes(tmp_path / "a.db", tmp_path / "b.db")["notes"]
    assert difference["removed"] == [{"code": None, "body": "y"}]


def test_tables_that_came_and_went_differ_by_all_their_rows(tmp_path: Path) -> None:
    build(tmp_path / "a.db", "CREATE TABLE old (id INTEGER PRIMARY KEY);", "INSERT INTO old VALUES (1);")
    build(tmp_path / "b.db", "CREATE TABLE new (id INTEGER PRIMARY KEY);", "INSERT INTO new VALUES (2);")
    difference = database.changes(tmp_path / "a.db", tmp_path / "b.db")
    assert (difference["old"]["removed"], difference["new"]["added"]) == ([{"id": 1}], [{"id": 2}])


def test_a_database_without_changes_differs_in_nothing(tmp_path: Path) -> None:
    build(tmp_path / "a.db", PETS, "INSERT INTO pets (id) VALUES (1);")
    assert database.changes(tmp_path / "a.db", tmp_path / "a.db") == {}


def test_a_number_of_another_kind_is_a_difference(tmp_path: Path) -> None:
    schema = "CREATE TABLE sums (id INTEGER PRIMARY KEY, cents);"
    build(tmp_path / "a.db", schema, "INSERT INTO sums VALUES (1, 7), (2, 8);")
    build(tmp_path / "b.db", schema, "INSERT INTO sums VALUES (1, 7.0), (2, 8);")
    changed = database.changes(tmp_path / "a.db", tmp_path / "b.db")["sums"]["changed"]
    assert changed == [{"key": {"id": 1}, "columns": {"cents": [7, 7.0]}}]


def test_texts_that_are_not_utf8_are_dumped_and_compared(tmp_path: Path) -> None:
    build(tmp_path / "a.db", PETS, "INSERT INTO pets VALUES (1, CAST(X'FF41' AS TEXT), 9e999, NULL);")
    build(tmp_path / "b.db", PETS)
    assert "CAST(X'FF41' AS TEXT)" in lines(tmp_path / "a.db")[-1]
    removed = database.changes(tmp_path / "a.db", tmp_path / "b.db")["pets"]["removed"]
    assert removed == [{"id": 1, "name": "CAST(X'FF41' AS TEXT)", "weight": "9e999", "photo": None}]


def test_full_text_tables_count_by_what_was_written(tmp_path: Path) -> None:
    report = build(tmp_path / "a.db", "CREATE VIRTUAL TABLE docs USING fts5(body);", "INSERT INTO docs VALUES ('hi');")
    assert report.failures == ()
    content = [line for line in lines(tmp_path / "a.db") if not line.startswith("CREATE")]
    assert content == ["docs(\"body\"): 'hi'"]
