"""Oracles played through a running fleet by the MCP SDK's own client: an agent that does everything right."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
import local_fleets
import mcp

from awm_generator import oracles
from awm_registry import client
from awm_runtime.bundle import model


@dataclass(frozen=True)
class Played:
    """What became of one task.

    Attributes:
        outcome: The verdict's, or what kept it from being reached.
        calls: How many calls were made.
    """

    scenario: str
    task: str
    outcome: str
    calls: int


def play(fleet: local_fleets.LocalFleet, bundles: Sequence[model.Bundle]) -> Iterator[Played]:
    """Opens an episode for each task of the bundles, plays its oracle at the episode's MCP URL and has it verified."""
    for bundle in bundles:
        for task in bundle.tasks:
            episode = fleet.open(bundle.scenario.name, task=task.id)
            try:
                yield anyio.run(_played, fleet, bundle.scenario.name, task, episode)
            finally:
                fleet.http.delete(f"/v1/episodes/{episode['id']}")


async def _played(fleet: local_fleets.LocalFleet, scenario: str, task: model.Task, episode: dict[str, Any]) -> Played:
    assert task.oracle is not None
    plan, made = oracles.plan(task.oracle), 0
    async with mcp.Client(episode["mcp_url"]) as agent:
        try:
            tool, arguments = next(plan)
            while True:
                result = await agent.call_tool(tool, arguments)
                made += 1
                text = "".join(part.text for part in result.content if isinstance(part, mcp.types.TextContent))
                if result.is_error:
                    return Played(scenario, task.id, f"{tool} {arguments}: {text}", made)
                tool, arguments = plan.send(client.Reply(text, is_error=False).data())
        except StopIteration as stop:
            answer = stop.value
    verdict = fleet.http.post(f"/v1/episodes/{episode['id']}/verify", json={"answer": answer}).json()
    return Played(scenario, task.id, str(verdict.get("outcome", verdict)), made)
