"""The flags that commands of `awm gen` have in common."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from awm_fleet.cli import gen_running, locating
from awm_generator.stages import pipeline, proving

Model = Annotated[
    str | None,
    typer.Option("--model", help="The model's name, or Azure's deployment; AWM_SYN_OVERRIDE_MODEL comes before it."),
]
Provider = Annotated[
    str | None,
    typer.Option("--provider", help="openai, azure or builtin; by default AWM_SYN_LLM_PROVIDER, or else openai."),
]
EnvFile = Annotated[Path | None, typer.Option("--env_file", help="A file with NAME=value lines, read as variables.")]
Prices = Annotated[Path | None, typer.Option("--prices", help="Prices of models in TOML, before those that are known.")]
MaxCost = Annotated[
    float | None,
    typer.Option("--max_cost", min=0, help="Stop when the folder's runs have cost this many US dollars together."),
]
MaxConcurrency = Annotated[
    int, typer.Option("--max_concurrency", min=1, help="How many requests may be under way at once.")
]
MaxRetry = Annotated[int, typer.Option("--max_retry", min=0, help="How often a reply that fails may be mended.")]
Allowed = Annotated[
    str | None, typer.Option("--allowed_scenarios", help="Only these scenarios, with commas between them.")
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Only the first so many scenarios.")]
DatabaseDir = Annotated[Path, typer.Option("--database_dir", help="Where the databases are.")]
ErrorThreshold = Annotated[
    float,
    typer.Option("--error_threshold", min=0, max=1, help="The share of statements that may fail and are left out."),
]
GateLevel = Annotated[
    proving.Level,
    typer.Option("--gate_level", help="How far code, verifiers and bundles are gated; none leaves that to awm gate."),
]
StageGateLevel = Annotated[
    proving.Level, typer.Option("--gate_level", help="How far it is gated as it is made; none leaves that to awm gate.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]

OUTPUTS = Path("outputs")
DATABASES = Path("./outputs/databases")


def only(allowed: str | None) -> frozenset[str]:
    """The scenarios that `--allowed_scenarios` names, normalised."""
    return pipeline.normalised(locating.scenario_names(allowed, "--allowed_scenarios"))


def asks_a_model(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the flags of all that ask a model, after its own; it gets what they say as `terms`."""
    own = [each for each in inspect.signature(command).parameters.values() if each.name != "terms"]
    common = inspect.signature(_terms).parameters

    @functools.wraps(command)
    def asking(**given: Any) -> None:
        said = {name: given.pop(name) for name in common}
        command(**given, terms=_terms(**said))

    flags = [*own, *common.values()]
    made: Any = asking
    made.__signature__ = inspect.Signature(flags)  # what Typer reads
    made.__annotations__ = {each.name: each.annotation for each in flags}
    return asking


def _terms(
    model: Model = None,
    provider: Provider = None,
    env_file: EnvFile = None,
    prices: Prices = None,
    max_cost: MaxCost = None,
    max_concurrency: MaxConcurrency = 32,
    as_json: AsJson = False,
) -> gen_running.Terms:
    return gen_running.Terms(
        model=model,
        provider=provider,
        env_file=env_file,
        prices=prices,
        max_cost=max_cost,
        max_concurrency=max_concurrency,
        as_json=as_json,
    )
