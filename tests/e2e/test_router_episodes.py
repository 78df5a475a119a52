"""Episodes through a router before real instances, from open to close."""

import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bundles
import fleets
import instances as waiting
import pytest

from awm_runtime.bundle import model
from awm_runtime.contract import verdicts

RENAMED = """
import sqlite3

def verify_task_completion(initial_db_path, final_db_path, final_answer=None):
    name = sqlite3.connect(final_db_path).execute("SELECT name FROM items WHERE id = 1").fetchone()[0]
    return {"result": "complete" if name == "renamed" and final_answer == "done" else "others"}
"""
TASKS = [model.Task(id="rename", instruction="Rename the first item.", answer="secret", split="test")]
VERIFIERS: dict[tuple[str, verdicts.Mode], str] = {("rename", "code"): RENAMED}


class Fleet:
    """Two scenarios behind a router."""

    def __init__(self, instances: fleets.Instances, router: fleets.Served) -> None:
        self.instances = instances
        self.router = router

    def action(self, method: str, id: str, action: str = "", **options: Any) -> Any:
        """Does something with an episode; the answer's JSON."""
        answer = self.router.http.request(method, f"/v1/episodes/{id}{action}", **options)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    def items(self, episode: dict[str, Any]) -> str:
        """What the shop holds, as an agent sees it."""
        text: str = self.router.call(episode["mcp_url"], "list_items")["result"]["content"][0]["text"]
        return text

    def rename(self, episode: dict[str, Any], name: str) -> None:
        self.router.call(episode["mcp_url"], "rename_item", {"name": name})


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    (folder / "catalogue").mkdir()
    scenarios = {
        name: bundles.make(folder / name, bundles.SHOP, tasks=TASKS, verifiers=VERIFIERS) for name in ("shop", "bakery")
    }
    catalogue = fleets.catalogue(list(scenarios.values()), folder / "catalogue")
    with (
        fleets.instances(scenarios, folder / "state", AWM_EPISODES="60") as instances,
        fleets.router(instances.directory, catalogue) as router,
    ):
        yield Fleet(instances, router)


@pytest.fixture(autouse=True)
def _room(fleet: Fleet) -> Iterator[None]:
    """Closes what a test opened."""
    yield
    for episode in fleet.router.http.get("/v1/episodes?state=open").json()["episodes"]:
        fleet.action("DELETE", episode["id"])


def test_a_batch_over_two_scenarios_is_opened_in_the_order_of_its_items(fleet: Fleet) -> None:
    opened = fleet.router.open(
        {"scenario": "shop", "task": "rename", "seed": 7, "count": 3, "group": "g1"},
        {"scenario": "nowhere"},
        {"scenario": "BAKERY"},
        {"scenario": "shop", "task": "unheard-of"},
        {"scenario": "shop", "count": 2},
        ttl_s=60,
        wait="ready",
    )
    assert [each["scenario"] for each in opened["episodes"]] == ["shop"] * 3 + ["bakery"] + ["shop"] * 2
    assert [(each["index"], each["error"]["code"]) for each in opened["rejected"]] == [
        (1, "unknown_scenario"),
        (3, "bad_request"),
    ]
    first = opened["episodes"][0]
    assert (first["task"], first["seed"], first["group"]) == ("rename", 7, "g1")
    assert first["instruction"] == "Rename the first item."
    assert first["mcp_url"] == f"{fleet.router.url}/e/{first['id']}/mcp"
    assert first["direct_url"].endswith(f"/e/{first['id']}/mcp")
    assert not first["direct_url"].startswith(fleet.router.url)
    assert len({each["id"] for each in opened["episodes"]}) == 6


def test_an_episode_lives_from_open_to_close_through_the_router(fleet: Fleet) -> None:
    [episode] = fleet.router.open({"scenario": "shop", "task": "rename", "seed": 7})["episodes"]
    id = episode["id"]
    fleet.rename(episode, "renamed")
    looked = fleet.action("GET", id)
    assert (looked["calls"], looked["mcp_url"]) == (1, episode["mcp_url"])
    assert looked["state_hash"] != episode["state_hash"]
    verdict = fleet.action("POST", id, "/verify", json={"answer": "done"})
    assert (verdict["outcome"], verdict["reward"], verdict["mask"]) == ("completed", 1.0, False)
    assert fleet.action("POST", id, "/verify")["outcome"] == "failed"
    diff = fleet.action("GET", id, "/diff")
    assert diff["items"]["changed"][0]["columns"] == {"name": ["first", "renamed"]}
    trace = fleet.router.http.get(f"/v1/episodes/{id}/trace")
    assert trace.headers["content-type"] == "application/x-ndjson"
    assert '"tool":"rename_item"' in trace.text.replace(" ", "")
    assert fleet.action("POST", id, "/heartbeat")["expires_at"] > episode["expires_at"]
    reset = fleet.action("POST", id, "/reset", json={"seed": 8})
    assert (reset["calls"], reset["seed"], reset["state_hash"]) == (0, 8, episode["state_hash"])
    for _ in range(2):
        fleet.action("DELETE", id)
    closed = fleet.router.http.post(f"/v1/episodes/{id}/reset")
    assert (closed.status_code, closed.json()["code"]) == (410, "episode_closed")
    error = fleet.router.call(episode["mcp_url"], "list_items")["error"]
    assert error["data"] == {"code": "episode_closed", "class": "agent"}


