"""`awm verify`: judges an agent's run from its two databases."""

import hashlib
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from awm_fleet.cli import output, runs
from awm_generator.awm_files import verifiers
from awm_runtime import errors
from awm_runtime.bundle import database
from awm_runtime.contract import verdicts
from awm_runtime.verification import sandbox
from awm_runtime.verification import verdicts as decisions

app = typer.Typer()

_EXAMPLES = output.examples(
    "awm verify --input outputs/agent/run-1 --verifier_code_path outputs/gen_verifier.pure_code.jsonl",
    "awm verify --init_db_path before.db --final_db_path after.db --verifier_code_path check.py --answer 42",
    "awm verify --input outputs/agent/run-1 --mode sql --verifier_path outputs/gen_verifier.jsonl --json",
)

_EXIT_FAILED = 1


@app.command(epilog=_EXAMPLES)
def verify(
    input_: Annotated[
        Path | None, typer.Option("--input", help="An agent run's folder: trajectory, initial and final database.")
    ] = None,
    init_db_path: Annotated[
        Path | None, typer.Option("--init_db_path", help="The database before the run; by default --input's.")
    ] = None,
    final_db_path: Annotated[
        Path | None, typer.Option("--final_db_path", help="The database after the run; by default --input's.")
    ] = None,
    mode: Annotated[
        verdicts.Mode, typer.Option("--mode", help="code gives a verdict; sql gives evidence for a judge.")
    ] = "code",
    verifier_path: Annotated[
        Path | None, typer.Option("--verifier_path", help="AWM's gen_verifier.jsonl, or a verifier's .py file.")
    ] = None,
    verifier_code_path: Annotated[
        Path | None,
        typer.Option("--verifier_code_path", help="The same for code mode: gen_verifier.pure_code.jsonl, or a .py."),
    ] = None,
    scenario: Annotated[
        str | None, typer.Option("--scenario", help="Whose verifier; by default the trajectory's scenario.")
    ] = None,
    task_id: Annotated[
        int | None, typer.Option("--task_id", help="Which task's verifier; by default the trajectory's.")
    ] = None,
    answer: Annotated[
        str | None, typer.Option("--answer", help="The agent's final answer; by default the trajectory's.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Judge a run by its two databases.

    A verifier compares the database before the run with the one after it: confined, in a process of its own, on copies.
    Exits with 0 when there is a verdict, whatever it is, and with 1 when the verifier gave none.
    """
    run = runs.trajectory(input_)
    source = _verifier(
        (verifier_code_path or verifier_path) if mode == "code" else (verifier_path or verifier_code_path),
        mode,
        scenario=scenario if scenario is not None else run.scenario,
        task=task_id if task_id is not None else run.task,
    )
    verdict = _judge(
        source,
        runs.database(init_db_path, input_, "initial", "--init_db_path"),
        runs.database(final_db_path, input_, "final", "--final_db_path"),
        verdicts.VerifyRequest(answer=answer if answer is not None else run.answer, mode=mode),
    )
    if json_:
        output.document(verdict.model_dump(mode="json"))
    else:
        output.verdict(verdict)
    if verdict.outcome == "abstained":
        raise typer.Exit(_EXIT_FAILED)


def _judge(source: str, initial: Path, final: Path, wanted: verdicts.VerifyRequest) -> verdicts.Verdict:
    with tempfile.TemporaryDirectory(prefix="awm-verify-") as folder:
        before = runs.judgeable(initial, Path(folder, "initial.db"))
        after = runs.judgeable(final, Path(folder, "final.db"))
        reply = sandbox.judge_once(
            sandbox.JudgeRequest(source=source, mode=wanted.mode, initial=before, final=after, answer=wanted.answer)
        )
        return decisions.decide(
            reply,
            errors=verdicts.ErrorCounts(),
            environment_calls=[],
            request=wanted,
            state_hash=database.state_hash(after),
            version=f"sha256:{hashlib.sha256(source.encode()).hexdigest()}",
        )


def _verifier(path: Path | None, mode: verdicts.Mode, *, scenario: str | None, task: int | None) -> str:
    if path is None:
        flag = "--verifier_code_path" if mode == "code" else "--verifier_path"
        raise errors.PermanentError(f"which verifier? name its file with {flag}")
    if not path.is_file():
        raise errors.PermanentError(f"{path}: no such file")
    if path.suffix == ".py":
        return path.read_text(encoding="utf-8", errors="replace")
    if scenario is None or task is None:
        raise errors.PermanentError(f"{path} holds many verifiers: choose one with --scenario and --task_id")
    return verifiers.in_file(path, scenario, task, mode)
