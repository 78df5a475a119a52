"""`awm bundle`: import, export, show and check bundles."""

import dataclasses
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich import text

from awm_fleet import shelves
from awm_fleet.cli import bundle_tables, gate, gate_tables, locating, output
from awm_generator import checking
from awm_generator.awm_files import exporting, importing, rows
from awm_runtime import errors
from awm_runtime.bundle import reading
from awm_runtime.determinism import clock as clocks

app = typer.Typer(name="bundle", no_args_is_help=True, help="Import, export, show and check bundles.")

_FAILED, _PARTLY = 1, 3

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]


def _clock(text: str) -> datetime:
    try:
        return clocks.parse(text)
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc


@app.command(
    "import",
    epilog=output.examples(
        "awm bundle import FILES --out bundles", "awm bundle import FILES --out bundles --scenarios Rover --json"
    ),
)
def import_(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder with gen_envs.jsonl, gen_db.jsonl, ...")],
    out: Annotated[Path, typer.Option("--out", help="Where the bundles go, a folder each.")],
    scenarios: Annotated[str | None, typer.Option(help="Only these, with commas between them.")] = None,
    clock: Annotated[
        datetime | None,
        typer.Option(parser=_clock, metavar="TIME", help="The frozen clock; by default what the tasks' dates suggest."),
    ] = None,
    gated: Annotated[
        bool, typer.Option("--gate", help="Run all gates on what came in; they decide its tier (see `awm gate`).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Import AWM's JSON Lines files as bundles.

    Every defect is named: what was mended, what was dropped, what is odd. Exits with 3 when a scenario is quarantined,
    because its code does not load, nothing of its database can be made, or a gate says so, or refused, because of what
    is in its place.
    """
    wanted = locating.scenario_names(scenarios, "--scenarios")
    found = rows.load(folder)
    selected = importing.select(found, wanted)
    done = list(output.tracked(importing.run(selected, out, clock=clock), len(selected), "Importing"))
    through = gate.gated([each.bundle.root for each in done if each.bundle is not None]) if gated else []
    read = {each.name: reading.read(each.path) for each in through if each.report is not None}
    done = [dataclasses.replace(each, bundle=read.get(each.name, each.bundle)) for each in done]
    unmatched = sorted(name for name, originals in found.items() if not originals.exists)
    if as_json:
        document = bundle_tables.import_document(done, unmatched)
        output.document({**document, **({"gates": gate_tables.documents(through)} if gated else {})})
    else:
        bundle_tables.print_import(done)
        if gated:
            gate_tables.show(through)
    for outcome in done:
        if outcome.bundle is None:
            what = "quarantined" if outcome.quarantined else "refused"
            output.complain(f"{what}: {outcome.name}: {outcome.reason}", detail=outcome.detail)
    if unmatched:
        output.err.print(text.Text(f"ignored, without code and schema: {', '.join(unmatched)}"))
    gate_tables.complain(through)
    if any(outcome.bundle is None for outcome in done) or gate.is_partial(through):
        raise typer.Exit(_PARTLY)


@app.command(epilog=output.examples("awm bundle export bundles --out files"))
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A bundle, or a folder of bundles.")],
    out: Annotated[Path, typer.Option("--out", help="Where the JSON Lines files go.")],
    as_json: AsJson = False,
) -> None:
    """Export bundles as AWM's JSON Lines files.

    A sidecar, awm_bundle.jsonl, holds what they cannot carry: an import of the folder makes the same bundles again.
    """
    bundles = [reading.read(path) for path in shelves.folders([folder])]
    exporting.export(bundles, out)
    if as_json:
        output.document({"out": str(out), "scenarios": [bundle.scenario.name for bundle in bundles]})
    else:
        output.say(f"Exported {len(bundles)} scenario(s) to {out}")


@app.command(epilog=output.examples("awm bundle show bundles/rover"))
def show(
    path: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder.")], as_json: AsJson = False
) -> None:
    """Show a bundle's report card.

    What it is, its tasks and tools, and what is wrong with it.
    """
    bundle = reading.read(path)
    if as_json:
        output.document(bundle_tables.card(bundle))
    else:
        bundle_tables.print_card(bundle)


@app.command(epilog=output.examples("awm bundle check bundles", "awm bundle check bundles/rover --json"))
def check(
    paths: Annotated[list[Path], typer.Argument(metavar="BUNDLE", help="Bundles, or folders of bundles.")],
    as_json: AsJson = False,
) -> None:
    """Check that bundles are whole.

    They read, match their digests, build, and have all that they name.
    """
    bundles = shelves.folders(paths)
    checked = {path: _slips(path) for path in output.tracked(iter(bundles), len(bundles), "Checking")}
    if as_json:
        output.document(
            {"bundles": [{"path": str(path), "ok": not slips, "problems": slips} for path, slips in checked.items()]}
        )
    else:
        for path, slips in checked.items():
            output.say(f"{path}: {'ok' if not slips else f'{len(slips)} problem(s)'}")
            for slip in slips:
                output.say(f"  {slip}")
    if any(checked.values()):
        raise typer.Exit(_FAILED)


def _slips(path: Path) -> list[str]:
    try:
        return list(checking.check(path))
    except errors.BundleError as exc:
        return [str(exc)]
