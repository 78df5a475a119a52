"""`awm gen`: from seed names or a brief to verified bundles."""

import dataclasses
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from awm_fleet.cli import gen_builtin, gen_next, gen_running, gen_stages, locating, output
from awm_fleet.cli import gen_flags as flags
from awm_generator.builtin import staging
from awm_generator.model import endpoints
from awm_generator.stages import growing, paths, pipeline, regenerating, running, standing, verifiers, whole

app = typer.Typer(
    name="gen",
    no_args_is_help=True,
    help="Generate scenarios: with a language model, stage by stage or all at once, or from blueprints without one. "
    "What was stopped goes on where it ended.",
)

_DEFAULTS = growing.Growth()

SeedFile = Annotated[
    Path | None, typer.Option("--input_path", "--input", help="Seeds, one per line; by default 100 that ship with awm.")
]
Brief = Annotated[
    str | None, typer.Option("--brief", help="One scenario to make instead: a text, a file with one, or OpenAPI.")
]
Seed = Annotated[int, typer.Option("--seed", help="builtin: the same seed gives the same scenarios.")]
Families = Annotated[
    str | None, typer.Option("--families", help="builtin: only these blueprints, with commas between them.")
]
OwnBlueprints = Annotated[
    list[Path] | None,
    typer.Option(
        "--blueprint",
        help="builtin: a blueprint file of your own; may be repeated. Without --families only these are used.",
    ),
]
TargetCount = Annotated[int, typer.Option("--target_count", min=1, help="How many scenarios there are to be.")]


@app.command(epilog=output.examples("awm gen scenario --target_count 200", "awm gen scenario --classify_only"))
@flags.asks_a_model
def scenario(
    input_path: SeedFile = None,
    output_path: Annotated[Path, typer.Option("--output_path", help="Where they go.")] = flags.OUTPUTS
    / "gen_scenario.jsonl",
    brief: Brief = None,
    target_count: TargetCount = _DEFAULTS.target_count,
    batch_size: Annotated[int, typer.Option("--batch_size", min=1, help="Seeds that are taken in at once.")] = 50,
    num_parallel_requests: Annotated[int, typer.Option("--num_parallel_requests", min=1, help="Per round.")] = 5,
    scenarios_per_request: Annotated[int, typer.Option("--scenarios_per_request", min=1, help="Asked for.")] = 10,
    num_few_shot: Annotated[int, typer.Option("--num_few_shot", min=0, help="Examples in a request.")] = 8,
    temperature: Annotated[float, typer.Option("--temperature", min=0, max=2, help="For new ideas.")] = 1.0,
    max_retries: Annotated[int, typer.Option("--max_retries", min=0, help="For replies that fail.")] = 3,
    diversity_check_batch: Annotated[
        int, typer.Option("--diversity_check_batch", min=1, help="Scenarios that are classified at once.")
    ] = 80,
    classify_only: Annotated[bool, typer.Option("--classify_only", help="Judge the seeds, grow nothing.")] = False,
    skip_classification: Annotated[bool, typer.Option("--skip_classification", help="Take all as they are.")] = False,
    embedding_similarity_threshold: Annotated[
        float, typer.Option("--embedding_similarity_threshold", min=0, max=1, help="A cosine above it is refused.")
    ] = 0.85,
    embedding_warning_threshold: Annotated[
        float, typer.Option("--embedding_warning_threshold", min=0, max=1, help="A cosine above it is told.")
    ] = 0.75,
    embedding_model: Annotated[
        str,
        typer.Option("--embedding_model", help=f"Its name; {endpoints.LOCAL_EMBEDDINGS} for n-grams, without a model."),
    ] = endpoints.DEFAULT_EMBEDDING_MODEL,
    embedding_batch_size: Annotated[int, typer.Option("--embedding_batch_size", min=1, help="Texts at once.")] = 50,
    max_per_category: Annotated[int, typer.Option("--max_per_category", min=1, help="Scenarios of one trade.")] = 80,
    max_stall_iterations: Annotated[
        int, typer.Option("--max_stall_iterations", min=1, help="Stop after so many rounds without a new one.")
    ] = 10,
    max_total_iterations: Annotated[int, typer.Option("--max_total_iterations", min=1, help="Rounds at most.")] = 1000,
    resume: Annotated[bool, typer.Option("--resume/--no_resume", help="Go on from the output that is there.")] = True,
    seed: Seed = 7,
    families: Families = None,
    blueprint: OwnBlueprints = None,
    *,
    terms: gen_running.Terms,
) -> None:
    """Grow seed names into many different scenarios.

    Seeds that do not suit a database-backed service are left out, near-duplicates are refused by embeddings, and no
    trade gets more than its share. The provider builtin chooses scenarios of its blueprints instead.
    """
    if (order := _order(terms, target_count, seed, families, blueprint)) is not None:
        raise typer.Exit(gen_builtin.choose(output_path, order, as_json=terms.as_json))
    growth = growing.Growth(
        target_count=target_count,
        batch_size=batch_size,
        num_parallel_requests=num_parallel_requests,
        scenarios_per_request=scenarios_per_request,
        num_few_shot=num_few_shot,
        temperature=temperature,
        max_retries=max_retries,
        diversity_check_batch=diversity_check_batch,
        classify_only=classify_only,
        skip_classification=skip_classification,
        embedding_similarity_threshold=embedding_similarity_threshold,
        embedding_warning_threshold=embedding_warning_threshold,
        embedding_batch_size=embedding_batch_size,
        max_per_category=max_per_category,
        max_stall_iterations=max_stall_iterations,
        max_total_iterations=max_total_iterations,
    )
    terms = dataclasses.replace(terms, embedding_model=embedding_model)
    gen_running.refuse_existing(output_path, resume=resume)
    files = paths.Paths.within(output_path.parent, scenario=output_path)
    options = pipeline.Options(max_retry=max_retries, max_concurrency=terms.max_concurrency)

    async def work(bench: pipeline.Bench) -> Sequence[running.Summary]:
        return [await whole.grow(bench, growth, seed_file=input_path, brief=brief)]

    gen_running.run(terms, output_path.parent, files, options, work)


