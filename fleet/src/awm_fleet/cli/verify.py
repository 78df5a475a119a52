"""`awm verify`: judges an agent's run from its two databases."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from awm_fleet.cli import output
from awm_generator.awm_files import verifiers
from awm_runtime import errors
from awm_runtime.bundle import database
from awm_runtime.contract import verdicts
from awm_runtime.verification import sandbox
from awm_runtime.verification import verdicts as decisions

_OUTCOME_STYLE = {"completed": "bold green", "partial": "yellow", "failed": "bold red"}


def verify(
    input_: Annotated[
        Path | None, typer.Option("--input", help="An agent run's folder: trajectory, initial and final database.")
    ] = None,
    init_db_path: Annotated[Path | None, typer.Option(help="The database before the run.")] = None,
    final_db_path: Annotated[Path | None, typer.Option(help="The database after the run.")] = None,
    mode: Annotated[Literal["sql", "code"], typer.Option(help="sql gives evidence, code gives a verdict.")] = "code",
    verifier_path: Annotated[Path | None, typer.Option(help="sql mode: gen_verifier.jsonl, or a .py file.")] = None,
    verifier_code_path: Annotated[
        Path | None, typer.Option(help="code mode: gen_verifier.pure_code.jsonl, or a .py file.")
    ] = None,
    scenario: Annotated[
        str | None, typer.Option(help="Which scenario's verifier; by default the trajectory's.")
    ] = None,
    task_id: Annotated[int | None, typer.Option(help="Which task's verifier; by default the trajectory's.")] = None,
    answer: Annotated[str | None, typer.Option(help="The agent's final answer; by default the trajectory's.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Judge a run: a verifier compares the databases before and after it, confined in a process of its own."""
    run = _trajectory(input_)
    initial = _database(init_db_path, input_, "initial", "--init_db_path")
    final = _database(final_db_path, input_, "final", "--final_db_path")
    source = _verifier(
        verifier_code_path if mode == "code" else verifier_path,
        flag="--verifier_code_path" if mode == "code" else "--verifier_path",
        mode=mode,
        scenario=scenario or run.get("scenario"),
        task=task_id if task_id is not None else run.get("task_id", run.get("task_idx")),
    )
    given = answer if answer is not None else run.get("final_answer", run.get("answer"))
    wanted = verdicts.VerifyRequest(answer=given, mode=mode)
    reply = sandbox.judge_once(
        sandbox.JudgeRequest(source=source, mode=mode, initial=initial, final=final, answer=wanted.answer)
    )
    verdict = decisions.decide(
        reply,
        errors=verdicts.ErrorCounts(),
        environment_calls=[],
        request=wanted,
        state_hash=database.state_hash(final),
        version=f"sha256:{hashlib.sha256(source.encode()).hexdigest()}",
    )
    if json_:
        output.document(verdict.model_dump(mode="json"))
    else:
        for check, passed in verdict.checks.items():
            output.say(f"  {'ok  ' if passed else 'FAIL'} {check}", "green" if passed else "red")
        if verdict.evidence:
            output.document(verdict.evidence)
        reason = f" ({verdict.reason})" if verdict.reason else ""
        output.say(f"verdict: {verdict.outcome}, reward {verdict.reward}{reason}", _OUTCOME_STYLE.get(verdict.outcome))
    if verdict.outcome == "abstained":
        raise typer.Exit(1)


def _trajectory(folder: Path | None) -> dict[str, Any]:
    """What a run's folder says of it; empty where it says nothing."""
    for path in sorted(folder.glob("*trajectory*.json")) if folder else []:
        try:
            document = json.loads(path.read_text())
        except json.JSONDecodeError as exc:
            raise errors.PermanentError(f"{path}: line {exc.lineno}: no JSON: {exc.msg}") from exc
        if isinstance(document, dict):
            return document
    return {}


def _database(given: Path | None, folder: Path | None, which: str, flag: str) -> Path:
    found = [given] if given else sorted(folder.glob(f"*{which[:4]}*.db")) if folder else []
    if len(found) != 1:
        raise errors.PermanentError(
            f"which is the {which} database? give {flag}, or --input with one *{which[:4]}*.db in it"
        )
    if not found[0].exists():
        raise errors.PermanentError(f"{found[0]}: no such file")
    return found[0]


def _verifier(path: Path | None, *, flag: str, mode: str, scenario: str | None, task: int | None) -> str:
    if path is None:
        raise errors.PermanentError(f"give the verifier with {flag}")
    if not path.exists():
        raise errors.PermanentError(f"{path}: no such file")
    if path.suffix == ".py":
        return path.read_text()
    if scenario is None or task is None:
        raise errors.PermanentError(f"{path} holds many verifiers: name one with --scenario and --task_id")
    return verifiers.in_file(path, scenario, int(task), "code" if mode == "code" else "sql")