def test_an_episode_that_ended_is_judged_and_read_while_it_is_kept_and_takes_no_call(fleet: Fleet) -> None:
    [expired] = fleet.router.open({"scenario": "shop"}, ttl_s=0.001)["episodes"]
    error = fleet.router.call(expired["mcp_url"], "list_items")["error"]
    assert error["data"] == {"code": "episode_expired", "class": "agent"}
    [kept] = fleet.router.open({"scenario": "shop", "task": "rename"}, retain_s=600)["episodes"]
    fleet.rename(kept, "renamed")
    fleet.action("DELETE", kept["id"])
    assert fleet.action("POST", kept["id"], "/verify", json={"answer": "done"})["outcome"] == "completed"
    assert list(fleet.action("GET", kept["id"], "/diff")) == ["items"]
    assert fleet.router.http.get(f"/v1/episodes/{kept['id']}/trace").text.count("rename_item") == 1
    [forgotten] = fleet.router.open({"scenario": "shop"}, retain_s=0)["episodes"]
    fleet.action("DELETE", forgotten["id"])
    looked = waiting.wait_for(
        lambda: (answer := fleet.router.http.get(f"/v1/episodes/{forgotten['id']}")).is_error and answer
    )
    assert (looked.status_code, looked.json()["code"]) == (410, "episode_lost")
    assert "its retention is over" in looked.json()["detail"]


def test_a_snapshot_is_the_database_and_its_hash(fleet: Fleet, tmp_path: Path) -> None:
    [episode] = fleet.router.open({"scenario": "shop"})["episodes"]
    fleet.rename(episode, "renamed")
    names = {}
    for which in ("initial", "current"):
        answer = fleet.router.http.get(f"/v1/episodes/{episode['id']}/snapshot", params={"which": which})
        assert answer.headers["content-type"] == "application/vnd.sqlite3"
        assert answer.headers["etag"] == f'"{hashlib.sha256(answer.content).hexdigest()}"'
        path = tmp_path / f"{which}.db"
        path.write_bytes(answer.content)
        with sqlite3.connect(path) as database:
            names[which] = database.execute("SELECT name FROM items").fetchone()[0]
        database.close()
    assert names == {"initial": "first", "current": "renamed"}
    assert fleet.router.http.get(f"/v1/episodes/{episode['id']}/snapshot?which=other").status_code == 400


def test_a_fork_goes_to_its_source_and_goes_on_from_there(fleet: Fleet) -> None:
    [source] = fleet.router.open({"scenario": "shop", "seed": 5})["episodes"]
    fleet.rename(source, "before")
    opened = fleet.router.open({"from": source["id"], "count": 2}, {"from": source["id"], "scenario": "bakery"})
    assert [(each["index"], each["error"]["code"]) for each in opened["rejected"]] == [(1, "bad_request")]
    first, second = opened["episodes"]
    assert (first["from"], first["seed"], first["calls"]) == (source["id"], 5, 1)
    fleet.rename(first, "after")
    assert (fleet.items(source), fleet.items(first), fleet.items(second)) == ('["before"]', '["after"]', '["before"]')
    unknown = fleet.router.open({"from": "ep_" + "a" * 40})["rejected"]
    assert unknown[0]["error"]["code"] == "unknown_episode"


def test_the_same_key_comes_to_the_same_episodes(fleet: Fleet) -> None:
    items = ({"scenario": "shop", "count": 3}, {"scenario": "bakery", "task": "rename"})
    first = fleet.router.open(*items, key="step-1")["episodes"]
    fleet.rename(first[0], "kept")
    again = fleet.router.open(*items, key="step-1")["episodes"]
    assert [each["id"] for each in again] == [each["id"] for each in first]
    assert [each["seed"] for each in again] == [each["seed"] for each in first]
    assert fleet.items(again[0]) == '["kept"]'
    others = fleet.router.open(*items, key="step-2")["episodes"]
    assert not {each["id"] for each in others} & {each["id"] for each in first}
    changed = fleet.router.open({"scenario": "shop", "task": "rename"}, key="step-1")
    assert [each["error"]["code"] for each in changed["rejected"]] == ["conflict"]
    forked = [fleet.router.open({"from": first[0]["id"]}, key="fork")["episodes"][0]["id"] for _ in range(2)]
    assert forked[0] == forked[1]
    fleet.action("DELETE", first[0]["id"])
    assert fleet.router.open(*items, key="step-1")["episodes"][0]["state"] == "closed"


