"""Many scenarios: none like another, kept when there, refused when there cannot be so many."""

import dataclasses
from pathlib import Path

import pytest

from awm_generator.builtin import errors, running, statistics
from awm_generator.builtin.compiler import simulation, tasks
from awm_runtime.bundle import reading


def test_no_two_have_the_same_tools_or_name() -> None:
    orders = running.plan(running.blueprints(), 90, 7)
    assert len({order.name for order in orders}) == 90
    assert len({order.file for order in orders}) == len(running.blueprints())


def test_a_longer_run_begins_like_a_shorter_one() -> None:
    chosen = running.blueprints()
    assert running.plan(chosen, 30, 7)[:10] == running.plan(chosen, 10, 7)
    assert running.plan(chosen, 10, 8) != running.plan(chosen, 10, 7)


def test_more_than_can_be_different_says_how_many_there_are_and_why(blueprint_file: Path) -> None:
    chosen = running.blueprints(extra=[blueprint_file])
    with pytest.raises(errors.VarietyError, match=r"5000 scenarios .* only \d+ can be .*blueprint tool_library"):
        running.plan(chosen, 5000, 7)


def test_what_does_not_compile_leaves_its_place_to_another_of_its_blueprint() -> None:
    chosen = running.blueprints(["canoe_rental", "vet_practice"])
    first = running.plan(chosen, 6, 7)
    gone = first[2].name
    second = running.plan(chosen, 6, 7, without=[gone])
    assert [order for order in second if order not in first] == [second[2]]
    assert second[2].file == first[2].file
    third = running.plan(chosen, 6, 7, without=[gone, second[2].name])
    assert third[2].name not in {gone, second[2].name}
    assert len({order.name for order in third}) == 6


def test_an_unknown_family_is_named_with_the_known_ones() -> None:
    with pytest.raises(errors.VarietyError, match=r"no blueprint bakery; there are .*canoe_rental"):
        running.blueprints(["bakery"])


def test_a_run_keeps_what_is_there_and_makes_the_rest(blueprint_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    orders = running.plan(running.blueprints(extra=[blueprint_file]), 3, 7)
    first = list(running.run(orders[:2], out, workers=1))
    assert [made.compiles for made in first] == [1, 1]
    before = (out / orders[0].name / "scenario.json").stat().st_mtime_ns
    (out / orders[1].name / "scenario.json").write_text("half a")
    second = list(running.run(orders, out, workers=1))
    assert [made.compiles for made in second] == [0, 1, 1]
    assert (out / orders[0].name / "scenario.json").stat().st_mtime_ns == before
    assert [reading.read(made.path).scenario.name for made in second if made.path] == [order.name for order in orders]


def test_a_scenario_that_came_out_with_other_rows_is_kept_too(
    blueprint_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = tasks.plan

    def plan(state: simulation.State) -> tuple[tasks.Planned, ...]:
        if not state.world.seed.endswith("/again"):
            raise errors.CompilationError("not with these rows")
        return right(state)

    monkeypatch.setattr(tasks, "plan", plan)
    orders = running.plan(running.blueprints(extra=[blueprint_file]), 1, 7)
    assert [made.compiles for made in running.run(orders, tmp_path)] == [2]
    assert [made.compiles for made in running.run(orders, tmp_path)] == [0]


def test_overlap_is_that_of_pairs_and_of_each_closest() -> None:
    sets = [frozenset("ab"), frozenset("ab"), frozenset("cd")]
    assert statistics.overlap(sets) == {"mean": 0.3333, "closest_mean": 0.6667, "highest": 1.0}


def test_code_that_differs_in_comments_and_layout_alone_is_the_same(blueprint_file: Path, tmp_path: Path) -> None:
    [order] = running.plan(running.blueprints(extra=[blueprint_file]), 1, 7)
    made = running.make(order, tmp_path)
    assert made.path is not None
    bundle = reading.read(made.path)
    for name, code in (
        ("twin", f"# another comment\n{bundle.environment}"),
        ("other", f"{bundle.environment}\nX = 1\n"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "environment.py").write_text(code, "utf-8")
    facts = statistics.facts(bundle)
    twin, other = (dataclasses.replace(facts, code=tmp_path / name / "environment.py") for name in ("twin", "other"))
    assert statistics.identical_code([facts, other]) == 0
    assert statistics.identical_code([facts, twin, other]) == 1


def test_tasks_that_repeat_and_nearly_repeat_are_counted() -> None:
    text = (
        "Please cancel my booking of the boat Blue Heron from the third of March and then pay the bill for it at once"
    )
    texts = [text, text, text + " today", "Which boat is the cheapest of all those that have four seats or more?"]
    assert statistics.duplicates(texts) == (1, 1)


def test_a_second_run_on_the_same_folder_is_turned_away(tmp_path: Path) -> None:
    with (
        running.alone(tmp_path / "out"),
        pytest.raises(errors.OutputInUseError, match="out: another run"),
        running.alone(tmp_path / "out"),
    ):
        pass
    with running.alone(tmp_path / "out"):
        pass
