"""`awm demo`: a task solved in front of your eyes, and judged."""

import contextlib
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from awm_fleet.cli import changes as rows
from awm_fleet.cli import locating, output
from awm_generator import oracles
from awm_registry import client
from awm_runtime import errors
from awm_runtime.bundle import model, reading
from awm_runtime.contract import episodes, verdicts
from awm_runtime.server import launching

app = typer.Typer()

DEFAULT_EXAMPLE = "library"
_EXAMPLES = output.examples("awm demo", "awm demo clinic", "awm demo library --task rain-hold")

_EXIT_FAILED = 1


@app.command(epilog=_EXAMPLES)
def demo(
    name: Annotated[
        str, typer.Argument(help="An example's name, or a bundle's folder.", autocompletion=locating.example_names)
    ] = DEFAULT_EXAMPLE,
    task: Annotated[str | None, typer.Option(help="The task's id; by default the first that has an oracle.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Solve a task before your eyes, and judge it.

    Plays the task's oracle call by call, and shows the rows that changed and the verdict. An instance is started for
    it on free ports and stopped at the end; nothing is left behind. Exits with 0 when the task is completed.
    """
    bundle = reading.read(locating.bundle_folder(name))
    chosen = _task(bundle, task)
    with contextlib.ExitStack() as stack:
        state = stack.enter_context(tempfile.TemporaryDirectory(prefix="awm-demo-"))
        running = stack.enter_context(launching.launched(bundle.root, Path(state)))
        control = stack.enter_context(client.ControlClient(running.address.control_url))
        [episode] = control.open(task=chosen.id, seed=0)
        if not json_:
            _introduce(bundle, chosen, episode)
        tools = stack.enter_context(client.ToolClient(episode.mcp_url))
        try:
            played = _play(chosen, tools, quiet=json_)
        except oracles.OracleError as exc:
            log = Path(state, "instance.log").read_text(encoding="utf-8", errors="replace")
            raise errors.EnvironmentCodeError(f"the oracle cannot go on: {exc}", detail=f"The log:\n{log}") from exc
        changes = control.diff(episode.id)
        verdict = control.verify(episode.id, verdicts.VerifyRequest(answer=played.answer))
    if json_:
        output.document(
            {
                "scenario": bundle.scenario.name,
                "task": chosen.id,
                "instruction": chosen.instruction,
                "calls": [
                    {"tool": step.tool, "arguments": step.arguments, "reply": step.reply} for step in played.steps
                ],
                "answer": played.answer,
                "diff": changes,
                "verdict": verdict.model_dump(mode="json"),
            }
        )
    else:
        _show(played.answer, changes, verdict)
    if verdict.outcome != "completed":
        raise typer.Exit(_EXIT_FAILED)


def _introduce(bundle: model.Bundle, task: model.Task, episode: episodes.EpisodeView) -> None:
    output.say(f"{bundle.scenario.title}, task {task.id}", "bold")
    output.say(task.instruction)
    output.say(f"episode {episode.id} at {episode.mcp_url}\n", "dim")


def _task(bundle: model.Bundle, id: str | None) -> model.Task:
    """The task to play.

    Raises:
        PermanentError: It has no oracle, or is not there; the message has the ids of those that can be played.
    """
    playable = {task.id: task for task in bundle.tasks if task.oracle is not None}
    if not playable:
        raise errors.PermanentError(f"{bundle.scenario.name} has no task with an oracle, so there is nothing to play")
    chosen = playable.get(id) if id is not None else next(iter(playable.values()))
    if chosen is None:
        known = any(task.id == id for task in bundle.tasks)
        what = f"task {id!r} has no oracle" if known else f"there is no task {id!r}"
        raise errors.PermanentError(f"{bundle.scenario.name}: {what}; tasks to play: {', '.join(playable)}")
    return chosen


def _play(task: model.Task, tools: client.ToolClient, *, quiet: bool) -> oracles.Replay:
    assert task.oracle is not None

    def call(tool: str, arguments: dict[str, Any]) -> Any:
        reply = tools.call(tool, arguments)
        if not quiet:
            output.say(f"-> {tool}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})", "cyan")
            output.say(f"   {rows.short(reply.text)}", "red" if reply.is_error else None)
        return reply.data()

    return oracles.replay(task.oracle, call)


def _show(answer: str | None, changes: dict[str, Any], verdict: verdicts.Verdict) -> None:
    if answer is not None:
        output.say(f"\nanswer: {answer}")
    output.out.print()
    rows.show(changes)
    output.verdict(verdict)
