"""The agent plane as an HTTP server: paths, methods, host names, sizes and kinds of bodies."""

import asyncio
import json
from typing import Any

import pytest

from awm_runtime.contract import problems
from awm_runtime.server import agent_plane, hosts, tool_host

LIMIT = 100
PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
PONG = {"jsonrpc": "2.0", "id": 1, "result": {}}
JSON = (b"content-type", b"application/json")
HOST = (b"host", b"localhost:8001")


class Host:
    """Has no tools; remembers which episodes were asked for."""

    name, title, description, version = "empty", "Empty", "", "1"

    def __init__(self) -> None:
        self.checked: list[str] = []

    def listed(self) -> list[dict[str, Any]]:
        return []

    def check(self, episode: str) -> None:
        self.checked.append(episode)

    async def default_episode(self) -> str:
        return "ep_default"

    async def call(self, episode: str, tool: str, arguments: dict[str, Any]) -> tool_host.ToolReply:
        raise NotImplementedError


class Client:
    """Sends a body in chunks and keeps what comes back."""

    def __init__(self, *chunks: bytes, disconnects: bool = False) -> None:
        last = len(chunks) - 1
        self.pending: list[dict[str, Any]] = [
            {"type": "http.request", "body": chunk, "more_body": disconnects or number < last}
            for number, chunk in enumerate(chunks)
        ]
        if disconnects:
            self.pending.append({"type": "http.disconnect"})
        self.sent: list[Any] = []

    async def receive(self) -> Any:
        return self.pending.pop(0)

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    def request(
        self,
        host: Host,
        *headers: tuple[bytes, bytes],
        path: str = "/mcp",
        method: str = "POST",
        guard: hosts.HostGuard | None = None,
    ) -> "Client":
        plane = agent_plane.AgentPlane(host, guard=guard or hosts.guard(), request_limit_bytes=LIMIT)
        scope = {"type": "http", "method": method, "path": path, "headers": list(headers)}
        asyncio.run(plane(scope, self.receive, self.send))
        return self

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def json(self) -> Any:
        return json.loads(b"".join(message["body"] for message in self.sent[1:]))


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.mark.parametrize(("path", "episode"), [("/mcp", "ep_default"), ("/e/ep_1/mcp", "ep_1"), ("/e/é/mcp", "é")])
def test_a_path_names_its_episode(host: Host, path: str, episode: str) -> None:
    answered = Client(PING).request(host, HOST, JSON, path=path)
    assert (answered.status, answered.json) == (200, PONG)
    assert answered.headers[b"content-length"] == b"%d" % len(answered.sent[1]["body"])
    assert host.checked == [episode]


@pytest.mark.parametrize(
    "path", ["/", "/mcp/", "/e//mcp", "/e/mcp", "/e/a/b/mcp", "/e/a", "/e/a/mcp/x", "/v1/episodes"]
)
def test_other_paths_lead_nowhere(host: Host, path: str) -> None:
    answered = Client(PING).request(host, HOST, JSON, path=path)
    assert answered.status == 404
    assert answered.headers[b"content-type"] == problems.MEDIA_TYPE.encode()
    assert answered.json["code"] == "unknown_episode"


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "HEAD"])
def test_streams_and_sessions_are_not_offered(host: Host, method: str) -> None:
    answered = Client(b"").request(host, HOST, method=method)
    assert (answered.status, answered.headers[b"allow"]) == (405, b"POST, OPTIONS")


def test_options_names_the_methods(host: Host) -> None:
    answered = Client(b"").request(host, HOST, method="OPTIONS")
    assert (answered.status, answered.headers) == (204, {b"allow": b"POST, OPTIONS"})


@pytest.mark.parametrize("name", [b"localhost", b"LOCALHOST:1", b"127.0.0.1:8001", b"[::1]", b"[::1]:8001"])
def test_loopback_names_are_served_at_any_port(host: Host, name: bytes) -> None:
    origin = (b"origin", b"http://" + name)
    assert Client(PING).request(host, (b"host", name), origin, JSON).status == 200


