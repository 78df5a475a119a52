"""The official clients against a served instance: SDK 2.x in both eras, SDK 1.30 from an environment of its own."""

import asyncio
import json
import pathlib
import subprocess
from typing import Any, Literal

import mcp
import pytest

SCRIPT = pathlib.Path(__file__).parent / "conformance" / "handshake_client.py"

TOOLS = ["test_simple_text", "test_error_handling", "json_schema_2020_12_tool"]
SIMPLE_TEXT = "This is a simple text response for testing."
REFUSAL = "This tool intentionally returns an error for testing"
MODES = [("auto", "2026-07-28"), ("2026-07-28", "2026-07-28"), ("legacy", "2025-11-25")]


@pytest.mark.parametrize(("mode", "version"), MODES)
def test_sdk_2_lists_calls_and_sees_a_refusal_as_a_result(mcp_server: Any, mode: Any, version: str) -> None:
    async def play() -> None:
        async with mcp.Client(mcp_server.default, mode=mode) as client:
            assert client.session.protocol_version == version
            assert [tool.name for tool in (await client.list_tools()).tools] == TOOLS
            called = await client.call_tool("test_simple_text", {})
            assert (called.is_error, json.loads(called.content[0].text)) == (False, SIMPLE_TEXT)
            refused = await client.call_tool("test_error_handling", {})
            assert refused.is_error
            assert REFUSAL in refused.content[0].text

    asyncio.run(asyncio.wait_for(play(), 30))


@pytest.mark.parametrize(("mode", "version"), MODES)
def test_sdk_2_is_told_that_an_episode_is_unknown(mcp_server: Any, mode: Any, version: str) -> None:
    async def play() -> None:
        async with mcp.Client(mcp_server.unknown, mode=mode) as client:
            await client.list_tools()

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(asyncio.wait_for(play(), 30))
    assert _only(caught.value).error.data == {"code": "unknown_episode", "class": "agent"}


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_sdk_2_is_told_that_a_request_is_too_large_and_can_go_on(
    mcp_server: Any, mode: Literal["auto", "legacy"]
) -> None:
    async def play() -> mcp.MCPError:
        async with mcp.Client(mcp_server.default, mode=mode) as client:
            with pytest.raises(mcp.MCPError) as caught:
                await client.call_tool("json_schema_2020_12_tool", {"name": "x" * 10_000_000})
            assert not (await client.call_tool("test_simple_text", {})).is_error
        return caught.value

    error = asyncio.run(asyncio.wait_for(play(), 60))
    assert error.data == {"code": "too_large", "class": "agent"}


def test_sdk_1_30_lists_calls_and_gets_each_kind_of_error(mcp_server: Any, python_with_sdk_1_30: pathlib.Path) -> None:
    played = subprocess.run(
        [python_with_sdk_1_30, SCRIPT, mcp_server.default, mcp_server.unknown],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert played.returncode == 0, played.stderr
    seen = json.loads(played.stdout)
    assert seen["version"] == "2025-11-25"
    assert seen["tools"] == TOOLS
    assert [seen["called"][0], json.loads(seen["called"][1])] == [False, SIMPLE_TEXT]
    assert seen["refused"][0]
    assert REFUSAL in seen["refused"][1]
    assert seen["unknown"]["data"] == {"code": "unknown_episode", "class": "agent"}
    assert seen["large"] == 413


def _only(group: BaseExceptionGroup[BaseException]) -> Any:
    """The one error in nested groups: the client's task groups wrap what leaves them."""
    (inner,) = group.exceptions
    return _only(inner) if isinstance(inner, BaseExceptionGroup) else inner
