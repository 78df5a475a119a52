"""Instances that misbehave and clients that do, as the other side of a router sees it."""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import bundles
import fleets
import httpx
import pytest
import strangers

from awm_registry.router import ids, settings

MADE = ids.EpisodeIds(fleets.ID_KEY)
EPISODE = MADE.repeatable(ids.placement("shop", "stranger-1"), "mine")
MCP = f"/e/{EPISODE}/mcp"
CALL = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "list_items", "arguments": {}}}
MODERN = CALL | {"params": {"name": "list_items", "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}}
NOTIFICATION = {"jsonrpc": "2.0", "method": "notifications/initialized"}


@pytest.fixture(scope="module")
def catalogues(tmp_path_factory: pytest.TempPathFactory) -> fleets.Catalogues:
    folder = tmp_path_factory.mktemp("fleet")
    (folder / "catalogue").mkdir()
    scenarios = [bundles.make(folder / name, "", tools=()) for name in ("shop", "bakery")]
    return fleets.catalogue(scenarios, folder / "catalogue")


@contextlib.contextmanager
def served(
    catalogues: fleets.Catalogues, part: strangers.Part, **limits: Any
) -> Iterator[tuple[fleets.Served, strangers.Stranger]]:
    """A router before one stranger."""
    fleet = fleets.Directory()
    quick = settings.Settings(**{"wake_s": 0.3, "answer_s": 5.0, **limits})
    with strangers.answering(part) as stranger, fleets.router(fleet, catalogues, limits=quick) as router:
        fleet.put(strangers.as_instance(stranger, "shop"))
        yield router, stranger


async def garbage(exchange: strangers.Exchange) -> None:
    await exchange.write(b"no HTTP\r\n\r\n")


async def cut(exchange: strangers.Exchange) -> None:
    exchange.hang_up()


async def hang(_: strangers.Exchange) -> None:
    await asyncio.Event().wait()


FAULTS = [(garbage, "episode_interrupted", 409), (cut, "episode_interrupted", 409), (hang, "timeout", 504)]


@pytest.mark.parametrize(("part", "code", "status"), FAULTS)
def test_a_call_without_an_answer_is_an_infrastructure_error_and_never_made_twice(
    catalogues: fleets.Catalogues, part: strangers.Part, code: str, status: int
) -> None:
    with served(catalogues, part, answer_s=0.2) as (router, stranger):
        old = router.http.post(MCP, json=CALL)
        new = router.http.post(MCP, json=MODERN)
        notified = router.http.post(MCP, json=NOTIFICATION)
        nothing = router.http.get(MCP)
        assert len([each for each in stranger.seen if each.head.startswith((f"POST {MCP}", f"GET {MCP}"))]) == 4
        marked = any(each.head.startswith(f"POST /v1/episodes/{EPISODE}/interrupt") for each in stranger.seen)
        assert marked == (code == "episode_interrupted")
    assert (old.status_code, new.status_code, notified.status_code) == (200, status, 202)
    for answer in (old, new):
        said = answer.json()
        assert (said["id"], said["error"]["data"]["code"]) == (7, code)
        assert said["error"]["data"]["class"] == "infrastructure"
    assert (nothing.status_code, nothing.json()["code"]) == (status, code)


def test_an_instance_that_cannot_be_reached_is_tried_again_and_then_said_to_start(
    catalogues: fleets.Catalogues,
) -> None:
    with served(catalogues, garbage) as (router, stranger):
        with socket.create_server(("127.0.0.1", 0)) as free:
            nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
        away = strangers.as_instance(stranger, "shop")
        stranger.url = nobody
        fleet = router.router._roster._fleet
        assert isinstance(fleet, fleets.Directory)
        fleet.put(strangers.as_instance(stranger, "shop"))
        answer = router.http.post(MCP, json=MODERN)
        assert (answer.status_code, answer.json()["error"]["data"]["code"]) == (503, "starting")
        assert int(answer.headers["retry-after"]) >= 1
        assert away.agent_url != nobody


def test_a_call_finds_its_instance_at_its_new_address_when_nothing_was_sent(catalogues: fleets.Catalogues) -> None:
    async def fine(exchange: strangers.Exchange) -> None:
        await exchange.answer_json({"jsonrpc": "2.0", "id": 7, "result": {}})

    with served(catalogues, fine, wake_s=10) as (router, stranger):
        there = strangers.as_instance(stranger, "shop")
        fleet = router.router._roster._fleet
        assert isinstance(fleet, fleets.Directory)
        with socket.create_server(("127.0.0.1", 0)) as free:
            stranger.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        fleet.put(strangers.as_instance(stranger, "shop"))
        threading.Timer(0.2, fleet.put, [there]).start()
        assert router.http.post(MCP, json=CALL).json()["result"] == {}
        assert len(stranger.seen) == 1


def test_an_episode_that_its_instance_does_not_know_is_lost_and_nobody_is_blamed(
    catalogues: fleets.Catalogues,
) -> None:
    problem = {"title": "x", "status": 404, "detail": "none", "code": "unknown_episode", "class": "agent"}
    error = {"code": -32010, "message": "none", "data": {"code": "unknown_episode", "class": "agent"}}

    async def forgetful(exchange: strangers.Exchange) -> None:
        if "/mcp" in exchange.head:
            await exchange.answer_json({"jsonrpc": "2.0", "id": 7, "error": error})
        else:
            await exchange.answer_json(problem, status="404 Not Found", kind="application/problem+json")

    with served(catalogues, forgetful) as (router, _):
        called = router.http.post(MCP, json=CALL)
        assert called.json()["error"]["data"] == {"code": "episode_lost", "class": "infrastructure"}
        for action in ("GET", "POST /reset", "POST /verify", "GET /trace", "GET /diff"):
            method, _, path = action.partition(" ")
            answer = router.http.request(method, f"/v1/episodes/{EPISODE}{path}")
            assert answer.status_code == 410
            assert (answer.json()["code"], answer.json()["class"]) == ("episode_lost", "infrastructure")
        assert router.http.delete(f"/v1/episodes/{EPISODE}").status_code == 204


def _view(**fields: Any) -> dict[str, Any]:
    return {
        "id": EPISODE,
        "scenario": "shop",
        "generation": 1,
        "state": "open",
        "seed": 1,
        "mcp_url": "http://x",
        "direct_url": "http://x",
        "clock": "2026-01-01T09:00:00Z",
        "tools_hash": "sha256:1",
        "expires_at": "2026-01-01T09:00:00Z",
        **fields,
    }


@pytest.mark.parametrize("answer", ["nonsense", {}, [], {"episodes": [_view(scenario="bakery")], "rejected": []}])
def test_an_instance_that_answers_for_something_else_opens_nothing(catalogues: fleets.Catalogues, answer: Any) -> None:
    async def strange(exchange: strangers.Exchange) -> None:
        await exchange.answer_json(answer, status="201 Created")

    with served(catalogues, strange) as (router, _):
        opened = router.open({"scenario": "shop", "count": 2})
        assert opened["episodes"] == []
        [rejected] = opened["rejected"]
        assert (rejected["index"], rejected["error"]["class"]) == (0, "infrastructure")
        looked = router.http.get(f"/v1/episodes/{EPISODE}")
        assert (looked.status_code, looked.json()["class"]) == (500, "infrastructure")
        verified = router.http.post(f"/v1/episodes/{EPISODE}/verify")
        assert (verified.status_code, verified.json()["class"]) == (500, "infrastructure")


def test_one_bad_instance_leaves_the_rest_of_a_batch_and_of_a_list_alone(catalogues: fleets.Catalogues) -> None:
    async def good(exchange: strangers.Exchange) -> None:
        wanted = json.loads(exchange.body) if exchange.body else {"episodes": []}
        opened = [_view(id=id, scenario="bakery") for item in wanted["episodes"] for id in item["ids"]]
        await exchange.answer_json({"episodes": opened or [_view(scenario="bakery")], "rejected": []})

    with strangers.answering(good) as other, served(catalogues, cut) as (router, _):
        fleet = router.router._roster._fleet
        assert isinstance(fleet, fleets.Directory)
        fleet.put(strangers.as_instance(other, "bakery", id="stranger-2"))
        opened = router.open({"scenario": "shop"}, {"scenario": "bakery", "count": 2}, {"scenario": "brewery"})
        assert [each["scenario"] for each in opened["episodes"]] == ["bakery", "bakery"]
        assert [(each["index"], each["error"]["code"]) for each in opened["rejected"]] == [
            (0, "episode_interrupted"),
            (2, "unknown_scenario"),
        ]
        listed = router.http.get("/v1/episodes").json()
        assert [each["scenario"] for each in listed["episodes"]] == ["bakery"]
        assert [each["instance"] for each in listed["unreachable"]] == ["stranger-1"]


def test_a_stream_is_handed_on_as_it_comes_and_its_end_too(catalogues: fleets.Catalogues) -> None:
    got, go = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def stream(exchange: strangers.Exchange) -> None:
        loops.append(asyncio.get_running_loop())
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        await exchange.write(head + b"9\r\ndata: 1\n\n\r\n")
        await go.wait()
        await exchange.write(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")

    with served(catalogues, stream) as (router, _), router.http.stream("POST", MCP, json=CALL) as answer:
        parts = answer.iter_raw()
        assert next(parts) == b"data: 1\n\n"  # the second is not written yet
        loops[0].call_soon_threadsafe(go.set)
        assert b"".join(parts) == b"data: 2\n\n"
        assert answer.headers["content-type"] == "text/event-stream"
        got.set()
    assert got.is_set()


def test_a_stream_that_is_cut_never_looks_complete(catalogues: fleets.Catalogues) -> None:
    async def stream(exchange: strangers.Exchange) -> None:
        await exchange.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n")
        exchange.hang_up()

    with served(catalogues, stream) as (router, _), pytest.raises(httpx.RemoteProtocolError):
        router.http.post(MCP, json=CALL)


def test_clients_that_leave_or_read_nothing_harm_nobody(catalogues: fleets.Catalogues) -> None:
    """Streams without an end whose clients went: their connections to the instance are given up."""

    async def pour(exchange: strangers.Exchange) -> None:
        if b'"id": 1' in exchange.body or b'"id":1' in exchange.body:
            await exchange.answer_json({"jsonrpc": "2.0", "id": 1, "result": {}})
            return
        await exchange.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                await exchange.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                await asyncio.sleep(0.01)

    with served(catalogues, pour, connections=4, answer_s=0.5) as (router, _):
        port = int(router.url.rpartition(":")[2])
        request = f"POST {MCP} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{}}".encode()
        leaving = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
        for each in (*leaving, *idle):
            each.sendall(request)
            assert each.recv(15) == b"HTTP/1.1 200 OK"
        for each in leaving:
            each.close()
        assert router.http.post(MCP, json=CALL | {"id": 1}).json()["result"] == {}
        metrics = ""
        while "awm_router_in_flight 0.0" not in metrics:  # also those of the clients that read nothing
            metrics = router.http.get("/metrics").text
        for each in idle:
            each.close()


def test_a_client_that_leaves_in_the_middle_of_a_call_leaves_the_connection_to_others(
    catalogues: fleets.Catalogues,
) -> None:
    here, go = threading.Event(), threading.Event()

    async def slow(exchange: strangers.Exchange) -> None:
        if exchange.number == 1:
            here.set()
            await asyncio.to_thread(go.wait, 10)
        await exchange.answer_json({"jsonrpc": "2.0", "id": exchange.number, "result": {}})

    with served(catalogues, slow, connections=1) as (router, stranger):
        leaving = socket.create_connection(("127.0.0.1", int(router.url.rpartition(":")[2])))
        body = json.dumps(CALL)
        leaving.sendall(f"POST {MCP} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        assert here.wait(10)
        leaving.close()
        go.set()
        assert router.http.post(MCP, json=CALL).json()["id"] == 2
        assert stranger.connections == 1


def test_half_a_request_never_reaches_an_instance(catalogues: fleets.Catalogues) -> None:
    with served(catalogues, cut, request_s=0.2) as (router, stranger):
        port = int(router.url.rpartition(":")[2])
        for path in (MCP, "/v1/episodes"):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as half:
                half.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{{".encode())
                assert half.recv(64).startswith(b"HTTP/1.1 504")
        assert stranger.seen == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/e//mcp", 404),
        ("/e/../v1/episodes/mcp", 404),
        (f"/e/{EPISODE}/../x/mcp", 404),
        (f"/e/{EPISODE}%2F..%2Fx/mcp", 404),
        (f"/e/{EPISODE}/mcp/", 404),
        ("/e/ep_default/mcp", 200),
        (f"/e/{EPISODE}%00/mcp", 200),
        ("/s//mcp", 404),
        ("/s/..%2Fshop/mcp", 404),
        ("/s/nowhere/mcp", 404),
    ],
)
def test_tricks_in_paths_reach_nothing(catalogues: fleets.Catalogues, path: str, status: int) -> None:
    with served(catalogues, cut) as (router, stranger):
        port = int(router.url.rpartition(":")[2])
        body = json.dumps(CALL)
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
            raw.sendall(
                f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            said = raw.recv(4096).decode()
        assert int(said.split()[1]) == status
        assert "unknown_episode" in said or "unknown_scenario" in said
        assert stranger.seen == []


@pytest.mark.parametrize("name", ["..", "shop/../../livez", "%00", "x" * 5000, "🦆"])
def test_tricks_in_names_are_unknown_scenarios(catalogues: fleets.Catalogues, name: str) -> None:
    with served(catalogues, cut) as (router, stranger):
        opened = router.http.post("/v1/episodes", json={"episodes": [{"scenario": name}]})
        if len(name) > 200:
            assert opened.status_code == 400
        else:
            assert opened.json()["rejected"][0]["error"]["code"] == "unknown_scenario"
        assert router.http.get("/v1/resolve/" + name.replace("/", "%2F").replace("%00", "%2500")).status_code == 404
        assert stranger.seen == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"episodes": []}',
        b'{"episodes": [{}]}',
        b'{"episodes": [{"scenario": "shop", "count": 0}]}',
        b'{"episodes": [{"scenario": "shop", "count": 5000}]}',
        b'{"episodes": [{"scenario": "shop", "ids": ["ep_1"]}]}',
        b'{"episodes": [{"scenario": "shop", "seed": -1}]}',
        b'{"episodes": [{"scenario": "shop"}], "ttl_s": 0}',
        b'{"episodes": [{"scenario": "shop"}], "wait": "maybe"}',
        b'{"episodes": [{"scenario": "\xff"}]}',
        json.dumps({"episodes": [{"scenario": "shop", "count": 4096}] * 5}).encode(),
    ],
)
def test_a_malformed_open_request_is_refused_as_a_whole(catalogues: fleets.Catalogues, body: bytes) -> None:
    with served(catalogues, cut) as (router, stranger):
        answer = router.http.post("/v1/episodes", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/problem+json"
        assert (answer.json()["code"], answer.json()["class"]) == ("bad_request", "agent")
        assert stranger.seen == []


def test_bodies_over_the_limit_are_refused_on_both_planes(catalogues: fleets.Catalogues) -> None:
    with served(catalogues, cut, request_bytes=1000) as (router, stranger):
        for path in (MCP, "/v1/episodes"):
            answer = router.http.post(path, content=b"x" * 1001)
            assert (answer.status_code, "too_large" in answer.text) == (413, True)
            chunked = router.http.post(path, content=(b"x" * 100 for _ in range(11)))
            assert chunked.status_code == 413
        assert stranger.seen == []


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}])
@pytest.mark.parametrize("path", [MCP, "/s/shop/mcp", "/v1/episodes", "/openapi.json"])
def test_a_web_page_of_another_name_is_refused(
    catalogues: fleets.Catalogues, path: str, headers: dict[str, str]
) -> None:
    with served(catalogues, cut) as (router, stranger):
        answer = router.http.post(path, json=CALL, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted")
        assert stranger.seen == []


def test_what_a_client_shows_of_itself_stays_with_the_router(catalogues: fleets.Catalogues) -> None:
    async def fine(exchange: strangers.Exchange) -> None:
        head = b"HTTP/1.1 200 OK\r\nset-cookie: a=b\r\nserver: x\r\nmcp-session-id: s\r\ncontent-length: 2\r\n\r\n{}"
        await exchange.write(head)

    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    shown = {"Authorization": "Bearer secret", "Cookie": "secret", "Origin": "http://localhost", "traceparent": trace}
    with served(catalogues, fine) as (router, stranger):
        answer = router.http.post(MCP, json=CALL, headers=shown)
        router.http.get(f"/v1/episodes/{EPISODE}", headers=shown)
    assert (answer.headers.get("set-cookie"), answer.headers.get("server")) == (None, None)
    assert answer.headers["mcp-session-id"] == "s"
    for exchange in stranger.seen:
        assert "secret" not in exchange.head
        assert "origin:" not in exchange.head
        assert f"traceparent: {trace}" in exchange.head
        assert f"host: {stranger.url.removeprefix('http://')}\r\n" in exchange.head


def test_of_many_at_once_each_is_answered_or_told_when_to_come_again(catalogues: fleets.Catalogues) -> None:
    async def slow(exchange: strangers.Exchange) -> None:
        await asyncio.sleep(0.005)
        await exchange.answer_json({"jsonrpc": "2.0", "id": 7, "result": {}})

    async def flood(url: str) -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
            return await asyncio.gather(*(client.post(MCP, json=MODERN) for _ in range(400)))

    with served(catalogues, slow, connections=2, waiting=100, wake_s=20) as (router, stranger):
        with futures.ThreadPoolExecutor(1) as pool:
            answers = pool.submit(lambda: asyncio.run(flood(router.url))).result()
        assert {each.status_code for each in answers} == {200, 429}
        assert len(stranger.seen) == sum(each.status_code == 200 for each in answers)
    for each in answers:
        if each.status_code == 429:
            assert int(each.headers["retry-after"]) >= 1
            assert each.json()["error"]["data"]["class"] == "infrastructure"


def test_a_scenario_that_does_not_come_is_refused_with_a_time_and_a_position(catalogues: fleets.Catalogues) -> None:
    with served(catalogues, cut) as (router, _):
        answer = router.http.get("/v1/resolve/bakery?wake=true&wait_s=0.05")
        assert (answer.status_code, answer.json()["state"]) == (200, "asleep")
        opened = router.open({"scenario": "bakery"})
        [rejected] = opened["rejected"]
        assert (rejected["error"]["code"], rejected["error"]["diagnostics"]["position"]) == ("starting", 1)
        called = router.http.post("/s/bakery/mcp", json=MODERN)
        assert (called.status_code, int(called.headers["retry-after"]) >= 1) == (503, True)


def test_nothing_that_lists_or_looks_wakes_anything(catalogues: fleets.Catalogues, tmp_path: Path) -> None:
    with served(catalogues, cut) as (router, _):
        fleet = router.router._roster._fleet
        assert isinstance(fleet, fleets.Directory)
        fleet.remove("stranger-1")
        for path in (
            "/v1/scenarios",
            "/v1/scenarios/shop",
            "/v1/scenarios/shop/tasks",
            "/v1/tasks",
            "/v1/mcp.json",
            "/v0.1/servers",
            "/v1/resolve/shop",
            "/v1/episodes",
            "/openapi.json",
            "/readyz",
        ):
            assert router.http.get(path).status_code == 200, path
        assert fleet.woken == []
        prefetched = router.http.post("/v1/prefetch", json={"scenarios": ["shop", "nowhere", "bakery"]})
        assert prefetched.status_code == 202
        assert [each["scenario"] for each in prefetched.json()["scenarios"]] == ["shop", "bakery"]
        assert [each["index"] for each in prefetched.json()["rejected"]] == [1]
        assert fleet.woken == ["shop", "bakery"]


def test_requests_during_a_reload_see_the_old_or_the_new_catalogue(
    catalogues: fleets.Catalogues, tmp_path: Path
) -> None:
    (tmp_path / "catalogue").mkdir()
    newer = fleets.catalogue([bundles.make(tmp_path / "brewery", "", tools=())], tmp_path / "catalogue")
    held = fleets.Catalogues(catalogues.current)
    with served(held, cut) as (router, _), futures.ThreadPoolExecutor(4) as pool:

        def look(_: int) -> tuple[str, ...]:
            return tuple(each["name"] for each in router.http.get("/v1/scenarios").json()["scenarios"])

        seen = set(pool.map(look, range(20)))
        held.current = newer.current
        seen |= set(pool.map(look, range(20)))
        assert seen == {("bakery", "shop"), ("brewery",)}
        assert router.open({"scenario": "shop"})["rejected"][0]["error"]["code"] == "unknown_scenario"
        # Its episodes go on for as long as an instance has them.
        assert router.http.get(f"/v1/episodes/{EPISODE}").json()["code"] == "episode_interrupted"
