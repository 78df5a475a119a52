"""What the fleet client makes of a fleet that is full, slow, gone or strange. A whole fleet is in tests/e2e."""

import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio
import anyio.to_thread
import httpx
import instances
import pytest

from awm_registry import client
from awm_registry.client import leases
from awm_runtime import errors
from awm_runtime.contract import problems

URL = "http://fleet.example"
Respond = Callable[[httpx.Request], httpx.Response]


def problem(code: problems.Code, *, retry_after_s: float | None = None) -> dict[str, Any]:
    said = problems.ProblemError(code, f"{code} was said", retry_after_s=retry_after_s)
    found: dict[str, Any] = json.loads(said.body())
    return found


class Server:
    """A fleet that opens what it is asked for, apart from what `refuse` says.

    Attributes:
        keys: The idempotency keys of the open requests, in order.
        beats: The ids of the heartbeats.
    """

    def __init__(self, room: int = 10_000) -> None:
        self.room = room
        self.keys: list[str | None] = []
        self.sizes: list[int] = []
        self.beats: list[str] = []
        self.closed: set[str] = set()
        self.tokens: set[str | None] = set()
        self.before: Iterator[httpx.Response | Exception] = iter(())
        self._opened = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.tokens.add(request.headers.get("authorization"))
        if request.method == "DELETE":
            self.closed.add(request.url.path.rpartition("/")[2])
            return httpx.Response(204)
        if request.url.path.endswith("/heartbeat"):
            self.beats.append(request.url.path.split("/")[3])
            return httpx.Response(200, json={"expires_at": "2026-11-24T12:00:00Z"})
        self.keys.append(request.headers.get("idempotency-key"))
        early = next(self.before, None)
        if isinstance(early, Exception):
            raise early
        return early or self._open(json.loads(request.content)["episodes"])

    def _open(self, items: list[dict[str, Any]]) -> httpx.Response:
        self.sizes.append(len(items))
        opened: list[dict[str, Any]] = []
        rejected = []
        for index, item in enumerate(items):
            assert item["count"] == 1
            if item["scenario"] == "nowhere":
                rejected.append({"index": index, "error": problem(problems.Code.UNKNOWN_SCENARIO)})
            elif len(opened) >= self.room:
                rejected.append({"index": index, "error": problem(problems.Code.AT_CAPACITY, retry_after_s=0.01)})
            else:
                opened.append(self._view(item))
        return httpx.Response(201, json={"episodes": opened, "rejected": rejected})

    def _view(self, item: dict[str, Any]) -> dict[str, Any]:
        self._opened += 1
        id = f"ep_{self._opened}"
        url = f"{URL}/e/{id}/mcp"
        moment = "2026-01-15T09:00:00Z"
        return {
            **{"id": id, "scenario": item["scenario"], "generation": 1, "state": "open", "task": item.get("task")},
            **{"seed": 1, "mcp_url": url, "direct_url": url, "clock": moment, "tools_hash": "", "expires_at": moment},
        }


