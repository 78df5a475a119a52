"""MCP over HTTP, exchange by exchange, in process: a small host behind the real application."""

import asyncio
import base64
import json
import logging
from collections.abc import Iterable
from typing import Any

import mcp_types
import mcp_types.jsonrpc
import mcp_types.version
import pytest

from awm_runtime.contract import problems
from awm_runtime.server import agent_plane, hosts, mcp, mcp_replies, tool_host

MODERN, NEWEST_HANDSHAKE = "2026-07-28", "2025-11-25"
HANDSHAKES = ["2025-11-25", "2025-06-18", "2025-03-26"]
ENVELOPE = {mcp.VERSION_KEY: MODERN, mcp.CAPABILITIES_KEY: {}}


class Host:
    """Answers `echo` with what it was given and breaks in the ways that a host can."""

    name, title, description, version = "shop", "The Shop", "A shop that sells things.", "3"

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, dict[str, Any]]] = []

    def listed(self) -> list[dict[str, Any]]:
        return [{"name": "echo", "description": "Echoes.", "inputSchema": {"type": "object"}}]

    def check(self, episode: str) -> None:
        if episode == "gone":
            raise problems.ProblemError(problems.Code.UNKNOWN_EPISODE, "There is no such episode.")
        if episode == "busy":
            raise problems.ProblemError(problems.Code.STARTING, "Not yet.", retry_after_s=1.5)

    async def default_episode(self) -> str:
        return "ep_default"

    async def call(self, episode: str, tool: str, arguments: dict[str, Any]) -> tool_host.ToolReply:
        self.check(episode)
        self.calls.append((episode, tool, arguments))
        if tool == "break":
            raise FileNotFoundError("/srv/secret/episode.db")
        if tool != "echo":
            return tool_host.ToolReply(f"Unknown tool: {tool}", is_error=True)
        return tool_host.ToolReply(json.dumps(arguments, ensure_ascii=False))


class Response:
    """What the application sent."""

    def __init__(self, sent: Iterable[Any]) -> None:
        start, *bodies = sent
        self.status: int = start["status"]
        self.headers = {name.decode(): value.decode() for name, value in start["headers"]}
        self.body = b"".join(message["body"] for message in bodies)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        return self.json["error"]


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def plane(host: Host) -> agent_plane.AgentPlane:
    return agent_plane.AgentPlane(host, guard=hosts.guard(), request_limit_bytes=100_000)


