"""What the compiler makes of the shipped blueprints, and of the page's."""

import dataclasses
import itertools
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from awm_generator.builtin import checking, errors, language, reading, running
from awm_generator.builtin.compiler import (
    answers_text,
    compiling,
    environment_text,
    lookups,
    phrasing,
    population,
    schema_text,
    simulation,
    steps,
    tasks,
    verifiers_text,
    weaving,
    worlds,
)
from awm_runtime.bundle import digest, model

RULES = "E,F,W,I,B"
PAGE = Path(__file__).resolve().parents[4] / "docs" / "blueprints.md"
DIGEST = """
import sys
from pathlib import Path
from awm_generator.builtin import reading
from awm_generator.builtin.compiler import compiling, weaving
from awm_runtime.bundle import digest
file = Path(sys.argv[1])
print(digest.digest(compiling.compile_world(weaving.weave(reading.blueprint(file)[0], file, 0, 7))))
"""


def world_of(file: Path, variant: int = 0) -> worlds.World:
    return weaving.weave(reading.blueprint(file)[0], file, variant, 7)


@pytest.fixture(scope="module")
def shipped() -> dict[str, model.Bundle]:
    return {name: running.compiled(world_of(file))[0] for name, file in reading.shipped_blueprints().items()}


def test_every_shipped_blueprint_is_sound() -> None:
    assert len(reading.shipped_blueprints()) >= 50
    for file in reading.shipped_blueprints().values():
        assert checking.check(file).blueprint == file.stem


