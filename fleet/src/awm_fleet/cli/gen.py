"""`awm gen`: scenarios, from blueprints."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from awm_fleet.cli import gen_builtin, output

app = typer.Typer(name="gen", no_args_is_help=True, help="Generate scenarios, and see what they are like.")

_FAMILIES = "Only these blueprints, with commas between them."
_BLUEPRINT = "A blueprint file of your own; may be given several times. Without --families only these are used."


@app.command(
    "all",
    epilog=output.examples(
        "awm gen all --provider builtin --target_count 20 --seed 7 --output_dir out",
        "awm gen all --provider builtin --blueprint bakery.yaml --target_count 5 --output_dir out",
    ),
)
def all_(
    output_dir: Annotated[Path, typer.Option(help="Where the bundles and the JSON Lines files go.")] = Path("outputs"),
    provider: Annotated[Literal["builtin"], typer.Option(help="Who writes the scenarios.")] = "builtin",  # noqa: ARG001
    target_count: Annotated[int, typer.Option(min=1, help="How many scenarios.")] = 1000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same scenarios.")] = 7,
    families: Annotated[str, typer.Option(help=_FAMILIES)] = "",
    blueprint: Annotated[list[Path] | None, typer.Option(help=_BLUEPRINT)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")] = False,
) -> None:
    """Make scenarios from blueprints, without a language model.

    Started again, it keeps what is there and makes the rest.
    """
    wanted = [name.strip() for name in families.split(",") if name.strip()]
    status = gen_builtin.generate(
        output_dir,
        target_count=target_count,
        seed=seed,
        families=wanted,
        blueprints=blueprint or [],
        as_json=as_json,
    )
    raise typer.Exit(status)


@app.command(epilog=output.examples("awm gen stats out", "awm gen stats out --json"))
def stats(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of bundles, or an output folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")] = False,
) -> None:
    """Show how large scenarios are, and how different from one another."""
    gen_builtin.stats(folder, as_json=as_json)


@app.command(epilog=output.examples("awm gen check bakery.yaml"))
def check(
    files: Annotated[list[Path], typer.Argument(metavar="BLUEPRINT", help="Blueprint files.")],
) -> None:
    """Check blueprints: words, sense, and whether their scenarios can be lived in."""
    raise typer.Exit(gen_builtin.check(files))
