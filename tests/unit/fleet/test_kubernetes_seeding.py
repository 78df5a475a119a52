"""What the catalogue's index asks for, and what a controller's configuration may say."""

import json
from pathlib import Path
from typing import Any

import pytest

from awm_fleet.backends.kubernetes import model, names, seeding, settings
from awm_runtime import errors

DIGEST = "1" * 64
ALL = settings.Team(name="red", namespace="ns")


def row(name: str = "rover", generation: int = 1, **changed: Any) -> dict[str, Any]:
    image = f"registry.example/{name}@sha256:{DIGEST}"
    made = {"name": name, "generation": generation, "image": image}
    return {**made, "bundle": f"sha256:{DIGEST}", "tools_hash": f"sha256:{DIGEST}", **changed}


def live(name: str = "rover", *, generation: int = 1, catalog: int | None = 1) -> dict[str, model.Environment]:
    """An environment that is there."""
    annotations = {} if catalog is None else {names.CATALOG_GENERATION: str(catalog)}
    digest = f"sha256:{DIGEST}"
    document = {
        "metadata": {"namespace": "ns", "name": name, "uid": "u", "generation": 1, "annotations": annotations},
        "spec": {
            "scenario": name,
            "bundleGeneration": generation,
            "image": f"x@{digest}",
            "bundleDigest": digest,
            "toolsHash": digest,
        },
    }
    return {name: model.environment(document)}


@pytest.mark.parametrize(
    ("present", "generation", "seeds"),
    [
        ({}, 1, [True]),
        (live(), 1, []),
        (live(), 2, [False]),
        (live(generation=3, catalog=1), 2, []),  # regenerated meanwhile, beyond what the index has
        (live(generation=3, catalog=1), 4, [False]),
        (live(generation=1, catalog=2), 2, []),  # rolled back by hand after the index brought 2
        (live(catalog=None), 1, []),  # made by hand
    ],
)
def test_an_entry_is_applied_when_it_is_newer(
    present: dict[str, model.Environment], generation: int, seeds: list[bool]
) -> None:
    entries, _ = seeding.newest([row(generation=generation)])
    found, refused = seeding.seeds(ALL, entries, present)
    assert ([each.is_new for each in found], list(refused)) == (seeds, [])


def test_the_newest_generation_counts_and_unusable_rows_are_named() -> None:
    rows = [row(), row(generation=3), row(generation=3), row("farm", image=None), {"name": "bad"}, 7]
    entries, refused = seeding.newest(rows)
    assert {name: each.generation for name, each in entries.items()} == {"rover": 3}
    assert [each.scenario for each in refused] == ["rover", "farm", "bad", "a row without a name"]
    assert "twice" in refused[0].reason


def test_a_team_gets_what_it_asks_for_and_is_told_what_is_missing() -> None:
    team = settings.Team(name="red", namespace="ns", scenarios=("farm", "nowhere"), warm=("farm",))
    entries, _ = seeding.newest([row(), row("farm")])
    found, refused = seeding.seeds(team, entries, {})
    assert [(each.entry.name, each.warm) for each in found] == [("farm", True)]
    assert [each.scenario for each in refused] == ["nowhere"]


def test_a_number_of_warm_scenarios_is_the_first_ones() -> None:
    team = settings.Team(name="red", namespace="ns", warm=1)
    entries, _ = seeding.newest([row("b"), row("a")])
    assert [(each.entry.name, each.warm) for each in seeding.seeds(team, entries, {})[0]] == [("a", True), ("b", False)]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"teams": [{"name": "Red", "namespace": "n"}]}, "teams.0.name"),
        ({"teams": [], "color": "red"}, "color"),
        ({"teams": [{"name": "a", "namespace": "n"}, {"name": "b", "namespace": "n"}]}, "two teams have the namespace"),
        ({"teams": [{"name": "a", "namespace": "n"}, {"name": "a", "namespace": "m"}]}, "two teams have the name"),
        ({"teams": [], "pods": {"memory_mib": 1}}, "pods.memory_mib"),
        ({"teams": [], "idle_timeout": "soon"}, "idle_timeout"),
        ({}, "teams"),
    ],
)
def test_a_wrong_configuration_is_refused_by_the_name_of_its_field(
    tmp_path: Path, document: dict[str, Any], said: str
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(document))
    with pytest.raises(errors.PermanentError, match=said):
        settings.read(path)


def test_a_configuration_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(errors.PermanentError, match="cannot be read"):
        settings.read(tmp_path / "config.json")
