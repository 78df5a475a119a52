"""Tasks that weigh: which of two, and one deed or another as a value stands."""

import random
from pathlib import Path

import pytest

from awm_generator.builtin import reading
from awm_generator.builtin.compiler import comparing, population, steps, weaving
from awm_generator.builtin.compiler.lookups import Calls
from awm_generator.builtin.compiler.phrasing import Voice
from awm_generator.builtin.compiler.simulation import State


@pytest.fixture
def state(blueprint_file: Path) -> State:
    return population.populate(weaving.weave(reading.blueprint(blueprint_file)[0], blueprint_file, 0, 7))


@pytest.fixture
def voice(state: State) -> Voice:
    return Voice("$", state.world.clock.date(), "iso")


@pytest.mark.parametrize("seed", range(8))
def test_which_of_two_is_answered_by_the_rows(seed: int, state: State, voice: Voice) -> None:
    step = comparing.which(Calls(state), random.Random(seed), voice, "tool")
    assert step is not None
    assert step.answer is not None
    fees = {row["name"]: row["day_fee_cents"] for row in state.tables["tool"].values()}
    right, [wrong] = step.answer.value, step.answer.others
    assert f'"{right}"' in step.clause
    assert f'"{wrong}"' in step.clause
    assert (fees[right] > fees[wrong]) == ("higher" in step.clause)


@pytest.mark.parametrize("seed", range(8))
def test_only_the_deed_of_the_side_that_holds_is_done(seed: int, state: State, voice: Voice) -> None:
    rng = random.Random(seed)
    condition = comparing.condition(Calls(state), rng, voice)
    assert condition is not None
    first = steps.act(condition.calls, rng, voice, "loan", "cancel")
    second = steps.change(condition.calls, rng, voice, "member")
    assert first is not None
    assert second is not None
    step = comparing.either(condition, first, second)
    assert step.clause == f"if {condition.words}, {first.clause}; otherwise {second.clause}"
    assert step.calls is (first if condition.holds else second).calls
    assert step.calls.made[: len(condition.calls.made)] == condition.calls.made
