"""Where new episodes go."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awm_registry import directory
from awm_registry.router import placing


def instance(id: str, **fields: Any) -> directory.Instance:
    given = {"scenario": "library", "generation": 1, "bundle": "sha256:1", "state": "ready"} | fields
    urls = {"agent_url": f"http://{id}:1", "control_url": f"http://{id}:2"}
    return directory.Instance(**{**urls, "id": directory.InstanceId(id), **given})


OLD = instance("old")
NEW = instance("new", generation=2, bundle="sha256:2")


@pytest.mark.parametrize(
    ("known", "pins", "expected"),
    [
        ([NEW, OLD], {}, ["new"]),
        ([NEW, OLD], {"generation": 1}, ["old"]),
        ([NEW, OLD], {"bundle": "sha256:1"}, ["old"]),
        ([NEW, OLD], {"generation": 3}, []),
        ([instance("new", generation=2, state="starting"), OLD], {}, ["old"]),
        ([instance("new", generation=2, state="starting")], {}, ["new"]),
        ([instance("gone", generation=2, state="draining"), OLD], {}, ["old"]),
        ([instance("draining", state="draining")], {}, []),
        ([instance("failed", state="failed")], {}, []),
        ([instance("nowhere", agent_url=None)], {}, []),
        ([OLD, instance("twin")], {}, ["old", "twin"]),
    ],
)
def test_new_episodes_go_to_the_newest_that_is_ready(
    known: list[directory.Instance], pins: dict[str, Any], expected: list[str]
) -> None:
    assert [each.id for each in placing.candidates(known, **pins)] == expected


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], "asleep"),
        (["failed"], "failed"),
        (["failed", "draining"], "draining"),
        (["starting", "failed"], "starting"),
        (["starting", "ready", "draining"], "ready"),
    ],
)
def test_a_scenario_has_the_best_state_of_its_instances(states: list[Any], expected: str) -> None:
    assert placing.state(instance(str(number), state=state) for number, state in enumerate(states)) == expected


@given(keys=st.sets(st.binary(min_size=1, max_size=16), min_size=1, max_size=50), number=st.integers(2, 6))
def test_when_an_instance_goes_only_its_keys_move(keys: set[bytes], number: int) -> None:
    every = [instance(f"i{each}") for each in range(number)]
    gone, left = every[0], every[1:]
    for key in keys:
        before = placing.by_key(every, key)
        assert placing.by_key(list(reversed(every)), key) == before
        if before != gone:
            assert placing.by_key(left, key) == before


def test_keys_are_spread_over_all_instances() -> None:
    every = [instance(f"i{each}") for each in range(4)]
    chosen = [placing.by_key(every, b"%d" % key).id for key in range(400)]
    assert min(chosen.count(each.id) for each in every) > 60


def test_episodes_without_a_key_are_shared_out_evenly_from_when_an_instance_came() -> None:
    given = placing.Given()
    first = [given.least([OLD]).id for _ in range(100)]
    both = [given.least([OLD, instance("late")]).id for _ in range(20)]
    assert set(first) == {"old"}
    assert (both.count(OLD.id), len(both)) == (10, 20)
