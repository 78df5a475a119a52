"""Calls a tool at an MCP URL with SDK 1.30, and prints the tool list: `sdk_1_30_client.py URL TOOL ARGUMENTS`."""

import asyncio
import json
import sys

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client


async def main(url: str, tool: str, arguments: str) -> None:
    async with streamablehttp_client(url) as (read, write, _), ClientSession(read, write) as session:
        await session.initialize()
        called = await session.call_tool(tool, json.loads(arguments))
        assert not called.isError, called
        print(json.dumps([each.name for each in (await session.list_tools()).tools]))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
