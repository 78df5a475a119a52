"""Two generations of a scenario in one fleet, and the episodes of the older one when nothing is awake."""

from pathlib import Path

import bundles
import local_fleets
import pytest

from awm_runtime.contract import problems


@pytest.fixture
def generations(tmp_path: Path) -> list[Path]:
    return [bundles.make(tmp_path / f"g{number}" / "shop", bundles.SHOP, generation=number) for number in (1, 2)]


def test_an_older_generation_that_sleeps_is_woken_for_its_episodes(generations: list[Path], tmp_path: Path) -> None:
    state = tmp_path / "state"
    with local_fleets.running(generations[:1], state) as before:
        episode = before.open("shop")
        before.call(episode["mcp_url"], "add_item", name="second")
    with local_fleets.running(generations, state) as fleet:
        assert fleet.http.get("/v1/resolve/shop").json()["instances"] == []
        mine = f"{fleet.url}/e/{episode['id']}/mcp"
        assert fleet.call(mine, "list_items").data() == ["first", "second"]
        assert [each["generation"] for each in fleet.http.get("/v1/resolve/shop").json()["instances"]] == [1]
        fresh = fleet.open("shop")
        assert (fresh["generation"], fleet.call(fresh["mcp_url"], "list_items").data()) == (2, ["first"])
        assert fleet.episode(episode["id"])["generation"] == 1


def test_a_generation_that_sleeps_can_be_pinned(generations: list[Path], tmp_path: Path) -> None:
    with local_fleets.running(generations, tmp_path / "state") as fleet:
        older = fleet.open("shop", generation=1)
        assert older["generation"] == 1
        assert fleet.open("shop")["generation"] == 2
        wanted = {"episodes": [{"scenario": "shop", "generation": 7}]}
        [refused] = fleet.http.post("/v1/episodes", json=wanted).json()["rejected"]
        assert refused["error"]["code"] == "conflict"


def test_an_episode_of_a_generation_that_is_not_served_any_more_is_lost_with_the_reason(
    generations: list[Path], tmp_path: Path
) -> None:
    state = tmp_path / "state"
    with local_fleets.running(generations[:1], state) as before:
        episode = before.open("shop")
    with local_fleets.running(generations[1:], state) as fleet:
        problem = fleet.http.get(f"/v1/episodes/{episode['id']}").json()
        assert (problem["status"], problem["code"], problem["class"]) == (410, "episode_lost", "infrastructure")
        assert "is gone" in problem["detail"]
        with pytest.raises(problems.ProblemError) as caught:
            fleet.call(f"{fleet.url}/e/{episode['id']}/mcp", "list_items")
        assert (caught.value.code, caught.value.blame) == (problems.Code.EPISODE_LOST, "infrastructure")