gen_stages.register(app)


@app.command(
    "all",
    epilog=output.examples(
        "awm gen all --target_count 10 --max_cost 10",
        "awm gen all --provider builtin --target_count 20 --output_dir out",
        "awm gen all --brief 'A tool library: members borrow tools for a week' --output_dir outputs/tools",
        "awm gen all --provider azure --model my-deployment --env_file .env",
    ),
)
@flags.asks_a_model
def all_(
    input_: SeedFile = None,
    output_dir: Annotated[Path, typer.Option("--output_dir", help="Where everything goes.")] = flags.OUTPUTS,
    brief: Brief = None,
    target_count: TargetCount = _DEFAULTS.target_count,
    num_tasks: Annotated[int, typer.Option("--num_tasks", min=1, help="Tasks for each scenario.")] = 10,
    verifier_mode: Annotated[
        verifiers.Mode,
        typer.Option("--verifier_mode", help="code gives verdicts, by which oracles are judged; sql gives evidence."),
    ] = "code",
    embedding_model: Annotated[
        str,
        typer.Option("--embedding_model", help=f"Its name; {endpoints.LOCAL_EMBEDDINGS} for n-grams, without a model."),
    ] = endpoints.DEFAULT_EMBEDDING_MODEL,
    gate_level: flags.GateLevel = "semantic",
    max_retry: flags.MaxRetry = 4,
    seed: Seed = 7,
    families: Families = None,
    blueprint: OwnBlueprints = None,
    *,
    terms: gen_running.Terms,
) -> None:
    """Run every stage, from seeds or a brief to gated bundles; or, without a model, from blueprints.

    The bundles are in OUTPUT_DIR/bundles. Stop it when you like, and run the same command again to go on: what was done
    is done, and no reply is asked for twice. Exits with 3 when something had to be left out; each is named.
    """
    terms = dataclasses.replace(terms, embedding_model=embedding_model, gate_level=gate_level)
    if (order := _order(terms, target_count, seed, families, blueprint)) is not None:
        raise typer.Exit(gen_builtin.generate(output_dir, order, as_json=terms.as_json))
    options = pipeline.Options(
        num_tasks=num_tasks,
        max_retry=max_retry,
        mode=verifier_mode,
        gates=gate_level,
        max_concurrency=terms.max_concurrency,
    )
    growth = growing.Growth(target_count=target_count, max_retries=max_retry)

    async def work(bench: pipeline.Bench) -> Sequence[running.Summary]:
        return await whole.run(bench, growth, seed_file=input_, brief=brief)

    files = paths.Paths.within(output_dir, verifier_mode)
    gen_running.run(terms, output_dir, files, options, work, bundles=lambda: _bundles(files))


