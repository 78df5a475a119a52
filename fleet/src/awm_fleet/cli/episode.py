"""`awm episode`: open, look at, reset, judge and close episodes of a fleet."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from awm_fleet.cli import asking, calling, changes, output
from awm_runtime import errors
from awm_runtime.contract import episodes, verdicts

app = typer.Typer(name="episode", no_args_is_help=True, help="Open, look at, reset, judge and close episodes.")

_FAILED, _PARTLY = 1, 3


@app.command(
    "open",
    epilog=output.examples(
        "awm episode open library --task rain-hold", "awm episode open rover --task 4 --count 16 --json"
    ),
)
def open_(
    name: asking.Name,
    task: Annotated[str | None, typer.Option(help="For which task.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seeds the randomness of the scenario; drawn when absent.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=episodes.MOST_AT_ONCE, help="How many.")] = 1,
    group: Annotated[str | None, typer.Option(help="A name for what belongs together.")] = None,
    ttl: Annotated[
        float, typer.Option(min=1, help="How long they live without a heartbeat, in seconds.")
    ] = episodes.DEFAULT_TTL_S,
    url: asking.Url = calling.DEFAULT_URL,
    token: asking.Token = None,
    as_json: asking.Json = False,
) -> None:
    """Open episodes of a scenario. Exits with 3 when some were refused, with 1 when all were."""
    item = episodes.FleetEpisodeSpec(scenario=name, task=task, seed=seed, count=count, group=group)
    with asking.control(url, token) as fleet:
        answer = fleet.open_batch(episodes.FleetOpenRequest(episodes=[item], ttl_s=ttl, wait="ready"))
    if as_json:
        output.document(answer.model_dump(mode="json", by_alias=True))
    elif answer.episodes:
        _show_opened(answer.episodes)
    for rejected in answer.rejected:
        output.complain(rejected.error.detail)
    if answer.rejected:
        raise typer.Exit(_PARTLY if answer.episodes else _FAILED)


@app.command("list", epilog=output.examples("awm episode list", "awm episode list --state open --json"))
def list_(
    scenario: Annotated[str | None, typer.Option(help="Only of this scenario.")] = None,
    state: Annotated[Literal["open", "closed", "expired"] | None, typer.Option(help="Only in this state.")] = None,
    url: asking.Url = calling.DEFAULT_URL,
    token: asking.Token = None,
    as_json: asking.Json = False,
) -> None:
    """List the episodes of the instances that are awake."""
    with asking.control(url, token) as fleet:
        found = [each for each in fleet.listing() if scenario in (None, each.scenario) and state in (None, each.state)]
    if as_json:
        output.document({"episodes": [_document(each) for each in found]})
    elif found:
        columns = ("episode", "scenario", "task", "state", "calls", "group", "expires")
        rows = (
            (each.id, each.scenario, each.task, each.state, each.calls, each.group, _moment(each.expires_at))
            for each in found
        )
        output.table(f"{len(found)} episodes", columns, rows)
    else:
        output.say("No episodes. Open one: awm episode open NAME")


@app.command(epilog=output.examples("awm episode get ep_..."))
def get(
    id: asking.Id, url: asking.Url = calling.DEFAULT_URL, token: asking.Token = None, as_json: asking.Json = False
) -> None:
    """Show an episode."""
    with asking.control(url, token) as fleet:
        view = fleet.get(id)
    if as_json:
        output.document(_document(view))
    else:
        _show(view)


@app.command(epilog=output.examples("awm episode reset ep_...", "awm episode reset ep_... --seed 7"))
def reset(
    id: asking.Id,
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed; by default the one that it has.")] = None,
    url: asking.Url = calling.DEFAULT_URL,
    token: asking.Token = None,
    as_json: asking.Json = False,
) -> None:
    """Put an episode back to the seed, in place: same id, same URL."""
    with asking.control(url, token) as fleet:
        view = fleet.reset(id, seed=seed)
    if as_json:
        output.document(_document(view))
    else:
        output.say(f"{view.id} is as it was when it was opened; seed {view.seed}")


@app.command(epilog=output.examples("awm episode diff ep_..."))
def diff(
    id: asking.Id, url: asking.Url = calling.DEFAULT_URL, token: asking.Token = None, as_json: asking.Json = False
) -> None:
    """Show the rows that an episode changed since the seed."""
    with asking.control(url, token) as fleet:
        found = fleet.diff(id)
    if as_json:
        output.document(found)
    else:
        changes.show(found)


@app.command(epilog=output.examples("awm episode trace ep_..."))
def trace(
    id: asking.Id, url: asking.Url = calling.DEFAULT_URL, token: asking.Token = None, as_json: asking.Json = False
) -> None:
    """Show an episode's calls, and what came of each."""
    with asking.control(url, token) as fleet:
        calls = fleet.trace(id)
    if as_json:
        output.document({"calls": calls})
    elif calls:
        output.table(f"{len(calls)} calls", ("n", "tool", "arguments", "result", "error", "ms"), map(_call, calls))
    else:
        output.say("No calls yet.")


