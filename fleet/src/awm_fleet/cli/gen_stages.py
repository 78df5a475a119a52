"""`awm gen task`, `db`, `sample`, `spec`, `env`, `verifier`, `oracle`: one stage over one file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from awm_fleet.cli import gen_builtin, gen_running, output
from awm_fleet.cli import gen_flags as flags
from awm_generator.stages import paths, pipeline, running, verifiers

_RETRY = 4


def _option(name: str, help: str) -> Any:
    return typer.Option(f"--{name}", help=help)


def _run(
    stage: paths.StageName, terms: gen_running.Terms, options: pipeline.Options, written: Path, **given: Path
) -> None:
    """Runs one stage: `given` are the files that it reads, `written` is the one that it writes."""
    folder = written.parent
    files = paths.Paths.within(folder, options.mode, **{stage: written}, **given)
    if gen_running.provider_of(terms) == "builtin":
        raise typer.Exit(gen_builtin.stage(stage, files, options, as_json=terms.as_json))

    async def work(bench: pipeline.Bench) -> Sequence[running.Summary]:
        return [await pipeline.run(bench, stage)]

    gen_running.run(terms, folder, files, options, work)


@flags.asks_a_model
def task(
    input_: Annotated[Path, _option("input", "The scenarios.")] = flags.OUTPUTS / "gen_scenario.jsonl",
    output_: Annotated[Path, _option("output", "Where the tasks go.")] = flags.OUTPUTS / "gen_tasks.jsonl",
    num_tasks: Annotated[int, typer.Option("--num_tasks", min=1, help="Tasks for each scenario.")] = 10,
    limit: flags.Limit = None,
    max_retry: flags.MaxRetry = _RETRY,
    *,
    terms: gen_running.Terms,
) -> None:
    """Write what users of each scenario would have done for them."""
    options = pipeline.Options(
        num_tasks=num_tasks, limit=limit, max_retry=max_retry, max_concurrency=terms.max_concurrency
    )
    _run("task", terms, options, output_, scenario=input_)


@flags.asks_a_model
def db(
    input_: Annotated[Path, _option("input", "The tasks.")] = flags.OUTPUTS / "gen_tasks.jsonl",
    output_: Annotated[Path, _option("output", "Where the schemas go.")] = flags.OUTPUTS / "gen_db.jsonl",
    database_dir: flags.DatabaseDir = flags.DATABASES,
    allowed_scenarios: flags.Allowed = None,
    error_threshold: flags.ErrorThreshold = 0.0,
    limit: flags.Limit = None,
    max_retry: flags.MaxRetry = _RETRY,
    *,
    terms: gen_running.Terms,
) -> None:
    """Design the schema that each scenario's tasks need, and build its database."""
    options = pipeline.Options(
        only=flags.only(allowed_scenarios),
        limit=limit,
        max_retry=max_retry,
        schema_tolerance=error_threshold,
        max_concurrency=terms.max_concurrency,
    )
    _run("db", terms, options, output_, task=input_, databases=database_dir)


@flags.asks_a_model
def sample(
    input_task: Annotated[Path, _option("input_task", "The tasks.")] = flags.OUTPUTS / "gen_tasks.jsonl",
    input_db: Annotated[Path, _option("input_db", "The schemas.")] = flags.OUTPUTS / "gen_db.jsonl",
    output_: Annotated[Path, _option("output", "Where the rows go.")] = flags.OUTPUTS / "gen_sample.jsonl",
    database_dir: flags.DatabaseDir = flags.DATABASES,
    allowed_scenarios: flags.Allowed = None,
    error_threshold: flags.ErrorThreshold = 0.0,
    limit: flags.Limit = None,
    max_retry: flags.MaxRetry = _RETRY,
    *,
    terms: gen_running.Terms,
) -> None:
    """Fill each database with rows, so that every task can be done."""
    options = pipeline.Options(
        only=flags.only(allowed_scenarios),
        limit=limit,
        max_retry=max_retry,
        sample_tolerance=error_threshold,
        max_concurrency=terms.max_concurrency,
    )
    _run("sample", terms, options, output_, task=input_task, db=input_db, databases=database_dir)


@flags.asks_a_model
def spec(
    input_task: Annotated[Path, _option("input_task", "The tasks.")] = flags.OUTPUTS / "gen_tasks.jsonl",
    input_db: Annotated[Path, _option("input_db", "The schemas.")] = flags.OUTPUTS / "gen_db.jsonl",
    output_: Annotated[Path, _option("output", "Where the specifications go.")] = flags.OUTPUTS / "gen_spec.jsonl",
    allowed_scenarios: flags.Allowed = None,
    limit: flags.Limit = None,
    max_retry: flags.MaxRetry = _RETRY,
    *,
    terms: gen_running.Terms,
) -> None:
    """Specify the endpoints of each scenario."""
    options = pipeline.Options(
        only=flags.only(allowed_scenarios), limit=limit, max_retry=max_retry, max_concurrency=terms.max_concurrency
    )
    _run("spec", terms, options, output_, task=input_task, db=input_db)


