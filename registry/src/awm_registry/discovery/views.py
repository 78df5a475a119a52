"""Scenarios and tasks as they are answered: made from the catalogue and the states of a fleet, nothing else."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pydantic

from awm_registry import directory
from awm_registry.catalogue import model, paging, snapshots
from awm_runtime.bundle import model as bundles


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the answers are made from.

    Attributes:
        catalogue: The catalogue now.
        state: The state of a scenario.
        url: Where the fleet answers, without a path but a team's.
        asks_for_tokens: Whether agents need one.
    """

    catalogue: snapshots.Snapshot
    state: Callable[[str], directory.State]
    url: str
    asks_for_tokens: bool = False

    def mcp_url(self, name: str) -> str:
        """The MCP URL of a scenario's default episode."""
        return f"{self.url}/s/{name}/mcp"


class ScenarioView(pydantic.BaseModel):
    """A scenario in a list."""

    name: str
    title: str
    description: str
    tags: tuple[str, ...]
    generation: int
    tier: bundles.Tier | None
    counts: bundles.Counts | None
    state: directory.State
    mcp_url: str


class ScenarioDetails(ScenarioView):
    """A scenario by itself."""

    generations: list[int] = pydantic.Field(description="Those that can be pinned, newest first.")
    bundle: str
    image: str | None
    tools_hash: str
    clock: datetime
    user: bundles.User
    tools: list[dict[str, Any]] | None = pydantic.Field(description="Null where the catalogue does not have them.")


class TaskView(model.Task):
    """A task in a list of several scenarios' tasks."""

    scenario: str


class ScenarioPage(pydantic.BaseModel):
    """The answer to `GET /v1/scenarios`."""

    scenarios: list[ScenarioView]
    next_cursor: str | None


class TaskPage(pydantic.BaseModel):
    """The answer to `GET /v1/tasks` and `GET /v1/scenarios/{name}/tasks`."""

    tasks: list[TaskView]
    next_cursor: str | None = None


class McpServer(pydantic.BaseModel):
    """One server of an MCP client's configuration. A header's value may name a variable that the client fills in."""

    type: str = "http"
    url: str
    headers: dict[str, str] = {}


class McpConfiguration(pydantic.BaseModel):
    """The answer to `GET /v1/mcp.json`, which MCP clients read as it is."""

    mcpServers: dict[str, McpServer]  # noqa: N815 - the clients' spelling


def scenarios(fleet: Fleet, wanted: paging.Filter, *, limit: int, cursor: str | None) -> ScenarioPage:
    """A page of scenarios."""
    page = paging.scenarios(fleet.catalogue, wanted, limit=limit, cursor=cursor)
    return ScenarioPage(
        scenarios=[ScenarioView(**_fields(fleet, card)) for card in page.items], next_cursor=page.next_cursor
    )


def scenario(fleet: Fleet, name: str) -> ScenarioDetails:
    """One scenario.

    Raises:
        ProblemError: `unknown_scenario`.
    """
    card = fleet.catalogue.card(name)
    described = fleet.catalogue.metadata(card.entry)
    tools = fleet.catalogue.tools(card.entry)
    return ScenarioDetails(
        **_fields(fleet, card),
        generations=[row.generation for row in fleet.catalogue.generations(card.entry.name)],
        bundle=card.entry.bundle,
        image=card.entry.image,
        tools_hash=card.entry.tools_hash,
        clock=described.clock,
        user=described.user,
        tools=None if tools is None else list(tools),
    )


def tasks(fleet: Fleet, wanted: paging.Filter, *, limit: int, cursor: str | None) -> TaskPage:
    """A page of tasks."""
    page = paging.tasks(fleet.catalogue, wanted, limit=limit, cursor=cursor)
    return TaskPage(
        tasks=[TaskView(scenario=card.entry.name, **task.model_dump()) for card, task in page.items],
        next_cursor=page.next_cursor,
    )


def tasks_of(fleet: Fleet, name: str, wanted: paging.Filter) -> TaskPage:
    """The tasks of one scenario.

    Raises:
        ProblemError: `unknown_scenario`.
    """
    entry = fleet.catalogue.entry(name)
    found = [
        TaskView(scenario=entry.name, **task.model_dump())
        for task in fleet.catalogue.metadata(entry).tasks
        if wanted.takes_kind(task.split, task.difficulty)
    ]
    return TaskPage(tasks=found)


def mcp_configuration(fleet: Fleet, wanted: paging.Filter) -> McpConfiguration:
    """All scenarios that fit as servers of an MCP client."""
    page = paging.scenarios(fleet.catalogue, wanted, limit=len(fleet.catalogue) or 1)
    headers = {"Authorization": "Bearer ${AWM_TOKEN}"} if fleet.asks_for_tokens else {}
    found = (card.entry.name for card in page.items)
    return McpConfiguration(mcpServers={name: McpServer(url=fleet.mcp_url(name), headers=headers) for name in found})


def _fields(fleet: Fleet, card: snapshots.Card) -> dict[str, Any]:
    return {
        "name": card.entry.name,
        "title": card.title,
        "description": card.description,
        "tags": card.tags,
        "generation": card.entry.generation,
        "tier": card.entry.tier,
        "counts": card.counts,
        "state": fleet.state(card.entry.name),
        "mcp_url": fleet.mcp_url(card.entry.name),
    }
