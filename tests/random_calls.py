"""Random tool calls that make sense, through the client: what the gates draw, from what earlier replies named."""

from awm_generator.gates import fuzzing
from awm_generator.gates.fuzzing import Call as Call
from awm_generator.gates.fuzzing import Player as Player
from awm_generator.gates.fuzzing import Seen as Seen
from awm_registry import client


def look_around(tools: client.ToolClient) -> Seen:
    """What the tools that read and need no arguments tell of the scenario."""
    seen = Seen()
    for tool in tools.tools():
        if fuzzing.reads(tool) and not tool["inputSchema"].get("required"):
            reply = tools.call(tool["name"], {})
            if not reply.is_error:
                seen.learn(reply.data())
    return seen
