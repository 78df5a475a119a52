"""Mutants and equivalents of an oracle, and what makes two ends the same."""

from pathlib import Path
from typing import Any

import pytest

from awm_generator.gates import equivalents, hosting, mutants, seeds, states
from awm_runtime.bundle import database, model
from awm_runtime.determinism import clock

CLOCK = clock.parse("2026-01-15T09:00:00Z")
SCHEMA = """
CREATE TABLE pets (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE walks (id INTEGER PRIMARY KEY, pet_id INTEGER REFERENCES pets (id), minutes INTEGER, at TEXT);
"""
TOOLS: list[dict[str, Any]] = [
    {"name": "list_pets", "annotations": {"readOnlyHint": True}, "inputSchema": {"type": "object"}},
    {
        "name": "book_walk",
        "annotations": {},
        "inputSchema": {"type": "object", "properties": {"kind": {"enum": ["short", "long"]}}},
    },
]


@pytest.fixture
def data(tmp_path: Path) -> seeds.Seed:
    seed = "INSERT INTO pets VALUES (1, 'Milo'), (2, 'Rex');"
    database.build(SCHEMA, seed, CLOCK, tmp_path / "seed.db", "on")
    return seeds.read(tmp_path / "seed.db")


def call(tool: str, changed: bool = False, **arguments: Any) -> hosting.Call:
    return hosting.Call(tool, arguments, "{}", None, None, 200, changed)


SOLUTION = mutants.Solution(
    (
        call("list_pets"),
        call("book_walk", changed=True, pet_id=1, minutes=30, extra=15, kind="short", day="2026-03-05"),
    ),
    "It is on 2026-03-05.",
)


def test_every_kind_of_mutant_is_made(data: seeds.Seed) -> None:
    made = mutants.of(SOLUTION, TOOLS, data, spoilers=[("delete_pet", {"pet_id": 2})], other_answers=["Rex"])
    assert len(made) == mutants.MOST
    whats = " | ".join(each.what for each in made)
    for part in (
        "call 2 (book_walk) is left out",
        "pet_id is 2 in place of 1",
        "minutes is 31 in place of 30",
        "pet_id and minutes are swapped",
        "call 2 (book_walk) is made twice",
        "one more write: delete_pet(pet_id=2)",
        "the answer is 'I could not find that out.'",
        "the answer is 'Rex'",
        "the answer is 'It is on 2026-03-06.'",
        "kind is 'long' in place of 'short'",
    ):
        assert part in whats


def test_a_mutant_differs_in_one_thing_only(data: seeds.Seed) -> None:
    for variant in mutants.of(SOLUTION, TOOLS, data):
        assert (variant.calls != SOLUTION.plain) != (variant.answer != SOLUTION.answer)


def test_an_answer_that_is_written_out_is_not_counted_up(data: seeds.Seed) -> None:
    solution = mutants.Solution((), "It expired on 2026-02-20.", literal=True)
    assert [each.answer for each in mutants.of(solution, [], data)] == ["I could not find that out."]


def test_equivalents_read_more_and_are_refused_first() -> None:
    made = equivalents.of(SOLUTION, TOOLS)
    assert [len(each.calls) for each in made] == [4, 3]
    assert made[1].calls[1] == ("book_walk", {**SOLUTION.calls[1].arguments, "pet_id": 999_999})
    assert made[1].calls[2:] == SOLUTION.plain[1:]


def test_neighbouring_calls_are_exchanged_last_ones_first() -> None:
    oracle = model.Oracle(calls=tuple(model.OracleCall(tool=tool) for tool in ("a", "a", "b")))
    assert [[each.tool for each in other.calls] for _, other in equivalents.reordered(oracle)] == [["a", "b", "a"]]


def ended(data: seeds.Seed, tmp_path: Path, statements: str) -> str:
    final = tmp_path / "final.db"
    database.build(SCHEMA, f"INSERT INTO pets VALUES (1, 'Milo'), (2, 'Rex');{statements}", CLOCK, final, "on")
    return states.fingerprint(database.changes(tmp_path / "seed.db", final), data, CLOCK)


def test_generated_ids_and_readings_of_the_clock_make_no_difference(data: seeds.Seed, tmp_path: Path) -> None:
    one = ended(
        data,
        tmp_path,
        "INSERT INTO pets VALUES (3, 'Ada'); INSERT INTO walks VALUES (1, 3, 30, '2026-01-15T09:00:02Z');",
    )
    other = ended(
        data,
        tmp_path,
        "INSERT INTO pets VALUES (9, 'Ada'); INSERT INTO walks VALUES (5, 9, 30, '2026-01-15 09:00:07');",
    )
    assert one == other


@pytest.mark.parametrize(
    "statements",
    [
        "INSERT INTO pets VALUES (3, 'Ida'); INSERT INTO walks VALUES (1, 3, 30, '2026-01-15T09:00:02Z');",
        "INSERT INTO pets VALUES (3, 'Ada'); INSERT INTO walks VALUES (1, 2, 30, '2026-01-15T09:00:02Z');",
        "INSERT INTO pets VALUES (3, 'Ada'); INSERT INTO walks VALUES (1, 3, 30, '2026-01-15T11:00:00Z');",
        "INSERT INTO pets VALUES (3, 'Ada'); INSERT INTO walks VALUES (1, 3, 31, '2026-01-15T09:00:02Z');",
        "INSERT INTO pets VALUES (3, 'Ada');",
    ],
)
def test_anything_else_does(data: seeds.Seed, tmp_path: Path, statements: str) -> None:
    wanted = "INSERT INTO pets VALUES (3, 'Ada'); INSERT INTO walks VALUES (1, 3, 30, '2026-01-15T09:00:02Z');"
    assert ended(data, tmp_path, statements) != ended(data, tmp_path, wanted)
