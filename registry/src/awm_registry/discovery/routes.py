"""The routes of discovery, to be mounted by whoever has a catalogue."""

import hashlib
from collections.abc import Callable
from typing import Annotated, Literal

import fastapi
import pydantic

from awm_registry.catalogue import paging
from awm_registry.discovery import mcp_registry, views
from awm_runtime.bundle import model as bundles

_LongText = Annotated[str | None, fastapi.Query(max_length=200)]
Limit = Annotated[int, fastapi.Query(ge=1, le=paging.MOST)]
Cursor = Annotated[str | None, fastapi.Query(pattern=paging.CURSOR)]


def _with_time(value: object) -> object:
    """A number is no moment, though pydantic takes it for the seconds since 1970."""
    if isinstance(value, str) and "T" not in value.upper():
        raise ValueError("a moment is written 2026-01-15T09:00:00Z")
    return value


Moment = Annotated[pydantic.AwareDatetime, pydantic.BeforeValidator(_with_time)]
Split = Annotated[Literal["train", "test"] | None, fastapi.Query()]
Tier = Annotated[bundles.Tier | None, fastapi.Query()]


def _wanted(
    search: _LongText = None,
    tier: Tier = None,
    tag: _LongText = None,
    split: Split = None,
    difficulty: _LongText = None,
) -> paging.Filter:
    return paging.Filter(search=search, tier=tier, tag=tag, split=split, difficulty=difficulty)


Wanted = Annotated[paging.Filter, fastapi.Depends(_wanted)]


def create(fleet: Callable[[fastapi.Request], views.Fleet]) -> fastapi.APIRouter:
    """The routes. Every answer carries an `ETag`, and is 304 where the caller has it already.

    Handlers read files, so they are plain functions, which FastAPI calls in threads.

    Args:
        fleet: What a request is answered from.
    """
    routes = fastapi.APIRouter(tags=["discovery"])
    _add_catalogue(routes, fleet)
    _add_mcp_registry(routes, fleet)
    return routes


def _add_catalogue(routes: fastapi.APIRouter, fleet: Callable[[fastapi.Request], views.Fleet]) -> None:
    @routes.get("/v1/scenarios", response_model=views.ScenarioPage)
    def scenarios(
        request: fastapi.Request,
        wanted: Wanted,
        limit: Limit = paging.DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> fastapi.Response:
        """The scenarios, by name."""
        return answer(request, views.scenarios(fleet(request), wanted, limit=limit, cursor=cursor))

    @routes.get("/v1/scenarios/{name}", response_model=views.ScenarioDetails)
    def scenario(request: fastapi.Request, name: str) -> fastapi.Response:
        """One scenario with its tools."""
        return answer(request, views.scenario(fleet(request), name))

    @routes.get("/v1/scenarios/{name}/tasks", response_model=views.TaskPage)
    def tasks_of(
        request: fastapi.Request, name: str, split: Split = None, difficulty: _LongText = None
    ) -> fastapi.Response:
        """The tasks of a scenario, all of them."""
        wanted = paging.Filter(split=split, difficulty=difficulty)
        return answer(request, views.tasks_of(fleet(request), name, wanted))

    @routes.get("/v1/tasks", response_model=views.TaskPage)
    def tasks(
        request: fastapi.Request,
        wanted: Wanted,
        limit: Limit = paging.DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> fastapi.Response:
        """The tasks of all scenarios, by their scenarios' names."""
        return answer(request, views.tasks(fleet(request), wanted, limit=limit, cursor=cursor))

    @routes.get("/v1/mcp.json", response_model=views.McpConfiguration)
    def mcp_configuration(
        request: fastapi.Request, search: _LongText = None, tier: Tier = None, tag: _LongText = None
    ) -> fastapi.Response:
        """The scenarios as the configuration of an MCP client."""
        wanted = paging.Filter(search=search, tier=tier, tag=tag)
        return answer(request, views.mcp_configuration(fleet(request), wanted))


def _add_mcp_registry(routes: fastapi.APIRouter, fleet: Callable[[fastapi.Request], views.Fleet]) -> None:
    @routes.get("/v0.1/servers", response_model=mcp_registry.ServerList)
    def servers(
        request: fastapi.Request,
        search: _LongText = None,
        version: _LongText = None,
        updated_since: Moment | None = None,
        limit: Limit = paging.DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> fastapi.Response:
        """The scenarios, as the MCP registry lists servers."""
        wanted = mcp_registry.Wanted(search=search, version=version, updated_since=updated_since)
        return answer(request, mcp_registry.servers(fleet(request), wanted, limit=limit, cursor=cursor))

    @routes.get("/v0.1/servers/{server:path}/versions", response_model=mcp_registry.ServerList)
    def versions(request: fastapi.Request, server: str) -> fastapi.Response:
        """The generations of a scenario, newest first."""
        return answer(request, mcp_registry.versions(fleet(request), server))

    @routes.get("/v0.1/servers/{server:path}/versions/{version}", response_model=mcp_registry.ServerResponse)
    def version(request: fastapi.Request, server: str, version: str) -> fastapi.Response:
        """One generation of a scenario."""
        return answer(request, mcp_registry.version(fleet(request), server, version))


def answer(request: fastapi.Request, view: pydantic.BaseModel) -> fastapi.Response:
    """A view as JSON, or 304 where the caller shows the `ETag` that it has."""
    body = view.model_dump_json(by_alias=True).encode()
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    known = {each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")}
    if etag in known or "*" in known:
        return fastapi.Response(status_code=304, headers=headers)
    return fastapi.Response(body, media_type="application/json", headers=headers)