def _order(
    terms: gen_running.Terms, count: int, seed: int, families: str | None, blueprints: Sequence[Path] | None
) -> staging.Order | None:
    """What is ordered of the built-in generator; None where another provider is meant.

    Raises:
        BadParameter: flags of the built-in generator go to another one.
    """
    if gen_running.provider_of(terms) == "builtin":
        named = tuple(locating.scenario_names(families, "--families"))
        files = tuple(file.absolute() for file in blueprints or ())
        return staging.Order(count=count, seed=seed, families=named, blueprints=files)
    if families or blueprints:
        raise typer.BadParameter("--families and --blueprint go with --provider builtin")
    return None


@app.command(epilog=output.examples("awm gen stats out", "awm gen stats out --json"))
def stats(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of bundles, or an output folder.")],
    as_json: flags.AsJson = False,
) -> None:
    """Show how large scenarios are, and how different from one another."""
    gen_builtin.stats(folder, as_json=as_json)


@app.command(epilog=output.examples("awm gen check bakery.yaml"))
def check(
    files: Annotated[list[Path], typer.Argument(metavar="BLUEPRINT", help="Blueprint files.")],
) -> None:
    """Check blueprints: words, sense, and whether their scenarios can be lived in."""
    raise typer.Exit(gen_builtin.check(files))


@app.command(epilog=output.examples("awm gen status outputs", "awm gen status outputs --json"))
def status(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a run.")] = flags.OUTPUTS,
    as_json: flags.AsJson = False,
) -> None:
    """Show how far a run is: what is done, what was left out and why, and what it cost."""
    found = standing.of(folder)
    if as_json:
        output.document(found.document())
        return
    columns = ("stage", "done", "left", "quarantined", "replies", "cost")
    output.table("", columns, [_standing(each) for each in found.stages])
    left_out = [
        *((each.stage, entry.scenario, "", entry.reason) for each in found.stages for entry in each.quarantined),
        *(
            (each.stage, entry.scenario, part.subject, part.reason)
            for each in found.stages
            for entry in each.partly
            for part in entry.casualties
        ),
    ]
    if left_out:
        output.table("Left out", ("stage", "scenario", "part", "reason"), left_out)
    output.say(gen_running.spent(found.total))


@app.command(
    epilog=output.examples(
        "awm gen regenerate Rover --from env --feedback 'Refuse walks in the past with a 409.'",
        "awm gen regenerate rover --output_dir outputs --from verifier",
    )
)
@flags.asks_a_model
def regenerate(
    name: Annotated[str, typer.Argument(metavar="SCENARIO", help="Its name, in any spelling.")],
    first: Annotated[str, typer.Option("--from", help="The first stage that runs again.")] = "task",
    feedback: Annotated[str, typer.Option("--feedback", help="What is to be different.")] = "",
    output_dir: Annotated[Path, typer.Option("--output_dir", help="The run's folder.")] = flags.OUTPUTS,
    num_tasks: Annotated[int, typer.Option("--num_tasks", min=1, help="Tasks, where these are written anew.")] = 10,
    verifier_mode: Annotated[verifiers.Mode, typer.Option("--verifier_mode", help="As it was in the run.")] = "code",
    gate_level: flags.GateLevel = "semantic",
    max_retry: flags.MaxRetry = 4,
    *,
    terms: gen_running.Terms,
) -> None:
    """Make the next generation of one scenario, from a stage on.

    Works from the rows of the stages before, and replaces those from there on, and the bundle, when all of it is done.
    """
    wish = regenerating.Wish(gen_running.scenario_name(name), gen_running.stage_name(first), feedback)
    terms = dataclasses.replace(terms, gate_level=gate_level)
    options = pipeline.Options(
        num_tasks=num_tasks,
        max_retry=max_retry,
        mode=verifier_mode,
        gates=gate_level,
        max_concurrency=terms.max_concurrency,
    )
    generation = gen_next.make(terms, output_dir, wish, options)
    if terms.as_json:
        output.document({"scenario": wish.name, "generation": generation, "from": wish.first})
    else:
        output.say(f"{wish.name} is at generation {generation}, made anew from {wish.first}: {output_dir / 'bundles'}")


def _bundles(files: paths.Paths) -> list[Path]:
    return sorted(path.parent for path in files.bundles.glob("*/scenario.json"))


def _standing(each: standing.StageStanding) -> tuple[object, ...]:
    spent = asdict(each.spent)
    unknown = " + unknown" if each.spent.unpriced else ""
    return (
        each.stage,
        each.done,
        each.left,
        len(each.quarantined),
        spent["replies"],
        f"${each.spent.cost:.4f}{unknown}",
    )