@flags.asks_a_model
def env(
    input_spec: Annotated[Path, _option("input_spec", "The specifications.")] = flags.OUTPUTS / "gen_spec.jsonl",
    input_db: Annotated[Path, _option("input_db", "The schemas.")] = flags.OUTPUTS / "gen_db.jsonl",
    output_: Annotated[Path, _option("output", "Where the code goes.")] = flags.OUTPUTS / "gen_envs.jsonl",
    database_dir: flags.DatabaseDir = flags.DATABASES,
    allowed_scenarios: flags.Allowed = None,
    limit: flags.Limit = None,
    max_retry: flags.MaxRetry = _RETRY,
    gate_level: flags.StageGateLevel = "semantic",
    *,
    terms: gen_running.Terms,
) -> None:
    """Write each scenario's FastAPI module, load it in a confined process, and run its gates.

    The static and runtime gates judge it on the rows of gen_sample.jsonl beside the output; what they find goes back
    to the model with its counterexample. Without rows only the static ones can.
    """
    options = pipeline.Options(
        only=flags.only(allowed_scenarios),
        limit=limit,
        max_retry=max_retry,
        gates=gate_level,
        max_concurrency=terms.max_concurrency,
    )
    _run("env", terms, options, output_, spec=input_spec, db=input_db, databases=database_dir)


@flags.asks_a_model
def verifier(
    input_task: Annotated[Path, _option("input_task", "The tasks.")] = flags.OUTPUTS / "gen_tasks.jsonl",
    output_: Annotated[
        Path | None, _option("output", "Where the verifiers go; the default's name says which mode they have.")
    ] = None,
    database_dir: flags.DatabaseDir = flags.DATABASES,
    mode: Annotated[
        verifiers.Mode, typer.Option("--mode", help="sql gives evidence for a judge, code gives verdicts.")
    ] = "sql",
    limit: flags.Limit = None,
    allowed_scenarios: flags.Allowed = None,
    max_retry: flags.MaxRetry = _RETRY,
    batch_size: Annotated[int, typer.Option("--batch_size", min=1, help="How many scenarios are under way.")] = 128,
    *,
    terms: gen_running.Terms,
) -> None:
    """Write a verifier for each task, and try it on the untouched database.

    A database that is missing is built of gen_db.jsonl and gen_sample.jsonl beside the output.
    """
    options = pipeline.Options(
        only=flags.only(allowed_scenarios),
        limit=limit,
        max_retry=max_retry,
        mode=mode,
        max_concurrency=min(batch_size, terms.max_concurrency),
    )
    written = output_ or flags.OUTPUTS / paths.verifier_file(mode)
    _run("verifier", terms, options, written, task=input_task, databases=database_dir)


@flags.asks_a_model
def oracle(
    input_dir: Annotated[Path, _option("input_dir", "The folder of the stages' files.")] = flags.OUTPUTS,
    output_: Annotated[
        Path | None, _option("output", "Where the oracles go; by default gen_oracle.jsonl in that folder.")
    ] = None,
    input_verifier: Annotated[
        Path | None, _option("input_verifier", "The code mode verifiers; by default those of that folder.")
    ] = None,
    allowed_scenarios: flags.Allowed = None,
    limit: flags.Limit = None,
    max_retry: flags.MaxRetry = _RETRY,
    gate_level: flags.StageGateLevel = "semantic",
    *,
    terms: gen_running.Terms,
) -> None:
    """Solve each task in a real episode, and mend what stands in the way.

    The verifier judges the calls. Where they are not accepted, the model says what is to blame: the calls, the
    verifier, the task or the code; that is mended, and the task is played again. In the end the semantic gates try
    the verifiers with near misses and other right ways; one that judges these wrongly is written again.
    """
    options = pipeline.Options(
        only=flags.only(allowed_scenarios),
        limit=limit,
        max_retry=max_retry,
        gates=gate_level,
        max_concurrency=terms.max_concurrency,
    )
    given: dict[str, Path] = {stage: input_dir / file for stage, file in paths.FILES.items() if stage != "oracle"}
    if input_verifier is not None:
        given["verifier"] = input_verifier
    written = output_ or input_dir / paths.FILES["oracle"]
    _run("oracle", terms, options, written, databases=input_dir / "databases", **given)


def register(app: typer.Typer) -> None:
    """Adds the commands of this module to a group."""
    for command in (task, db, sample, spec, env, verifier, oracle):
        app.command(command.__name__, epilog=output.examples(*_EXAMPLES[command.__name__]))(command)


_EXAMPLES = {
    "task": ("awm gen task", "awm gen task --input seeds.jsonl --output outputs/gen_tasks.jsonl --num_tasks 5"),
    "db": ("awm gen db", "awm gen db --allowed_scenarios Rover --error_threshold 0.1"),
    "sample": ("awm gen sample", "awm gen sample --max_cost 2"),
    "spec": ("awm gen spec",),
    "env": ("awm gen env", "awm gen env --max_retry 2 --max_concurrency 8"),
    "verifier": ("awm gen verifier --mode code", "awm gen verifier --mode sql --limit 10"),
    "oracle": ("awm gen oracle", "awm gen oracle --input_dir outputs --allowed_scenarios Rover"),
}
