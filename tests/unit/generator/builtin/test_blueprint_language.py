# ruff: noqa: E501 - a blueprint
"""What the blueprint language can say, in a blueprint that says all of it; compiling proves code and simulation alike."""

from pathlib import Path

import pytest

from awm_generator.builtin import checking, reading
from awm_generator.builtin.compiler import compiling, lookups, operations, population, weaving
from awm_generator.builtin.compiler.simulation import Reference, State

BLUEPRINT = """
blueprint: packing_hall
category: logistics
titles: ["{cities} Packing Hall"]
about: A hall where orders are packed. You help one of its packers.
modules: 0..0
attach: {}
vocabulary:
  zones: [North, South, East, West]
  goods: [Lamp, Vase, Clock, Teapot, Mirror, Basket, Candle, Blanket, Frame, Stool]
  remarks: [Handle with care, Top shelf first, Two boxes are better, Ask before lifting, Check the label twice, Use more paper]
entities:
  packer:
    plural: packers
    it: the packer {name}
    user: true
    rows: 4..5
    tools: [list]
    fields:
      name: text person, unique, search
      born_on: {is: "date -20000..-8000/7, sort", label: date of birth}
  shelf:
    plural: shelves
    it: the shelf "{name}"
    rows: 4..4
    fields:
      name: text from zones, unique, search
  article:
    plural: articles
    it: the article "{name}"
    rows: 8..9
    tools: [list, summary]
    fields:
      name: text from goods, unique, search
      shelf: ref shelf, filter
      weight: {is: "integer 1..40, sort", label: grams}
    questions:
      - {say: "Which article is the heaviest?", highest: weight, tell: name}
  parcel:
    plural: parcels
    it: the parcel {number}
    rows: 8..9
    tools: [list]
    fields:
      number: text code P-####, unique, search
      packer: {is: "ref packer, optional, filter", when: {waiting: null}}
      due_on: {is: "date 1..30, sort", label: due date}
    states: {seed: {waiting: 6, packed: 2}, start: waiting, final: [packed]}
  order_line:
    plural: order_lines
    it: the order line of {pieces} pieces of {article} in {parcel}
    per: {parcel: 1..2}
    tools: [list, create, maybe summary]
    fields:
      parcel: ref parcel, create, filter
      article: ref article, create, filter
      pieces: {is: "integer 1..9, create, sort", least: 1, most: 99}
      done: {is: "integer 0..4, sort", label: pieces that are done, begins: 0}
      shelf: {is: ref shelf, set: article.shelf}
      checker: {is: "ref packer", begins: me}
      created_at: stamp
    unique: [[parcel, article]]
    create:
      say: ["add {pieces} pieces of {article} to {parcel}"]
    actions:
      pack:
        say: ["pack {it}", "have {it} packed"]
        rules:
          - require: parcel.status == 'waiting'
            else: "{parcel.number} is packed already."
            reason: [packed, already]
        do: [done = pieces, parcel.status = 'packed', parcel.packer = me]
    selections:
      - {say: "the largest order line of which something is still to be done", where: "done < pieces and pieces > 1", highest: pieces}
    questions:
      - {say: "Of how many order lines is something still to be done?", where: done < pieces, count: true}
      - {say: "Of how many order lines are between {n} and seven pieces wanted?", where: "{n} <= pieces <= 7", count: true, given: {n: [2, 3]}}
  remark:
    plural: remarks
    it: the remark "{text}"
    rows: 4..5
    tools: [list, create, delete]
    fields:
      text: text from remarks, unique, create, search
      answers: ref remark, optional, create, filter
      created_at: stamp
    create:
      say: ["answer {answers} with the remark \\"{text}\\""]
    delete: ["take {it} down"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "packing_hall.yaml"
    path.write_text(BLUEPRINT, "utf-8")
    return path


@pytest.fixture
def state(file: Path) -> State:
    return population.populate(weaving.weave(reading.blueprint(file)[0], file, 0, 7))


def test_all_of_it_is_sound_and_compiles(file: Path) -> None:
    blueprint = checking.check(file)
    for variant in range(3):
        bundle = compiling.compile_world(weaving.weave(blueprint, file, variant, 7))
        assert len(bundle.tasks) == 10


def test_an_action_sets_the_state_and_a_reference_of_another_row(state: State) -> None:
    line = next(row for row in state.tables["order_line"].values() if _parcel(state, row)["status"] == "waiting")
    operations.act(state, "order_line", line["id"], "pack", {})
    assert (line["done"], _parcel(state, line)["status"], _parcel(state, line)["packer_id"]) == (
        line["pieces"],
        "packed",
        1,
    )


def test_a_reference_is_computed_and_begins_with_the_user(state: State) -> None:
    article = state.tables["article"][1]
    state.tables["order_line"].clear()
    key = operations.create(
        state, "order_line", {"parcel": Reference("parcel", 1), "article": Reference("article", 1), "pieces": 2}
    )
    row = state.tables["order_line"][key]
    assert (row["shelf_id"], row["checker_id"]) == (article["shelf_id"], 1)
    assert not {"shelf", "checker"} & row.keys()


def test_seed_rows_have_computed_references_and_none_where_the_state_says_so(state: State) -> None:
    for row in state.tables["order_line"].values():
        assert row["shelf_id"] == state.tables["article"][row["article_id"]]["shelf_id"]
    assert {row["packer_id"] for row in state.tables["parcel"].values() if row["status"] == "waiting"} == {None}


def test_rows_refer_to_earlier_rows_of_their_kind(state: State) -> None:
    rows = state.tables["remark"].values()
    assert any(row["answers_id"] for row in rows)
    assert all(row["answers_id"] is None or row["answers_id"] < row["id"] for row in rows)


def test_two_fields_are_compared_in_a_question(state: State) -> None:
    calls = lookups.Calls(state)
    assert lookups.chosen(calls, "order_line", "done < pieces").endswith("[?done < pieces]")
    assert lookups.chosen(calls, "order_line", "2 <= pieces <= 7").endswith("[?(`2` <= pieces && pieces <= `7`)]")


def _parcel(state: State, line: dict[str, object]) -> dict[str, object]:
    return state.tables["parcel"][int(str(line["parcel_id"]))]
