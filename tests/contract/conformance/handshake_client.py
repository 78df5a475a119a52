"""Plays the client's part with SDK 1.30, in that SDK's own environment, and prints what it saw as JSON."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import McpError

WAIT_S = 30


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[ClientSession]:
    async with streamable_http_client(url) as (read, write, _), ClientSession(read, write) as session:
        yield session


async def status_of_a_large_request(url: str) -> int:
    """The HTTP status that ended the connection: this client has no other way to say so."""
    try:
        async with opened(url) as session:
            await session.initialize()
            await session.call_tool("json_schema_2020_12_tool", {"name": "x" * 10_000_000})
    except ExceptionGroup as group:
        return _only(group).response.status_code
    return 200


def _only(group: BaseExceptionGroup[BaseException]) -> Any:
    (inner,) = group.exceptions
    return _only(inner) if isinstance(inner, BaseExceptionGroup) else inner


async def seen(url: str, unknown_url: str) -> dict[str, Any]:
    async with opened(url) as session:
        handshake = await session.initialize()
        listed = await session.list_tools()
        called = await session.call_tool("test_simple_text", {})
        refused = await session.call_tool("test_error_handling", {})
    async with opened(unknown_url) as session:
        try:
            await session.initialize()
        except McpError as error:
            unknown = error.error.model_dump()
    return {
        "version": handshake.protocolVersion,
        "tools": [tool.name for tool in listed.tools],
        "called": [called.isError, called.content[0].text],
        "refused": [refused.isError, refused.content[0].text],
        "unknown": unknown,
        "large": await status_of_a_large_request(url),
    }


async def main() -> None:
    with anyio.fail_after(WAIT_S):
        print(json.dumps(await seen(*sys.argv[1:])))


anyio.run(main)
