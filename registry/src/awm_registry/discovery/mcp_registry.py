"""Scenarios as the MCP registry's API lists servers (`/v0.1/servers`), so that its clients find them.

The API is that of https://github.com/modelcontextprotocol/registry, `docs/reference/api/openapi.yaml` of 2025-12-01.
A scenario is the server `dev.awm/NAME`, a generation the version `GENERATION.0.0`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import pydantic

from awm_registry.catalogue import model, paging, snapshots
from awm_registry.discovery import views
from awm_runtime.contract import problems

NAMESPACE = "dev.awm"
SCHEMA = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"
_OFFICIAL = "io.modelcontextprotocol.registry/official"
_LONGEST = 100
LATEST = "latest"


class _Wire(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(populate_by_name=True)


class Header(_Wire):
    """A header that a client has to send."""

    name: str
    description: str
    value: str
    is_required: bool = pydantic.Field(True, alias="isRequired")
    is_secret: bool = pydantic.Field(True, alias="isSecret")
    variables: dict[str, Any] = {}


class Remote(_Wire):
    """Where a server answers."""

    type: Literal["streamable-http"] = "streamable-http"
    url: str
    headers: list[Header] = []


class Server(_Wire):
    """A server, as `server.json` describes one."""

    schema_: str = pydantic.Field(SCHEMA, alias="$schema")
    name: str
    title: str
    description: str
    version: str
    remotes: list[Remote]


class ServerResponse(_Wire):
    """A server, and what the registry says of it."""

    server: Server
    meta: dict[str, Any] = pydantic.Field(alias="_meta")


class Metadata(_Wire):
    """What belongs to a page. The key is absent on the last one."""

    count: int
    next_cursor: str | None = pydantic.Field(None, alias="nextCursor", exclude_if=lambda value: value is None)


class ServerList(_Wire):
    """A page of servers."""

    servers: list[ServerResponse]
    metadata: Metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which servers.

    Attributes:
        search: A part of the name.
        version: Only those of which this, or `latest`, is the latest version.
        updated_since: Only those whose latest version was published then or later.
    """

    search: str | None = None
    version: str | None = None
    updated_since: datetime | None = None

    def filter(self) -> paging.Filter:
        """The same, of scenarios."""
        return paging.Filter(
            name_part=(self.search or "").removeprefix(f"{NAMESPACE}/") or None,
            generation=None if self.version in (None, LATEST) else _generation(self.version),
            published_since=self.updated_since,
        )


def servers(fleet: views.Fleet, wanted: Wanted, *, limit: int, cursor: str | None) -> ServerList:
    """A page of servers, each at its latest version.

    Raises:
        ProblemError: `bad_request`: the cursor is none of ours.
    """
    page = paging.scenarios(fleet.catalogue, wanted.filter(), limit=limit, cursor=cursor)
    found = [_response(fleet, card, card.entry) for card in page.items]
    return ServerList(servers=found, metadata=Metadata(count=len(found), next_cursor=page.next_cursor))


def versions(fleet: views.Fleet, server: str) -> ServerList:
    """All versions of a server, newest first.

    Raises:
        ProblemError: `unknown_scenario`.
    """
    card = _card(fleet, server)
    found = [_response(fleet, card, row) for row in fleet.catalogue.generations(card.entry.name)]
    return ServerList(servers=found, metadata=Metadata(count=len(found)))


def version(fleet: views.Fleet, server: str, wanted: str) -> ServerResponse:
    """One version of a server.

    Raises:
        ProblemError: `unknown_scenario`.
    """
    card = _card(fleet, server)
    row = card.entry if wanted == LATEST else fleet.catalogue.entry(card.entry.name, _generation(wanted))
    return _response(fleet, card, row)


def _card(fleet: views.Fleet, server: str) -> snapshots.Card:
    namespace, slash, name = server.partition("/")
    if namespace != NAMESPACE or not slash:
        raise problems.ProblemError(
            problems.Code.UNKNOWN_SCENARIO, f"there is no server {server[:_LONGEST]!r}; names here are {NAMESPACE}/NAME"
        )
    return fleet.catalogue.card(name)


def _generation(version: str | None) -> int:
    """The generation of a version; 0, which is nobody's, for one that is none of ours."""
    first, _, rest = (version or "").partition(".")
    return int(first) if rest == "0.0" and first.isascii() and first.isdigit() and len(first) < 10 else 0


def _response(fleet: views.Fleet, card: snapshots.Card, row: model.Entry) -> ServerResponse:
    name = card.entry.name
    described = Server(
        name=f"{NAMESPACE}/{name}",
        title=_short(card.title or name),
        description=_short(card.description or card.title or name),
        version=f"{row.generation}.0.0",
        remotes=[Remote(url=fleet.mcp_url(name), headers=[_TOKEN] if fleet.asks_for_tokens else [])],
    )
    meta = {"status": "active", "isLatest": row == card.entry, **_times(row)}
    return ServerResponse(server=described, meta={_OFFICIAL: meta})


def _times(row: model.Entry) -> dict[str, datetime]:
    """When a version was published: nothing of it, and so its status neither, changes afterwards."""
    if row.published_at is None:
        return {}
    return dict.fromkeys(("publishedAt", "updatedAt", "statusChangedAt"), row.published_at)


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _LONGEST else f"{flat[: _LONGEST - 1]}…"


_TOKEN = Header(
    name="Authorization",
    description="The agent's token for this scenario.",
    value="Bearer {token}",
    variables={"token": {"description": "A token of `awm token create --scope agent`.", "isRequired": True}},
)