FOREIGN = [
    pytest.param([(b"host", b"evil.example.com")], id="foreign host"),
    pytest.param([(b"host", b"localhost.evil.example.com")], id="host that begins like ours"),
    pytest.param([(b"host", b"evil.example.com:8001")], id="foreign host with our port"),
    pytest.param([(b"host", b"evil.example.com"), (b"host", b"localhost")], id="two hosts"),
    pytest.param([], id="no host"),
    pytest.param([HOST, (b"origin", b"http://evil.example.com")], id="foreign origin"),
    pytest.param([HOST, (b"origin", b"http://localhost:80@evil.example.com")], id="origin with credentials"),
    pytest.param([HOST, (b"origin", b"null")], id="opaque origin"),
]


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize("method", ["POST", "GET", "OPTIONS"])
def test_a_name_that_is_not_ours_is_refused_before_anything_is_read(host: Host, headers: Any, method: str) -> None:
    answered = Client(PING).request(host, *headers, JSON, method=method)
    assert (answered.status, answered.json["code"]) == (403, "not_permitted")
    assert answered.pending


def test_the_names_that_are_served_are_a_setting(host: Host) -> None:
    elsewhere = [(b"host", b"Fleet.example.com"), (b"origin", b"https://fleet.example.com"), JSON]
    assert Client(PING).request(host, *elsewhere, guard=hosts.guard(["fleet.example.com"])).status == 200
    assert Client(PING).request(host, *elsewhere, guard=hosts.guard(["*"])).status == 200
    assert Client(PING).request(host, HOST, JSON, guard=hosts.guard(["fleet.example.com"])).status == 403


@pytest.mark.parametrize("kind", [b"application/json", b"Application/JSON; charset=utf-8"])
@pytest.mark.parametrize("accept", [None, b"*/*", b"application/*", b"text/event-stream, Application/JSON;q=0.5"])
def test_json_is_taken_however_it_is_announced(host: Host, kind: bytes, accept: bytes | None) -> None:
    accepted = [] if accept is None else [(b"accept", accept)]
    assert Client(PING).request(host, HOST, (b"content-type", kind), *accepted).json == PONG


@pytest.mark.parametrize(
    ("headers", "status"),
    [([], 415), ([(b"content-type", b"text/plain")], 415), ([JSON, (b"accept", b"text/event-stream")], 406)],
)
def test_other_kinds_of_content_are_refused(host: Host, headers: Any, status: int) -> None:
    answered = Client(PING).request(host, HOST, *headers)
    assert (answered.status, answered.json["error"]["data"]["class"]) == (status, "agent")


def test_a_body_in_chunks_is_put_together(host: Host) -> None:
    assert Client(PING[:10], PING[10:20], PING[20:]).request(host, HOST, JSON).json == PONG


def test_a_body_up_to_the_limit_is_read(host: Host) -> None:
    exact = PING.ljust(LIMIT)
    length = (b"content-length", b"%d" % LIMIT)
    assert Client(exact).request(host, HOST, JSON, length).json == PONG


def test_a_body_that_announces_too_much_is_refused_unread(host: Host) -> None:
    answered = Client(PING).request(host, HOST, JSON, (b"content-length", b"10000000"))
    assert (answered.status, answered.json["error"]["data"]) == (413, {"code": "too_large", "class": "agent"})
    assert answered.pending


def test_a_body_that_grows_too_long_is_refused_where_it_crosses_the_limit(host: Host) -> None:
    answered = Client(b" " * 60, b" " * 60, PING).request(host, HOST, JSON)
    assert answered.status == 413
    assert len(answered.pending) == 1


def test_a_client_that_goes_away_is_answered_nothing(host: Host) -> None:
    assert Client(PING[:10], disconnects=True).request(host, HOST, JSON).sent == []
    assert host.checked == []


def test_only_http_is_spoken(host: Host) -> None:
    plane = agent_plane.AgentPlane(host, guard=hosts.guard(), request_limit_bytes=LIMIT)
    client = Client()
    with pytest.raises(RuntimeError, match="HTTP only"):
        asyncio.run(plane({"type": "websocket"}, client.receive, client.send))