def test_pins_open_what_they_name_or_nothing(fleet: Fleet) -> None:
    [episode] = fleet.router.open({"scenario": "shop"})["episodes"]
    bundle = fleet.router.http.get("/v1/scenarios/shop").json()["bundle"]
    opened = fleet.router.open(
        {"scenario": "shop", "generation": episode["generation"]},
        {"scenario": "shop", "bundle": bundle},
        {"scenario": "shop", "generation": 9},
        {"scenario": "shop", "bundle": "sha256:0"},
    )
    assert len(opened["episodes"]) == 2
    assert [(each["index"], each["error"]["code"]) for each in opened["rejected"]] == [(2, "conflict"), (3, "conflict")]


def test_what_there_is_no_room_for_is_refused_and_the_rest_is_open(fleet: Fleet) -> None:
    opened = fleet.router.open({"scenario": "shop", "count": 70}, {"scenario": "bakery", "count": 2})
    assert [each["scenario"] for each in opened["episodes"]].count("bakery") == 2
    [rejected] = opened["rejected"]
    assert (rejected["index"], rejected["error"]["code"]) == (0, "at_capacity")
    assert rejected["error"]["retry_after_s"] > 0
    assert len(opened["episodes"]) == 60 + 2


def test_the_list_can_be_narrowed(fleet: Fleet) -> None:
    fleet.router.open({"scenario": "shop", "count": 2}, {"scenario": "bakery"})
    get = fleet.router.http.get
    assert {each["scenario"] for each in get("/v1/episodes").json()["episodes"]} == {"shop", "bakery"}
    shops = get("/v1/episodes?scenario=shop&state=open").json()
    assert (len(shops["episodes"]), shops["unreachable"]) == (2, [])
    assert all(each["mcp_url"].startswith(fleet.router.url) for each in shops["episodes"])
    assert get("/v1/episodes?state=open&scenario=nowhere").status_code == 404
    assert get("/v1/episodes?state=lost").status_code == 400


def test_the_default_episode_is_one_for_all_and_listed_and_begins_anew_once_closed(fleet: Fleet) -> None:
    url = f"{fleet.router.url}/s/shop/mcp"
    fleet.router.call(url, "rename_item", {"name": "ours"})
    listed = fleet.router.http.get("/v1/episodes?scenario=shop&state=open").json()["episodes"]
    [default] = [each for each in listed if each["group"] == "default"]
    assert default["calls"] == 1
    assert fleet.items({"mcp_url": url}) == fleet.items(default) == '["ours"]'
    resolved = fleet.router.http.get("/v1/resolve/shop?wake=true").json()
    assert (resolved["state"], resolved["mcp_url"]) == ("ready", url)
    assert resolved["direct_url"] == default["direct_url"]
    fleet.action("DELETE", default["id"])
    assert fleet.items({"mcp_url": url}) == '["first"]'


def test_a_second_router_finds_the_episodes_of_the_first(fleet: Fleet) -> None:
    [episode] = fleet.router.open({"scenario": "shop"}, key="shared")["episodes"]
    fleet.router.call(f"{fleet.router.url}/s/shop/mcp", "rename_item", {"name": "default"})
    with fleets.router(fleet.instances.directory, fleets.Catalogues(fleet.router.catalogue)) as second:
        assert second.call(f"/e/{episode['id']}/mcp", "rename_item", {"name": "second"})["result"]["isError"] is False
        assert fleet.items(episode) == '["second"]'
        assert fleet.items({"mcp_url": f"{second.url}/s/shop/mcp"}) == '["default"]'
        assert second.open({"scenario": "shop"}, key="shared")["episodes"][0]["id"] == episode["id"]


def test_several_instances_share_the_episodes_and_keys_stay_where_they_are(fleet: Fleet) -> None:
    fleet.instances.start("shop-2", "shop")
    try:
        opened = fleet.router.open({"scenario": "shop", "count": 20})["episodes"]
        places = [each["direct_url"].partition("/e/")[0] for each in opened]
        assert sorted(places.count(each) for each in set(places)) == [10, 10]
        keyed = fleet.router.open({"scenario": "shop", "count": 20}, key="spread")["episodes"]
        assert len({each["direct_url"].partition("/e/")[0] for each in keyed}) == 2
        again = fleet.router.open({"scenario": "shop", "count": 20}, key="spread")["episodes"]
        assert [each["id"] for each in again] == [each["id"] for each in keyed]
    finally:
        for episode in fleet.router.http.get("/v1/episodes?state=open").json()["episodes"]:
            fleet.action("DELETE", episode["id"])
        fleet.instances.stop("shop-2")
    lost = fleet.router.http.get(f"/v1/episodes/{_elsewhere(opened, fleet)}")
    assert (lost.status_code, lost.json()["code"], lost.json()["class"]) == (410, "episode_lost", "infrastructure")


def _elsewhere(opened: list[dict[str, Any]], fleet: Fleet) -> str:
    """The id of an episode that is not on the instance that is left."""
    [left] = [each for each in fleet.instances.directory.all() if each.scenario == "shop"]
    return next(str(each["id"]) for each in opened if not each["direct_url"].startswith(str(left.agent_url)))
