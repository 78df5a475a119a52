"""A fleet over HTTP, as commands speak to it: which one, and what to say when nobody answers."""

import contextlib
from collections.abc import Iterator
from typing import Annotated, Any

import httpx
import typer

from awm_fleet.cli import calling, locating
from awm_registry import client
from awm_registry.client import operations
from awm_registry.discovery import views
from awm_runtime import errors, names
from awm_runtime.contract import problems

URL_VARIABLE = "AWM_URL"
_COMPLETION_S = 0.5
_MOST_NAMES = 1000
_NO_ROUTE = "Not Found"
"""What a server of ours says of a path that it does not have."""

Url = Annotated[str, typer.Option("--url", envvar=URL_VARIABLE, help="The fleet's router, or one instance.")]
Token = Annotated[
    str | None, typer.Option("--token", envvar="AWM_TOKEN", help="What opens it, where it asks for a token.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def complete_scenario(context: typer.Context, incomplete: str) -> list[str]:
    """The fleet's scenarios that begin so, for the shell's completion; the examples where no fleet answers."""
    url = context.params.get("url") or calling.DEFAULT_URL
    try:
        with control(url, context.params.get("token"), timeout_s=_COMPLETION_S) as fleet:
            page = fleet.do(operations.fetch("/v1/scenarios", views.ScenarioPage, {"limit": str(_MOST_NAMES)}))
    except errors.AwmError:
        return locating.example_names(incomplete)
    return [each.name for each in page.scenarios if each.name.startswith(incomplete)]


Name = Annotated[
    str, typer.Argument(metavar="NAME", help="A scenario, in any spelling.", autocompletion=complete_scenario)
]
Id = Annotated[str, typer.Argument(metavar="ID", help="An episode's id.")]


@contextlib.contextmanager
def control(url: str, token: str | None, *, timeout_s: float = 60.0) -> Iterator[client.ControlClient]:
    """A client of the control plane.

    Raises:
        PermanentError: Nobody answers; the message says how to start a fleet.
    """
    with client.ControlClient(url, token=token, timeout_s=timeout_s) as fleet, _explaining(url):
        yield fleet


@contextlib.contextmanager
def tools(fleet_url: str, mcp_url: str, token: str | None) -> Iterator[client.ToolClient]:
    """A client of an MCP URL.

    Raises:
        PermanentError: Nobody answers; the message says how to start a fleet.
    """
    with client.ToolClient(mcp_url, token=token) as opened, _explaining(fleet_url):
        yield opened


def scenario_mcp_url(fleet: client.ControlClient, url: str, name: str) -> str:
    """Where a scenario's default episode is: as the fleet says, whose agents' port may be another than the one asked.

    An agent's token does not open the catalogue: then at `url` itself.

    Raises:
        ProblemError: There is no such scenario.
    """
    try:
        return scenario(fleet, name).mcp_url
    except problems.ProblemError as exc:
        if exc.code is not problems.Code.NOT_PERMITTED:
            raise
        return f"{url.rstrip('/')}/s/{names.normalise(name)}/mcp"


def scenario(fleet: client.ControlClient, name: str) -> views.ScenarioDetails:
    """What there is to know about a scenario, asleep or not.

    Raises:
        ProblemError: There is none.
    """
    path = f"/v1/scenarios/{names.normalise(name)}"
    return fleet.do(operations.fetch(path, views.ScenarioDetails, {}))


@contextlib.contextmanager
def _explaining(url: str) -> Iterator[Any]:
    try:
        yield
    except client.Unreachable as exc:
        if not isinstance(exc.__cause__, httpx.ConnectError):
            raise
        raise errors.PermanentError(
            f"nothing answers at {url}: start a fleet with `awm up`, or name another with --url or {URL_VARIABLE}"
        ) from exc
    except problems.ProblemError as exc:
        if exc.detail != _NO_ROUTE:
            raise
        raise errors.PermanentError(
            f"{url} is no router: one instance lists no scenarios, and its tools are called with --episode"
        ) from exc