def test_the_page_lists_every_shipped_blueprint_under_its_category() -> None:
    rows = re.findall(r"^\| (\w+) \| (`\w+`(?:, `\w+`)*) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    listed = {name: category for category, names in rows for name in re.findall(r"\w+", names)}
    assert listed == {name: reading.blueprint(file)[0].category for name, file in reading.shipped_blueprints().items()}


def test_every_module_is_attached_by_some_blueprint() -> None:
    attached = {name for file in reading.shipped_blueprints().values() for name in reading.blueprint(file)[0].attach}
    assert attached == set(reading.shipped_modules())


def test_a_bundle_has_the_size_and_the_ladder_that_are_asked_for(shipped: dict[str, model.Bundle]) -> None:
    for bundle in shipped.values():
        counts = bundle.scenario.counts
        assert counts is not None
        assert (counts.tools >= 25, counts.tables >= 9, counts.rows >= 80, counts.tasks) == (True, True, True, 10)
        assert {task.difficulty for task in bundle.tasks} == {"easy", "medium", "hard"}
        assert {task.split for task in bundle.tasks} == {"train", "test"}
        assert len({task.instruction for task in bundle.tasks}) == 10


def test_no_task_asks_merely_which_of_two_it_is(shipped: dict[str, model.Bundle]) -> None:
    asked = [task.instruction for bundle in shipped.values() for task in bundle.tasks if task.answer is not None]
    compared = [text for text in asked if re.search(r"which has the .* or ", text)]
    assert compared
    assert all(re.search(r"(then:|done:|so:|tell me:|know:) which has the ", text) for text in compared)


@pytest.mark.parametrize("name", ["patient_transport", "savings_bank", "hiring_pipeline"])
def test_what_is_forbidden_is_asked_for_alone_and_at_the_end_of_several_deeds(name: str) -> None:
    state = population.populate(world_of(reading.shipped_blueprints()[name]))
    forbidden = [planned for planned in tasks.plan(state) if planned.answer and planned.answer.kind == "reason"]
    changed = {planned.task.difficulty: verifiers_text.wanted_changes(state, planned.after) for planned in forbidden}
    assert changed.keys() == {"easy", "hard"}
    assert changed["easy"] == {}
    assert changed["hard"]


def test_no_task_of_a_scenario_takes_the_answer_of_another() -> None:
    file = reading.shipped_blueprints()["patient_transport"]
    for variant in (5, 7, 11):  # with vehicles such as Alpha Two, and tasks that ask how many
        state = population.populate(world_of(file, variant))
        answers = [planned.answer for planned in tasks.plan(state) if planned.answer]
        for first, second in itertools.permutations(answers, 2):
            if first.shown != second.shown:
                assert not answers_text.accepts(first, state.world.clock.date(), second.shown)


def test_the_tools_of_the_plan_are_the_tools_that_are_served(shipped: dict[str, model.Bundle]) -> None:
    for name, file in reading.shipped_blueprints().items():
        assert [tool["name"] for tool in shipped[name].tools] == [tool.name for tool in world_of(file).tools]


def test_the_specification_names_each_tool_with_its_arguments(shipped: dict[str, model.Bundle]) -> None:
    for bundle in shipped.values():
        endpoints = [endpoint for group in bundle.spec["api_groups"] for endpoint in group["endpoints"]]
        specified = {endpoint["operation_id"]: set(endpoint["request_params"]) for endpoint in endpoints}
        assert specified == {tool["name"]: set(tool["inputSchema"]["properties"]) for tool in bundle.tools}


def test_the_code_and_the_verifiers_are_lint_clean(shipped: dict[str, model.Bundle], tmp_path: Path) -> None:
    for name, bundle in shipped.items():
        (tmp_path / f"{name}.py").write_text(bundle.environment, "utf-8")
        for (task, _), text in bundle.verifiers.items():
            (tmp_path / f"{name}_{task}.py").write_text(text, "utf-8")
    checked = subprocess.run(
        [
            "ruff",
            "check",
            "--isolated",
            "--line-length",
            "120",
            "--select",
            RULES,
            "--output-format",
            "concise",
            tmp_path,
        ],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": str(Path(sys.executable).parent)},
    )
    assert checked.returncode == 0, checked.stdout[:3000]


def test_the_same_world_gives_the_same_bundle_whatever_the_order_of_sets(blueprint_file: Path) -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", DIGEST, blueprint_file],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert digests == {f"{digest.digest(compiling.compile_world(world_of(blueprint_file)))}\n"}


def test_another_seed_gives_other_rows(blueprint_file: Path) -> None:
    first = world_of(blueprint_file)
    second = dataclasses.replace(first, seed="another")
    assert schema_text.seed(population.populate(first)) != schema_text.seed(population.populate(second))


def test_seed_rows_keep_the_rules_that_hold_always(blueprint_file: Path) -> None:
    state = population.populate(world_of(blueprint_file))
    loans = [row for row in state.tables["loan"].values() if row["status"] in ("reserved", "collected")]
    assert loans
    assert all(row["ends_on"] >= row["starts_on"] for row in state.tables["loan"].values())
    for first in loans:
        others = [each for each in loans if each["tool_id"] == first["tool_id"] and each is not first]
        assert not any(o["starts_on"] < first["ends_on"] and o["ends_on"] > first["starts_on"] for o in others)


def test_a_scenario_whose_code_does_something_else_is_not_published(
    blueprint_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = environment_text.source

    def broken(world: worlds.World) -> str:
        return right(world).replace("session.add(", "str(").replace('.status = "', '.status == "')

    monkeypatch.setattr(environment_text, "source", broken)
    with pytest.raises(errors.CompilationError, match="task-"):
        compiling.compile_world(world_of(blueprint_file))


def test_no_task_asks_for_what_is_so_already(blueprint_file: Path) -> None:
    state = population.populate(world_of(blueprint_file))
    idle = language.Action.model_validate({"say": ["check {it}"], "do": ["broken = broken"]})
    tool = state.world.entities["tool"]
    entities = {**state.world.entities, "tool": tool.model_copy(update={"actions": {"check": idle}})}
    tools = (*state.world.tools, worlds.Tool("action", "check_tool", "POST", "/tools/{tool_id}/check", "tool", "check"))
    idling = simulation.State(dataclasses.replace(state.world, entities=entities, tools=tools), state.tables)
    rng, voice = random.Random(7), phrasing.Voice("$", state.world.clock.date(), "iso")
    assert steps.act(lookups.Calls(idling), rng, voice, "tool", "check") is None


def test_what_a_task_names_is_one_row_only(blueprint_file: Path) -> None:
    state = population.populate(world_of(blueprint_file))
    tool = state.tables["tool"][1]
    twin = {**tool, "id": 99}
    state.tables["tool"][99] = twin
    for planned in tasks.plan(state):
        assert f'"{tool["name"]}"' not in planned.task.instruction
