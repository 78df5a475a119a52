"""What a team on a cluster is told that there is: its live environments, and what files say about them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from awm_fleet.backends.kubernetes import catalogues, model
from awm_runtime.bundle import model as bundles
from awm_runtime.contract import problems

DIGESTS = {1: f"sha256:{'1' * 64}", 2: f"sha256:{'2' * 64}"}


def environment(scenario: str, generation: int = 1, **fields: Any) -> model.Environment:
    wanted = {"name": scenario, "deleting": False, **fields}
    return model.Environment(
        namespace="team-red",
        uid=scenario,
        generation=1,
        scenario=scenario,
        bundle_generation=generation,
        image=f"registry.example/{scenario}@{DIGESTS[generation]}",
        bundle_digest=DIGESTS[generation],
        tools_hash=DIGESTS[1],
        replicas=0,
        idle_s=None,
        catalog_generation=1,
        **wanted,
    )


@dataclass
class View:
    """As `teams.TeamView`, as far as a catalogue looks at it."""

    live: dict[str, model.Environment]
    is_synced: bool = True
    team: Any = field(default_factory=lambda: SimpleNamespace(name="red"))

    @property
    def environments(self) -> Any:
        return SimpleNamespace(items=self.live)


def live(view: View, tmp_path: Path, tiers: Mapping[str, bundles.Tier | None] | None = None) -> Any:
    return catalogues.LiveCatalogue(view, tmp_path, lambda: tiers or {})  # type: ignore[arg-type]


def test_live_environments_are_what_there_is(tmp_path: Path) -> None:
    found = [environment("rover", 2), environment("farm", deleting=True), environment("archive", name="misnamed")]
    told = live(View({each.name: each for each in found}), tmp_path, {DIGESTS[2]: "gold"}).current
    assert [(each.entry.name, each.entry.generation, each.entry.tier) for each in told.cards] == [("rover", 2, "gold")]


def test_a_change_is_told_of_and_what_environments_do_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogues, "_AT_MOST_EVERY_S", 0.0)
    view = View({"rover": environment("rover")})
    catalogue = live(view, tmp_path)
    first = catalogue.current
    catalogue.changed()
    assert catalogue.current is first
    view.live["rover"] = environment("rover", 2)
    catalogue.changed()
    assert catalogue.current.entry("rover").generation == 2


def test_nothing_is_told_before_the_cluster_was_heard_of(tmp_path: Path) -> None:
    with pytest.raises(problems.ProblemError) as caught:
        _ = live(View({}, is_synced=False), tmp_path).current
    assert caught.value.code is problems.Code.STARTING
    assert caught.value.retry_after_s


def test_the_watch_goes_on_while_the_catalogue_is_made(tmp_path: Path) -> None:
    view = View({"rover": environment("rover")})

    class Busy(Mapping[str, Any]):
        def __getitem__(self, key: str) -> None:
            view.live[f"new-{len(view.live)}"] = environment("farm")

        def __iter__(self) -> Iterator[str]:
            return iter(())

        def __len__(self) -> int:
            return 1

    assert [each.entry.name for each in live(view, tmp_path, Busy()).current.cards] == ["rover"]
    assert len(view.live) == 2


def test_an_exchanged_index_tells_other_tiers_and_a_broken_one_none(tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    row = {"name": "rover", "generation": 1, "tier": "gold", "bundle": DIGESTS[1], "tools_hash": DIGESTS[1]}
    path.write_text(json.dumps({"format": "awm-catalogue/1", "entries": [row, {"name": "nonsense"}]}))
    index = catalogues.Index(path)
    assert index.tiers() == {DIGESTS[1]: "gold"}
    other = tmp_path / "other"
    other.write_text("{")
    other.replace(path)
    assert index.tiers() == {}
    assert catalogues.Index(None).tiers() == {}