@app.command(epilog=output.examples("awm episode snapshot ep_... --out final.db"))
def snapshot(
    id: asking.Id,
    out: Annotated[Path, typer.Option("--out", help="Where the SQLite file goes.")],
    which: Annotated[
        Literal["initial", "current"], typer.Option(help="As it was opened, or as it is now.")
    ] = "current",
    url: asking.Url = calling.DEFAULT_URL,
    token: asking.Token = None,
    as_json: asking.Json = False,
) -> None:
    """Save an episode's database."""
    with asking.control(url, token) as fleet:
        content = fleet.snapshot(id, which)
    unfinished = out.with_name(f".{out.name}.part")
    unfinished.write_bytes(content)
    unfinished.replace(out)
    if as_json:
        output.document({"path": str(out), "bytes": len(content), "which": which})
    else:
        output.say(f"{out}: {len(content)} bytes")


@app.command(epilog=output.examples("awm episode verify ep_... --answer 'Order 42 was cancelled.'"))
def verify(
    id: asking.Id,
    answer: Annotated[str | None, typer.Option(help="What the agent said at its end.")] = None,
    task: Annotated[str | None, typer.Option(help="By which task; by default the one that it was opened for.")] = None,
    mode: Annotated[verdicts.Mode, typer.Option(help="code gives a verdict; sql gives evidence for a judge.")] = "code",
    url: asking.Url = calling.DEFAULT_URL,
    token: asking.Token = None,
    as_json: asking.Json = False,
) -> None:
    """Judge an episode as it is now; it goes on.

    Exits with 0 when there is a verdict, whatever it is, and with 1 when the verifier gave none.
    """
    with asking.control(url, token) as fleet:
        judged = fleet.verify(id, verdicts.VerifyRequest(answer=answer, task=task, mode=mode))
    if as_json:
        output.document(judged.model_dump(mode="json"))
    else:
        output.verdict(judged)
    if judged.outcome == "abstained":
        raise typer.Exit(_FAILED)


@app.command(epilog=output.examples("awm episode close ep_..."))
def close(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Episodes' ids.")],
    url: asking.Url = calling.DEFAULT_URL,
    token: asking.Token = None,
    as_json: asking.Json = False,
) -> None:
    """End episodes; twice is fine. Exits with 3 when some could not be ended, with 1 when none could."""
    closed, refused = [], {}
    with asking.control(url, token) as fleet:
        for id in output.tracked(iter(ids), len(ids), "Closing"):
            try:
                fleet.close(id)
                closed.append(id)
            except errors.AwmError as exc:
                refused[id] = str(exc)
    if as_json:
        output.document({"closed": closed, "refused": refused})
    else:
        output.say(f"closed {len(closed)} of {len(ids)}")
    for id, reason in refused.items():
        output.complain(f"{id}: {reason}")
    if refused:
        raise typer.Exit(_PARTLY if closed else _FAILED)


def _show_opened(opened: list[episodes.EpisodeView]) -> None:
    first = opened[0]
    if first.instruction:
        output.say(first.instruction, "bold")
    rows = ((each.id, each.task, each.seed, each.mcp_url) for each in opened)
    output.table(f"{first.scenario}, generation {first.generation}", ("episode", "task", "seed", "MCP URL"), rows)
    for line in _next(first):
        output.say(f"  {line}", "dim")


def _next(view: episodes.EpisodeView) -> Iterable[str]:
    yield f"awm call {view.scenario} TOOL key=value --episode {view.id}"
    yield f"awm episode diff {view.id}"
    if view.task is not None:
        yield f"awm episode verify {view.id}"


def _show(view: episodes.EpisodeView) -> None:
    if view.instruction:
        output.say(view.instruction, "bold")
    wrong = ", ".join(f"{count} {kind}" for kind, count in view.errors.model_dump().items() if count)
    facts: dict[str, Any] = {
        "episode": view.id,
        "scenario": f"{view.scenario}, generation {view.generation}",
        "state": view.state if view.interrupted is None else f"{view.state}, interrupted at call {view.interrupted}",
        "task": view.task,
        "seed": view.seed,
        "group": view.group,
        "forked from": view.source,
        "calls": view.calls,
        "errors": wrong or "none",
        "MCP URL": view.mcp_url,
        "state hash": view.state_hash,
        "expires": _moment(view.expires_at),
    }
    output.table("", ("", ""), ((name, value) for name, value in facts.items() if value is not None))


def _call(call: dict[str, Any]) -> tuple[Any, ...]:
    code = f"{call['class']}: {call.get('code') or call.get('status')}" if call.get("is_error") else ""
    given = json.dumps(call["arguments"], ensure_ascii=False)
    result = call["result"] if isinstance(call["result"], str) else json.dumps(call["result"], ensure_ascii=False)
    return (call["n"], call["tool"], changes.short(given), changes.short(result), code, call["ms"])


def _document(view: episodes.EpisodeView) -> dict[str, Any]:
    return view.model_dump(mode="json", by_alias=True)


def _moment(moment: Any) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"