def play(server: Respond, story: Callable[[client.Fleet], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        async with client.Fleet(URL, transport=httpx.MockTransport(server), **options) as fleet:
            await story(fleet)

    anyio.run(run)


def test_a_batch_comes_in_the_order_of_its_items_and_ends_with_its_block() -> None:
    server = Server()

    async def story(fleet: client.Fleet) -> None:
        items = [client.Item(scenario="rover", task="1", count=2), {"scenario": "shop", "count": 3}]
        async with await fleet.open_batch(items) as batch:
            assert [(each.view.scenario, each.view.task) for each in batch.episodes] == [
                *[("rover", "1")] * 2,
                *[("shop", None)] * 3,
            ]
        assert server.closed == {f"ep_{number}" for number in range(1, 6)}

    play(server, story, token="secret")
    assert server.tokens == {"Bearer secret"}
    assert len(server.keys) == 1


def test_what_there_is_no_room_for_yet_is_asked_for_again_and_keeps_its_place() -> None:
    server = Server(room=2)

    async def story(fleet: client.Fleet) -> None:
        tasks = [str(number) for number in range(5)]
        batch = await fleet.open_batch([{"scenario": "rover", "task": task} for task in tasks])
        assert [each.view.task for each in batch.episodes] == tasks
        assert batch.refused == []

    play(server, story)
    assert server.sizes == [5, 3, 1]
    assert len(set(server.keys)) == 3  # other items under the same key would be a mistake


def test_a_full_fleet_is_waited_for_no_longer_than_one_has_patience() -> None:
    server = Server()
    full = problem(problems.Code.STARTING, retry_after_s=0.02)
    server.before = iter(lambda: httpx.Response(503, json=full, headers={"content-type": problems.MEDIA_TYPE}), None)

    async def story(fleet: client.Fleet) -> None:
        with pytest.raises(client.CapacityError, match="starting was said") as caught:
            await fleet.open("rover")
        assert caught.value.retry_after_s == 0.02

    play(server, story, patience_s=0.1)
    assert len(server.keys) >= 2
    assert len(set(server.keys)) == 1


def test_part_of_a_batch_is_handed_over_when_patience_ends() -> None:
    server = Server(room=0)
    opened = Server()
    turns = iter([opened])

    def respond(request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and not request.url.path.endswith("heartbeat"):
            opened.room = 1
            return next(turns, server)(request)
        return server(request)

    async def story(fleet: client.Fleet) -> None:
        batch = await fleet.open_batch([{"scenario": "rover", "task": "1"}, {"scenario": "rover", "task": "2"}])
        assert [each.view.task for each in batch.episodes] == ["1"]
        [refusal] = batch.refused
        assert (refusal.item.task, refusal.error.code) == ("2", problems.Code.AT_CAPACITY)

    play(respond, story, patience_s=0.1)


def test_an_item_that_is_refused_is_named_and_the_others_are_opened() -> None:
    async def story(fleet: client.Fleet) -> None:
        batch = await fleet.open_batch([{"scenario": "nowhere", "count": 2}, {"scenario": "rover"}])
        assert [each.view.scenario for each in batch.episodes] == ["rover"]
        assert [(each.item.scenario, each.error.code) for each in batch.refused] == [
            ("nowhere", "unknown_scenario")
        ] * 2
        with pytest.raises(client.UnknownScenario, match="unknown_scenario was said"):
            await fleet.open("nowhere")

    play(Server(), story)


def test_a_lost_answer_is_asked_for_again_under_the_same_key() -> None:
    server = Server()
    server.before = iter([httpx.ReadError("reset"), httpx.Response(502)])

    async def story(fleet: client.Fleet) -> None:
        assert (await fleet.open("rover")).id == "ep_1"

    play(server, story)
    assert len(server.keys) == 3
    assert len(set(server.keys)) == 1


def test_nobody_there_is_said_after_a_few_tries() -> None:
    server = Server()
    server.before = iter(lambda: httpx.ConnectError("refused"), None)

    async def story(fleet: client.Fleet) -> None:
        with pytest.raises(client.Unreachable, match="cannot be reached: refused"):
            await fleet.open("rover")

    play(server, story)
    assert len(server.keys) == 3


def test_a_refusal_that_waiting_does_not_help_is_raised_at_once() -> None:
    server = Server()
    no = problem(problems.Code.NOT_PERMITTED)
    server.before = iter([httpx.Response(403, json=no, headers={"content-type": problems.MEDIA_TYPE})])

    async def story(fleet: client.Fleet) -> None:
        with pytest.raises(problems.ProblemError) as caught:
            await fleet.open("rover")
        assert caught.value.code is problems.Code.NOT_PERMITTED

    play(server, story)
    assert len(server.keys) == 1


def test_an_answer_for_something_else_is_not_believed() -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        return httpx.Response(201, json={"episodes": [], "rejected": []})

    async def story(fleet: client.Fleet) -> None:
        with pytest.raises(problems.ProblemError, match="1 episodes were to be opened, 0 were answered"):
            await fleet.open("rover")

    play(respond, story)


def test_what_was_opened_of_a_batch_is_closed_when_the_rest_fails() -> None:
    server = Server(room=1)
    server.before = iter([None, httpx.Response(200, text="hello")])  # type: ignore[list-item]

    async def story(fleet: client.Fleet) -> None:
        with pytest.raises(errors.PermanentError, match="does not answer as a control plane does"):
            await fleet.open_batch([{"scenario": "rover", "count": 2}])

    play(server, story)
    assert server.closed == {"ep_1"}


def test_leases_are_renewed_until_their_episode_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()

    async def story(fleet: client.Fleet) -> None:
        kept = await fleet.open("rover", ttl_s=0.03)
        closed = await fleet.open("rover", ttl_s=0.03)
        await closed.close()
        await anyio.to_thread.run_sync(instances.wait_for, lambda: server.beats.count(kept.id) >= 3)
        assert closed.id not in server.beats

    play(server, story)


def test_without_heartbeats_none_is_sent() -> None:
    server = Server()

    async def story(fleet: client.Fleet) -> None:
        await fleet.open("rover", ttl_s=0.001)
        await anyio.sleep(0.02)

    play(server, story, heartbeats=False)
    assert server.beats == []


@pytest.mark.parametrize(
    ("error", "tries_again"),
    [
        (problems.ProblemError(problems.Code.EPISODE_EXPIRED, "it is over"), False),
        (problems.ProblemError(problems.Code.STARTING, "not yet"), True),
        (client.Unreachable("away"), True),
    ],
)
def test_a_lease_that_is_over_is_given_up_and_others_are_tried_again(
    caplog: pytest.LogCaptureFixture, error: Exception, tries_again: bool
) -> None:
    tried: list[str] = []

    async def renew(id: str) -> None:
        tried.append(id)
        if id == "ep_1":
            raise error

    async def story() -> None:
        held = leases.Leases(renew)
        held.hold("ep_1", 0.03)
        held.hold("ep_2", 0.03)
        async with anyio.create_task_group() as group:
            group.start_soon(held.keep)
            await anyio.to_thread.run_sync(instances.wait_for, lambda: tried.count("ep_2") >= 4)
            group.cancel_scope.cancel()

    anyio.run(story)
    assert (tried.count("ep_1") > 1) == tries_again
    assert str(error) in caplog.text


def test_an_error_of_the_block_comes_out_as_it_is() -> None:
    async def story(fleet: client.Fleet) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        play(Server(), story)


def test_a_fleet_has_to_be_entered() -> None:
    async def story() -> None:
        fleet = client.Fleet(URL, transport=httpx.MockTransport(Server()))
        with pytest.raises(RuntimeError, match="enter the fleet first"):
            await fleet.open("rover")

    anyio.run(story)
    with pytest.raises(RuntimeError, match="enter the fleet first"):
        client.SyncFleet(URL).open("rover")


def test_all_pages_of_a_list_are_fetched() -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        assert request.url.params["split"] == "test"
        at = int(request.url.params.get("cursor", 0))
        task = {"scenario": "rover", "id": str(at), "instruction": "Do it.", "split": "test"}
        return httpx.Response(200, json={"tasks": [task], "next_cursor": str(at + 1) if at < 2 else None})

    with client.SyncFleet(URL, transport=httpx.MockTransport(respond)) as fleet:
        assert [task.id for task in fleet.tasks(split="test")] == ["0", "1", "2"]


def test_leases_are_renewed_while_the_rest_of_a_batch_waits_for_room() -> None:
    server = Server(room=1)
    full = problem(problems.Code.AT_CAPACITY, retry_after_s=0.05)
    refusal = httpx.Response(429, json=full, headers={"content-type": problems.MEDIA_TYPE})
    server.before = iter([None, *[refusal] * 4])  # type: ignore[list-item]

    async def story(fleet: client.Fleet) -> None:
        await fleet.open_batch([{"scenario": "rover", "count": 2}], ttl_s=0.03)

    play(server, story)
    assert "ep_1" in server.beats


def test_an_episode_that_cannot_be_closed_does_not_keep_the_others_open() -> None:
    server = Server()

    def respond(request: httpx.Request) -> httpx.Response:
        if request.method == "DELETE" and request.url.path.endswith("/ep_1"):
            raise httpx.ConnectError("refused", request=request)
        if request.method == "DELETE" and request.url.path.endswith("/ep_2"):
            return httpx.Response(
                410, json=problem(problems.Code.EPISODE_LOST), headers={"content-type": problems.MEDIA_TYPE}
            )
        return server(request)

    async def story(fleet: client.Fleet) -> None:
        batch = await fleet.open_batch([{"scenario": "rover", "count": 3}])
        with pytest.raises(client.Unreachable, match="ep_1 cannot be reached"):
            await batch.close()

    play(respond, story)
    assert server.closed == {"ep_3"}
