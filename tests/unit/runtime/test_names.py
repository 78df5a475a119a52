import re

import pytest
import strategies
from hypothesis import example, given
from hypothesis import strategies as st

from awm_runtime import names


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Rover", "rover"),
        ("Samsara (Fleet & Asset Maintenance Management)", "samsara_fleet_asset_maintenance_management"),
        ("__A--b__", "a_b"),
        ("Café 24/7", "caf_24_7"),
        ("!", ""),
    ],
)
def test_names_are_normalised_as_awm_joins_them(title: str, name: str) -> None:
    assert names.normalise(title) == name


@given(st.text())
def test_a_normalised_name_is_plain_and_stays_as_it_is(title: str) -> None:
    name = names.normalise(title)
    assert re.fullmatch(r"([a-z0-9]+(_[a-z0-9]+)*)?", name)
    assert names.normalise(name) == name


@given(st.text())
@example("")
@example("_")
@example("\ud800")
@example("a" * 51)
def test_a_slug_can_name_images_and_kubernetes_objects(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", names.slug(name))


@given(strategies.names.filter(lambda name: len(name) <= names.SLUG_LENGTH))
def test_a_scenario_name_keeps_its_words_in_its_slug(name: str) -> None:
    assert names.slug(name) == name.replace("_", "-")


@pytest.mark.parametrize("name", ["Rover", "a-b", "a__b", "_a", "a.b", "a" * 51])
def test_a_slug_that_changed_more_than_underscores_carries_a_hash(name: str) -> None:
    assert re.fullmatch(r".{1,50}--[0-9a-f]{8}", names.slug(name))


@given(st.lists(st.text("aA_-.", max_size=6), unique=True, max_size=60))
def test_no_two_names_share_a_slug(several: list[str]) -> None:
    assert len({names.slug(name) for name in several}) == len(several)


def test_a_name_made_to_look_like_a_hashed_slug_gets_another_one() -> None:
    hashed = names.slug("Rover")
    assert names.slug(hashed.replace("-", "_")) != hashed
    assert names.slug(hashed) != hashed
