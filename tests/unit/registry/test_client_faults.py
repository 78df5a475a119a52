"""What the light client makes of answers that no server of ours gives. What ours give is in tests/e2e."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import strangers

from awm_registry import client
from awm_registry.client import exchanges
from awm_runtime import errors
from awm_runtime.contract import problems

URL = "http://environment.example"
Answer = Callable[[httpx.Request], httpx.Response]


def answering(status: int, content: str = "", kind: str = "application/json") -> httpx.MockTransport:
    return httpx.MockTransport(lambda _: httpx.Response(status, content=content, headers={"content-type": kind}))


def failing(error: type[httpx.TransportError]) -> httpx.MockTransport:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error("", request=request)

    return httpx.MockTransport(fail)


def tools(transport: httpx.MockTransport) -> client.ToolClient:
    return client.ToolClient(f"{URL}/mcp", transport=transport)


def control(transport: httpx.MockTransport) -> client.ControlClient:
    return client.ControlClient(URL, transport=transport)


def rpc(**members: Any) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": 1, **members})


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (httpx.ReadTimeout, f"{URL}/mcp did not answer in time"),
        (httpx.RemoteProtocolError, f"{URL}/mcp cannot be reached: RemoteProtocolError"),
        (httpx.ReadError, f"{URL}/mcp cannot be reached: ReadError"),
    ],
)
def test_no_answer_is_unreachable_and_says_why(error: type[httpx.TransportError], says: str) -> None:
    with tools(failing(error)) as faulty, pytest.raises(client.Unreachable) as caught:
        faulty.tools()
    assert str(caught.value) == says


def test_a_connection_that_has_idled_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert exchanges.LIMITS.keepalive_expiry is not None
    assert exchanges.LIMITS.keepalive_expiry < 5  # what servers keep, where nobody told them
    monkeypatch.setattr(exchanges, "LIMITS", httpx.Limits(keepalive_expiry=0))
    with strangers.answering(_empty) as stranger:
        with client.ControlClient(stranger.url) as trainer:
            assert (trainer.listing(), trainer.listing()) == ([], [])
        assert stranger.connections == 2
        with client.ToolClient(f"{stranger.url}/mcp") as agent:
            assert (agent.tools(), agent.tools()) == ([], [])
        assert stranger.connections == 4


async def _empty(exchange: strangers.Exchange) -> None:
    """No episodes, and no tools."""
    await exchange.answer_json({"jsonrpc": "2.0", "id": 1, "result": {"tools": []}, "episodes": []})


@pytest.mark.parametrize("url", ["environment.example/mcp", "ftp://environment.example/mcp", "http://[::1/mcp"])
def test_what_is_no_url_is_never_worth_another_try(url: str) -> None:
    with pytest.raises(errors.PermanentError, match="is no URL"):
        client.ToolClient(url)
    with pytest.raises(errors.PermanentError, match="is no URL"):
        client.ControlClient(url)


@pytest.mark.parametrize("status", [502, 503])
def test_a_proxy_in_trouble_is_worth_another_try(status: int) -> None:
    page = answering(status, "<html>\n  Bad Gateway </html>", "text/html")
    says = f"answered {status}: <html> Bad Gateway </html>"
    with tools(page) as behind, pytest.raises(client.Unreachable, match=says):
        behind.call("get_me", {})
    with control(page) as behind_too, pytest.raises(client.Unreachable, match=says):
        behind_too.get("ep_1")


@pytest.mark.parametrize(
    "stranger",
    [
        answering(200, "<html></html>", "text/html"),
        answering(404, '{"detail": "Not Found"}'),
        answering(200, "[]"),
        answering(200, rpc()),
        answering(200, rpc(result=3)),
        answering(200, 'data: {"jsonrpc": "2.0"}', "text/event-stream"),
    ],
)
def test_whoever_speaks_no_mcp_is_named_so(stranger: httpx.MockTransport) -> None:
    with tools(stranger) as elsewhere, pytest.raises(errors.PermanentError, match=f"{URL}/mcp is no MCP server"):
        elsewhere.tools()


@pytest.mark.parametrize("content", ["<html></html>", "{}", "[]"])
def test_whoever_is_no_control_plane_is_named_so(content: str) -> None:
    with control(answering(200, content)) as elsewhere:
        with pytest.raises(errors.PermanentError, match="does not answer as a control plane does"):
            elsewhere.verify("ep_1")
        with pytest.raises(errors.PermanentError, match="answered 404"), control(answering(404, content)) as lost:
            lost.verify("ep_1")


def test_a_problem_with_a_code_of_a_later_version_is_still_an_error_of_ours() -> None:
    later = answering(418, json.dumps({"title": "Teapot", "status": 418, "code": "teapot"}), problems.MEDIA_TYPE)
    with control(later) as newer, pytest.raises(errors.PermanentError, match="answered 418"):
        newer.get("ep_1")


def test_an_error_of_the_infrastructure_keeps_its_code_blame_and_patience() -> None:
    data = {"code": "at_capacity", "class": "infrastructure", "retry_after_s": 2.5}
    full = answering(429, rpc(error={"code": -32000, "message": "too many calls", "data": data}))
    with tools(full) as busy, pytest.raises(problems.ProblemError) as caught:
        busy.call("get_me", {})
    error = caught.value
    assert (error.code, error.blame, error.retry_after_s) == (problems.Code.AT_CAPACITY, "infrastructure", 2.5)


@pytest.mark.parametrize("data", [None, [], {"code": "teapot", "class": "agent"}, {"code": "internal"}])
def test_an_error_of_another_server_is_handed_on_as_it_is(data: object) -> None:
    refusing = answering(400, rpc(error={"code": -32601, "message": "Method not found", "data": data}))
    with tools(refusing) as other, pytest.raises(errors.PermanentError, match="the MCP server refused: Method not"):
        other.tools()


def test_a_reply_of_several_parts_is_read_as_one_text() -> None:
    content = [{"type": "text", "text": '{"a": '}, {"type": "image"}, {"type": "text", "text": "1}"}]
    with tools(answering(200, rpc(result={"content": content}))) as talkative:
        reply = talkative.call("get_me", {})
    assert (reply.is_error, reply.data()) == (False, {"a": 1})


def test_a_token_is_shown_with_every_request() -> None:
    shown: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        shown.append(request.headers.get("authorization"))
        return httpx.Response(200, content=rpc(result={"tools": []}))

    with client.ToolClient(f"{URL}/mcp", token="secret", transport=httpx.MockTransport(answer)) as guarded:
        guarded.tools()
    with (
        client.ControlClient(URL, token="secret", transport=httpx.MockTransport(answer)) as guarded_too,
        pytest.raises(errors.PermanentError),
    ):
        guarded_too.get("ep_1")
    assert shown == ["Bearer secret", "Bearer secret"]
