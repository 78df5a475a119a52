"""What gates read out of texts: task texts, schemas, code."""

from pathlib import Path

import pytest

from awm_generator.gates import probing, seeds, tasks
from awm_generator.gates.static import tool_tokens
from awm_runtime.bundle import database
from awm_runtime.determinism import clock

CLOCK = clock.parse("2026-01-15T09:00:00Z")
SCHEMA = """
CREATE TABLE categories (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY, category_id INTEGER REFERENCES categories (id),
    status TEXT CHECK (status IN ('open', 'it''s done')), note TEXT
);
CREATE TABLE pairs (a INTEGER, b INTEGER, PRIMARY KEY (a, b));
"""
SEED = """
INSERT INTO categories VALUES (7, 'Books'), (4, 'Toys');
INSERT INTO orders VALUES (20, 7, 'open', 'For Mara'), (11, 4, 'open', NULL);
"""


@pytest.fixture
def data(tmp_path: Path) -> seeds.Seed:
    report = database.build(SCHEMA, SEED, CLOCK, tmp_path / "seed.db", "on")
    assert not report.failures
    return seeds.read(tmp_path / "seed.db")


def test_a_seed_tells_keys_choices_and_what_refers_to_what(data: seeds.Seed) -> None:
    orders = data.tables["orders"]
    assert (orders.key, data.tables["pairs"].key) == ("id", None)
    assert orders.choices == {"status": frozenset({"open", "it's done"})}
    assert {column.name: column.refers_to for column in orders.columns}["category_id"] == "categories"
    assert "for mara" in data.texts


def test_an_argument_finds_the_values_that_it_may_mean(data: seeds.Seed) -> None:
    assert data.values("category_id", int) == [4, 7]
    assert data.values("note", str) == ["For Mara"]
    assert data.values("order_id", str) == []


@pytest.mark.parametrize(
    ("plural", "singular"),
    [
        ("loans", "loan"), ("categories", "category"), ("boxes", "box"), ("branches", "branch"), ("people", "person"),
        ("order_items", "order_item"), ("status", "status"), ("addresses", "address"), ("movies", "movie"),
        ("news", "news"),
    ],
)  # fmt: skip
def test_a_noun_finds_its_singular(plural: str, singular: str) -> None:
    assert seeds.singular(plural) == singular


def test_names_in_a_task_are_told_from_values_to_write_and_from_new_ones() -> None:
    text = (
        "Open 'Spring Sale' and don't touch it. Create a list called 'Summer', add the note: 'Ring twice', and write "
        "to mara@post.example by '2026-03-05'."
    )
    named = {each.text: (each.introduced, each.created) for each in tasks.named(text)}
    assert named == {
        "Spring Sale": (False, False),
        "Summer": (True, True),
        "Ring twice": (True, False),
        "2026-03-05": (True, False),
        "mara@post.example": (True, False),
    }


def test_numbers_in_a_task_come_with_their_nouns() -> None:
    text = "Cancel order 42 and invoice #7, refund order number 9; the date is March 5, at room 3.5, by 2026-03-05."
    found = list(tasks.numbered(text))
    assert {("order", 42), ("invoice", 7)} <= set(found)
    assert 9 in {number for _, number in found}
    assert ("room", 3) not in found
    assert ("by", 2026) not in found


SCHEMA_OF_TOOL = {
    "type": "object",
    "properties": {
        "order_id": {"type": "integer"},
        "kind": {"enum": ["a", "b"]},
        "day": {"anyOf": [{"type": "null"}, {"type": "string", "format": "date"}]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "box": {"type": "object", "properties": {"width": {"type": "number"}}, "required": ["width"]},
    },
    "required": ["order_id", "kind"],
}


def test_the_five_probes_follow_the_recipe() -> None:
    made = dict(probing.arguments_for(SCHEMA_OF_TOOL, {"order_id": 11}))
    assert made == {
        "existing": {"order_id": 11, "kind": "a", "day": "2026-01-15", "tags": ["test"], "box": {"width": 1}},
        "missing": {"order_id": 999_999, "kind": "a"},
        "negative": {"order_id": -1, "kind": "a", "day": "2026-01-15", "tags": [""], "box": {"width": -1}},
        "required": {"order_id": 11, "kind": "a"},
        "garbage": {
            "order_id": "garbage",
            "kind": "garbage",
            "day": "garbage",
            "tags": ["%_'; --\N{SNOWMAN}"],
            "box": {"width": "garbage"},
        },
    }


def test_tokens_are_estimated_from_the_bytes_of_the_json() -> None:
    assert tool_tokens.estimate([{"name": "x" * 349}]) == 101