def send(plane: agent_plane.AgentPlane, body: Any, *, path: str = "/mcp", **headers: str | None) -> Response:
    """One POST. Headers are named with underscores; None leaves one out."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"host": "127.0.0.1:8001", "content_type": "application/json", **headers}
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items() if value],
    }
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": raw}

    async def collect(message: Any) -> None:
        sent.append(message)

    asyncio.run(plane(scope, receive, collect))
    return Response(sent)


def handshake(plane: agent_plane.AgentPlane, method: str, params: Any = None, **options: Any) -> Response:
    message = {"jsonrpc": "2.0", "id": 7, "method": method, **({} if params is None else {"params": params})}
    return send(plane, message, **{"mcp_protocol_version": NEWEST_HANDSHAKE, **options})


def modern(plane: agent_plane.AgentPlane, method: str, params: Any = None, **options: Any) -> Response:
    given = {"_meta": ENVELOPE, **(params or {})}
    headers = {"mcp_protocol_version": MODERN, "mcp_method": method, "mcp_name": given.get("name")}
    return send(plane, {"jsonrpc": "2.0", "id": "a", "method": method, "params": given}, **{**headers, **options})


ECHO = {"name": "echo", "arguments": {"text": "größer\n"}}


@pytest.mark.parametrize("version", HANDSHAKES)
def test_initialize_answers_with_the_version_that_the_client_asks_for(
    plane: agent_plane.AgentPlane, version: str
) -> None:
    answered = handshake(plane, "initialize", {"protocolVersion": version}, mcp_protocol_version=None)
    assert answered.json["result"] == {
        "protocolVersion": version,
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "shop", "title": "The Shop", "version": "3"},
        "instructions": "A shop that sells things.",
    }
    assert "mcp-session-id" not in answered.headers


def test_initialize_offers_the_newest_handshake_to_a_version_it_does_not_know(plane: agent_plane.AgentPlane) -> None:
    answered = handshake(plane, "initialize", {"protocolVersion": "1999-01-01"}, mcp_protocol_version=None)
    assert answered.json["result"]["protocolVersion"] == NEWEST_HANDSHAKE


def test_a_handshake_client_lists_and_calls_under_any_session_id(plane: agent_plane.AgentPlane, host: Host) -> None:
    listed = handshake(plane, "tools/list", mcp_session_id="never-heard-of")
    assert listed.json["result"] == {"tools": host.listed()}
    called = handshake(plane, "tools/call", ECHO, path="/e/ep_1/mcp", mcp_session_id="another")
    assert called.json == {
        "jsonrpc": "2.0",
        "id": 7,
        "result": {"content": [{"type": "text", "text": '{"text": "größer\\n"}'}], "isError": False},
    }
    assert host.calls == [("ep_1", "echo", {"text": "größer\n"})]


def test_the_short_url_leads_to_the_default_episode(plane: agent_plane.AgentPlane, host: Host) -> None:
    handshake(plane, "tools/call", ECHO)
    assert host.calls[0][0] == "ep_default"


def test_a_modern_client_discovers_lists_and_calls_without_a_handshake(
    plane: agent_plane.AgentPlane, host: Host
) -> None:
    stamp = {mcp_replies.SERVER_INFO_KEY: {"name": "shop", "title": "The Shop", "version": "3"}}
    tail = {"resultType": "complete", "_meta": stamp}
    cached = {**tail, "ttlMs": mcp_replies.TOOLS_TTL_MS, "cacheScope": "private"}
    assert modern(plane, "server/discover").json["result"] == {
        "supportedVersions": [MODERN, *HANDSHAKES],
        "capabilities": {"tools": {}},
        "instructions": "A shop that sells things.",
        **cached,
    }
    assert modern(plane, "tools/list").json["result"] == {"tools": host.listed(), **cached}
    called = modern(plane, "tools/call", {"name": "echo"}, path="/e/ep_1/mcp").json
    assert called["id"] == "a"
    assert called["result"] == {"content": [{"type": "text", "text": "{}"}], "isError": False, **tail}


@pytest.mark.parametrize("era", [handshake, modern])
def test_what_the_agent_did_wrong_is_a_tool_result(plane: agent_plane.AgentPlane, era: Any) -> None:
    answered = era(plane, "tools/call", {"name": "no_such_tool", "arguments": {}})
    assert answered.status == 200
    assert answered.json["result"]["isError"] is True
    assert answered.json["result"]["content"][0]["text"] == "Unknown tool: no_such_tool"


@pytest.mark.parametrize("method", ["tools/call", "tools/list"])
@pytest.mark.parametrize(("era", "status"), [(handshake, 200), (modern, 404)])
def test_an_unknown_episode_is_a_protocol_error_that_no_client_takes_for_a_lost_session(
    plane: agent_plane.AgentPlane, era: Any, status: int, method: str
) -> None:
    answered = era(plane, method, {"name": "echo"}, path="/e/gone/mcp")
    assert answered.status == status
    assert answered.headers["content-type"] == "application/json"
    assert answered.error == {
        "code": mcp_replies.PROBLEM,
        "message": "There is no such episode.",
        "data": {"code": "unknown_episode", "class": "agent"},
    }


@pytest.mark.parametrize(("era", "status"), [(handshake, 200), (modern, 503)])
def test_an_infrastructure_failure_is_a_protocol_error_that_says_when_to_come_back(
    plane: agent_plane.AgentPlane, era: Any, status: int
) -> None:
    answered = era(plane, "tools/call", {"name": "echo"}, path="/e/busy/mcp")
    assert (answered.status, answered.headers["retry-after"]) == (status, "2")
    assert answered.error["data"] == {"code": "starting", "class": "infrastructure", "retry_after_s": 1.5}


@pytest.mark.parametrize(("era", "status"), [(handshake, 200), (modern, 500)])
def test_what_breaks_inside_is_logged_and_not_told(
    plane: agent_plane.AgentPlane, era: Any, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "awm_runtime"):
        answered = era(plane, "tools/call", {"name": "break"})
    assert answered.status == status
    assert answered.error == {
        "code": mcp_replies.INTERNAL_ERROR,
        "message": "Internal error.",
        "data": {"code": "internal", "class": "infrastructure"},
    }
    assert "/srv/secret" in caplog.text


PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
MALFORMED = [
    pytest.param(b"", mcp_replies.PARSE_ERROR, id="empty body"),
    pytest.param(b'{"jsonrpc": "2.0",', mcp_replies.PARSE_ERROR, id="cut off"),
    pytest.param(b"\xff\xfe", mcp_replies.PARSE_ERROR, id="not UTF-8"),
    pytest.param(b"[" * 1500, mcp_replies.PARSE_ERROR, id="nested without end"),
    pytest.param("ping", mcp_replies.INVALID_REQUEST, id="a string"),
    pytest.param({**PING, "jsonrpc": "1.0"}, mcp_replies.INVALID_REQUEST, id="another JSON-RPC"),
    pytest.param({**PING, "id": None}, mcp_replies.INVALID_REQUEST, id="null id"),
    pytest.param({**PING, "id": True}, mcp_replies.INVALID_REQUEST, id="boolean id"),
    pytest.param({**PING, "id": 1.5}, mcp_replies.INVALID_REQUEST, id="fractional id"),
    pytest.param({**PING, "id": [1]}, mcp_replies.INVALID_REQUEST, id="list as id"),
    pytest.param({"jsonrpc": "2.0", "id": 1}, mcp_replies.INVALID_REQUEST, id="no method"),
    pytest.param({"jsonrpc": "2.0"}, mcp_replies.INVALID_REQUEST, id="nothing in it"),
    pytest.param({"jsonrpc": "2.0", "method": 5}, mcp_replies.INVALID_REQUEST, id="notification without a name"),
    pytest.param([], mcp_replies.INVALID_REQUEST, id="empty batch"),
    pytest.param([PING] * 101, mcp_replies.INVALID_REQUEST, id="batch without end"),
    pytest.param([{**PING, "method": "initialize"}], mcp_replies.INVALID_REQUEST, id="initialize in a batch"),
]


@pytest.mark.parametrize(("body", "code"), MALFORMED)
def test_what_is_no_message_is_refused_with_a_400(plane: agent_plane.AgentPlane, body: Any, code: int) -> None:
    answered = send(plane, body)
    assert (answered.status, answered.error["code"], answered.json["id"]) == (400, code, None)
    assert answered.error["data"] == {"code": "bad_request", "class": "agent"}


@pytest.mark.parametrize(("version", "status"), [(NEWEST_HANDSHAKE, 200), (None, 200), (MODERN, 400)])
@pytest.mark.parametrize("value", [r'"\ud800"', "1e400", "NaN"])
def test_a_request_with_values_that_cannot_be_read_is_answered_by_its_id(
    plane: agent_plane.AgentPlane, host: Host, version: str | None, status: int, value: str
) -> None:
    call = '{"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "echo", "arguments": {"x": %s}}}'
    answered = send(plane, (call % value).encode(), mcp_protocol_version=version)
    assert (answered.status, answered.json["id"]) == (status, 7)
    assert answered.error["code"] == mcp_replies.INVALID_PARAMS
    assert answered.error["data"] == {"code": "invalid_arguments", "class": "agent"}
    assert host.calls == []


@pytest.mark.parametrize("id", [r'"\ud800"', "1.5", "1e400", "null", "[1]", str(10**30)])
def test_a_request_whose_id_cannot_be_read_either_is_no_message(plane: agent_plane.AgentPlane, id: str) -> None:
    answered = send(plane, b'{"jsonrpc": "2.0", "method": "ping", "params": {"x": NaN}, "id": %s}' % id.encode())
    assert (answered.status, answered.error["code"], answered.json["id"]) == (400, mcp_replies.PARSE_ERROR, None)


REFUSED = [
    pytest.param({"method": "prompts/list"}, mcp_replies.METHOD_NOT_FOUND, id="prompts"),
    pytest.param({"method": "resources/list"}, mcp_replies.METHOD_NOT_FOUND, id="resources"),
    pytest.param({"method": "logging/setLevel"}, mcp_replies.METHOD_NOT_FOUND, id="logging"),
    pytest.param({"method": "nonsense"}, mcp_replies.METHOD_NOT_FOUND, id="nonsense"),
    pytest.param({"method": "initialize"}, mcp_replies.INVALID_PARAMS, id="no version"),
    pytest.param({"method": "tools/list", "params": {"cursor": "x"}}, mcp_replies.INVALID_PARAMS, id="cursor"),
    pytest.param({"method": "tools/call"}, mcp_replies.INVALID_PARAMS, id="call without a tool"),
    pytest.param({"method": "tools/call", "params": {"name": 3}}, mcp_replies.INVALID_PARAMS, id="number as tool"),
    pytest.param(
        {"method": "tools/call", "params": {"name": "echo", "arguments": []}},
        mcp_replies.INVALID_PARAMS,
        id="list as arguments",
    ),
]


@pytest.mark.parametrize(("fields", "code"), REFUSED)
def test_a_handshake_request_that_cannot_be_served_gets_its_error_with_a_200(
    plane: agent_plane.AgentPlane, fields: Any, code: int
) -> None:
    answered = send(plane, {"jsonrpc": "2.0", "id": 3, **fields}, mcp_protocol_version=NEWEST_HANDSHAKE)
    assert (answered.status, answered.error["code"], answered.json["id"]) == (200, code, 3)


@pytest.mark.parametrize("fields", [{"params": []}, {"method": 5}])
def test_a_request_of_the_wrong_shape_is_refused_under_its_own_id(plane: agent_plane.AgentPlane, fields: Any) -> None:
    answered = send(plane, {**PING, **fields})
    assert (answered.status, answered.error["code"], answered.json["id"]) == (400, mcp_replies.INVALID_REQUEST, 1)


@pytest.mark.parametrize("method", ["initialize", "ping", "logging/setLevel", "resources/subscribe", "prompts/list"])
def test_a_method_that_the_modern_era_does_not_have_is_a_404(plane: agent_plane.AgentPlane, method: str) -> None:
    answered = modern(plane, method, {"protocolVersion": MODERN})
    assert (answered.status, answered.error["code"]) == (404, mcp_replies.METHOD_NOT_FOUND)


def test_discover_belongs_to_the_modern_era_alone(plane: agent_plane.AgentPlane) -> None:
    assert handshake(plane, "server/discover").error["code"] == mcp_replies.METHOD_NOT_FOUND


WRONG_ENVELOPES = [
    pytest.param({}, {"_meta": None}, mcp_replies.INVALID_PARAMS, id="no _meta"),
    pytest.param({}, {"_meta": {mcp.VERSION_KEY: MODERN}}, mcp_replies.INVALID_PARAMS, id="no capabilities"),
    pytest.param({}, {"_meta": {mcp.CAPABILITIES_KEY: {}}}, mcp_replies.INVALID_PARAMS, id="no version"),
    pytest.param({}, {"_meta": {**ENVELOPE, mcp.CAPABILITIES_KEY: []}}, mcp_replies.INVALID_PARAMS, id="list"),
    pytest.param({}, {"_meta": {**ENVELOPE, mcp.VERSION_KEY: 5}}, mcp_replies.HEADER_MISMATCH, id="number"),
    pytest.param({"mcp_protocol_version": None}, {}, mcp_replies.HEADER_MISMATCH, id="no version header"),
    pytest.param({"mcp_protocol_version": NEWEST_HANDSHAKE}, {}, mcp_replies.HEADER_MISMATCH, id="other version"),
    pytest.param({"mcp_method": None}, {}, mcp_replies.HEADER_MISMATCH, id="no method header"),
    pytest.param({"mcp_method": "TOOLS/CALL"}, {}, mcp_replies.HEADER_MISMATCH, id="method in capitals"),
    pytest.param({"mcp_name": None}, {}, mcp_replies.HEADER_MISMATCH, id="no name header"),
    pytest.param({"mcp_name": "other"}, {}, mcp_replies.HEADER_MISMATCH, id="other name"),
    pytest.param({"mcp_name": "=?base64?%%?="}, {}, mcp_replies.HEADER_MISMATCH, id="broken base64"),
]


@pytest.mark.parametrize(("headers", "params", "code"), WRONG_ENVELOPES)
def test_a_modern_request_that_disagrees_with_its_headers_is_refused_with_a_400(
    plane: agent_plane.AgentPlane, host: Host, headers: Any, params: Any, code: int
) -> None:
    answered = modern(plane, "tools/call", {**ECHO, **params}, **headers)
    assert (answered.status, answered.error["code"], answered.json["id"]) == (400, code, "a")
    assert not host.calls


def test_headers_may_come_in_base64_and_in_spaces(plane: agent_plane.AgentPlane) -> None:
    encoded = base64.b64encode("größe".encode()).decode()
    assert "result" in modern(plane, "tools/call", {"name": "größe"}, mcp_name=f"=?base64?{encoded}?=").json
    spaced = {"mcp_name": "  echo ", "mcp_method": "tools/call ", "mcp_protocol_version": f" {MODERN} "}
    assert "result" in modern(plane, "tools/call", ECHO, **spaced).json


@pytest.mark.parametrize("message", [PING, {"jsonrpc": "2.0", "method": "notifications/initialized"}])
def test_an_unknown_version_is_refused_with_the_versions_that_are_served(
    plane: agent_plane.AgentPlane, message: Any
) -> None:
    answered = send(plane, message, mcp_protocol_version="2031-01-01")
    assert (answered.status, answered.error["code"]) == (400, mcp_replies.UNSUPPORTED_VERSION)
    assert answered.error["data"]["supported"] == [MODERN, *HANDSHAKES]
    assert answered.error["data"]["requested"] == "2031-01-01"


def test_an_unknown_version_in_the_envelope_is_refused_too(plane: agent_plane.AgentPlane) -> None:
    meta = {**ENVELOPE, mcp.VERSION_KEY: "2031-01-01"}
    answered = modern(plane, "tools/list", {"_meta": meta}, mcp_protocol_version="2031-01-01")
    assert (answered.status, answered.error["code"]) == (400, mcp_replies.UNSUPPORTED_VERSION)


def test_notifications_and_stray_responses_are_acknowledged_with_nothing(plane: agent_plane.AgentPlane) -> None:
    for message in (
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}},
        {"jsonrpc": "2.0", "id": 1, "result": {}},
    ):
        answered = send(plane, message, path="/e/gone/mcp")
        assert (answered.status, answered.body) == (202, b"")


def test_a_modern_client_must_not_post_responses(plane: agent_plane.AgentPlane) -> None:
    answered = send(plane, {"jsonrpc": "2.0", "id": 1, "result": {}}, mcp_protocol_version=MODERN)
    assert (answered.status, answered.error["code"]) == (400, mcp_replies.INVALID_REQUEST)


def test_a_batch_is_answered_message_by_message_where_its_version_has_batches(plane: agent_plane.AgentPlane) -> None:
    note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    unknown = {"jsonrpc": "2.0", "id": "x", "method": "nonsense"}
    answered = send(plane, [PING, note, unknown, 5])
    assert answered.status == 200
    assert [message["id"] for message in answered.json] == [1, "x", None]
    assert answered.json[0]["result"] == {}
    assert send(plane, [note, note]).status == 202
    for version in (NEWEST_HANDSHAKE, MODERN):
        assert send(plane, [PING], mcp_protocol_version=version).error["code"] == mcp_replies.INVALID_REQUEST


def test_the_wire_names_are_those_of_the_official_types() -> None:
    assert mcp.VERSION_KEY == mcp_types.PROTOCOL_VERSION_META_KEY
    assert mcp.CAPABILITIES_KEY == mcp_types.CLIENT_CAPABILITIES_META_KEY
    assert mcp_replies.SERVER_INFO_KEY == mcp_types.SERVER_INFO_META_KEY
    assert mcp_replies.MODERN_VERSIONS == mcp_types.version.MODERN_PROTOCOL_VERSIONS
    assert set(mcp_replies.HANDSHAKE_VERSIONS) <= set(mcp_types.version.HANDSHAKE_PROTOCOL_VERSIONS)
    for ours, theirs in (
        (mcp_replies.PARSE_ERROR, mcp_types.jsonrpc.PARSE_ERROR),
        (mcp_replies.INVALID_REQUEST, mcp_types.jsonrpc.INVALID_REQUEST),
        (mcp_replies.METHOD_NOT_FOUND, mcp_types.jsonrpc.METHOD_NOT_FOUND),
        (mcp_replies.INVALID_PARAMS, mcp_types.jsonrpc.INVALID_PARAMS),
        (mcp_replies.INTERNAL_ERROR, mcp_types.jsonrpc.INTERNAL_ERROR),
        (mcp_replies.HEADER_MISMATCH, mcp_types.jsonrpc.HEADER_MISMATCH),
        (mcp_replies.UNSUPPORTED_VERSION, mcp_types.jsonrpc.UNSUPPORTED_PROTOCOL_VERSION),
    ):
        assert ours == theirs
