"""`awm tools` and `awm call`: a scenario's tools, and one call of one of them."""

import difflib
import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from awm_fleet.cli import arguments, asking, calling, output
from awm_registry import client
from awm_runtime import errors, names
from awm_runtime.contract import problems

app = typer.Typer()

_TOOLS_EXAMPLES = output.examples("awm tools library", "awm tools library --json")
_CALL_EXAMPLES = output.examples(
    "awm call library search_titles q=rain",
    "awm call library place_hold title_id=3 --episode ep_...",
    "awm call rover create_booking 'dates=[\"2026-01-20\"]' urgent=true",
)

_FAILED = 1


@app.command(epilog=_TOOLS_EXAMPLES)
def tools(
    name: asking.Name,
    url: asking.Url = calling.DEFAULT_URL,
    token: asking.Token = None,
    as_json: asking.Json = False,
) -> None:
    """List a scenario's tools. A sleeping one is not woken."""
    with asking.control(url, token) as fleet:
        found = asking.scenario(fleet, name)
    if as_json:
        output.document({"scenario": found.name, "state": found.state, "tools": found.tools})
        return
    if found.tools is None:
        raise errors.PermanentError(
            f"the catalogue does not tell the tools of {found.name}; the scenario itself does, at {found.mcp_url}"
        )
    output.table(
        f"{found.title} ({found.state}): {len(found.tools)} tools at {found.mcp_url}",
        ("tool", "arguments", "what it does"),
        ((tool["name"], _signature(tool), _first_line(tool)) for tool in found.tools),
    )


@app.command(epilog=_CALL_EXAMPLES)
def call(
    name: asking.Name,
    tool: Annotated[str, typer.Argument(metavar="TOOL", help="The tool's name.")],
    given: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Arguments; lists and objects as JSON.")
    ] = None,
    episode: Annotated[
        str | None, typer.Option("--episode", help="An episode's id; by default the scenario's default episode.")
    ] = None,
    url: asking.Url = calling.DEFAULT_URL,
    token: asking.Token = None,
    as_json: asking.Json = False,
) -> None:
    """Call a tool of a scenario.

    Values are read as the tool's schema says. Exits with 1 when the tool answers with an error.
    """
    mcp_url = _mcp_url(name, episode, url, token)
    with asking.tools(url, mcp_url, token) as tool_client:
        chosen = _tool(tool, tool_client.tools())
        try:
            wanted = arguments.parse(chosen, given or ())
        except arguments.WrongArgument as exc:
            raise typer.BadParameter(str(exc)) from exc
        reply = tool_client.call(chosen["name"], wanted)
    if as_json:
        output.document({"tool": tool, "arguments": wanted, "is_error": reply.is_error, "result": reply.data()})
    else:
        _show(reply)
    if reply.is_error:
        raise typer.Exit(_FAILED)


def _mcp_url(name: str, episode: str | None, url: str, token: str | None) -> str:
    """Where to call: the episode's URL, or that of the scenario's default episode.

    Raises:
        PermanentError: The episode is of another scenario.
    """
    with asking.control(url, token) as fleet:
        if episode is None:
            return asking.scenario_mcp_url(fleet, url, name)
        view = fleet.get(episode)
    if view.scenario != names.normalise(name):
        raise errors.PermanentError(f"the episode {episode} is of {view.scenario}, not of {name}")
    return view.mcp_url


def _tool(name: str, listed: Sequence[dict[str, Any]]) -> dict[str, Any]:
    known = {tool["name"]: tool for tool in listed}
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(known)}"
    raise problems.ProblemError(problems.Code.UNKNOWN_TOOL, f"there is no tool {name!r}; {hint}")


def _show(reply: client.Reply) -> None:
    """Prints a reply: JSON in readable form, an error on standard error."""
    data = reply.data()
    text = data if isinstance(data, str) else json.dumps(data, indent=2, ensure_ascii=False)
    if reply.is_error:
        output.complain(text)
    else:
        output.say(text)


def _signature(tool: dict[str, Any]) -> str:
    """The arguments' names, the required ones first and the others in brackets."""
    schema = tool.get("inputSchema", {})
    required = schema.get("required", [])
    return ", ".join([*required, *(f"[{name}]" for name in schema.get("properties", {}) if name not in required)])


def _first_line(tool: dict[str, Any]) -> str:
    return str(tool.get("description", "")).partition("\n")[0]
