"""What an instance does for routers: episodes under given ids, opened once, and marks for calls that got lost."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bundles
import httpx
import instances
import pytest

from awm_runtime.bundle import model
from awm_runtime.contract import verdicts

VERIFIER = "def verify_task_completion(initial, final, answer=None):\n    return {'result': 'others'}\n"
TASK = model.Task(id="t", instruction="Do it.")
VERIFIERS: dict[tuple[str, verdicts.Mode], str] = {("t", "code"): VERIFIER}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[instances.Running]:
    folder = tmp_path_factory.mktemp("given")
    bundle: Path = bundles.make(folder / "shop", bundles.SHOP, tasks=[TASK], verifiers=VERIFIERS)
    with instances.running(bundle, folder / "state") as instance:
        yield instance


def _open(shop: instances.Running, **item: Any) -> httpx.Response:
    return shop.http.post("/v1/episodes", json={"episodes": [item]})


def test_given_ids_are_opened_once_however_often_they_are_asked_for(shop: instances.Running) -> None:
    ids = ["ep_b", "ep_a"]
    first = _open(shop, ids=ids, count=2).json()["episodes"]
    opened = shop.metric("awm_episodes_opened_total")
    again = _open(shop, ids=ids, count=2).json()["episodes"]
    assert [each["id"] for each in first] == [each["id"] for each in again] == ids
    assert [each["seed"] for each in first] == [each["seed"] for each in again]
    assert shop.metric("awm_episodes_opened_total") == opened


@pytest.mark.parametrize(
    "item",
    [
        {"ids": ["ep_x"], "count": 2},
        {"ids": ["ep_x", "ep_x"], "count": 2},
        {"ids": ["../x"]},
        {"ids": ["ep_X"]},
        {"ids": []},
    ],
)
def test_ids_that_do_not_fit_are_refused(shop: instances.Running, item: dict[str, Any]) -> None:
    assert _open(shop, **item).status_code == 400
    assert shop.http.get("/v1/episodes/ep_x").status_code == 404


@pytest.mark.parametrize("other", [{"task": "t"}, {"seed": 4}, {"group": "g"}, {"from": "ep_source"}])
def test_an_id_stands_for_one_thing(shop: instances.Running, other: dict[str, Any]) -> None:
    _open(shop, ids=["ep_source"], seed=3)
    _open(shop, ids=["ep_one"], seed=3)
    [rejected] = _open(shop, ids=["ep_one"], **other).json()["rejected"]
    assert rejected["error"]["code"] == "conflict"


def test_a_fork_under_a_given_id_is_made_once_and_keeps_what_it_inherited(shop: instances.Running) -> None:
    _open(shop, ids=["ep_origin"], task="t", seed=9)
    forks = [_open(shop, **{"from": "ep_origin", "ids": ["ep_fork"]}).json()["episodes"][0] for _ in range(2)]
    assert forks[0] == forks[1]
    assert (forks[0]["task"], forks[0]["seed"], forks[0]["from"]) == ("t", 9, "ep_origin")


def test_an_episode_that_ended_is_opened_anew_only_where_that_is_asked_for(shop: instances.Running) -> None:
    _open(shop, ids=["ep_ended"])
    shop.control.close("ep_ended")
    assert _open(shop, ids=["ep_ended"]).json()["episodes"][0]["state"] == "closed"
    assert _open(shop, ids=["ep_ended"], reopen=True).json()["episodes"][0]["state"] == "open"


def test_a_call_that_got_lost_masks_the_verdict_until_a_reset(shop: instances.Running) -> None:
    [episode] = _open(shop, ids=["ep_cut"], task="t").json()["episodes"]
    shop.tools(episode["mcp_url"]).call("list_items", {})
    assert shop.http.post("/v1/episodes/ep_cut/interrupt").json()["interrupted"] == 2
    assert shop.control.verify("ep_cut").mask
    shop.control.reset("ep_cut")
    assert not shop.control.verify("ep_cut").mask
    shop.control.close("ep_cut")
    assert shop.http.post("/v1/episodes/ep_cut/interrupt").status_code == 410
