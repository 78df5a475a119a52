"""`awm catalog`: what a fleet serves, as files."""

from pathlib import Path
from typing import Annotated, Any

import typer

from awm_fleet import shelves
from awm_fleet.cli import output
from awm_registry.catalogue import model, paging, snapshots
from awm_runtime.bundle import model as bundle_model

app = typer.Typer(name="catalog", no_args_is_help=True, help="Build and show catalogues of scenarios.")

_FAILED, _PARTLY = 1, 3

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command(
    epilog=output.examples("awm catalog build bundles --out catalogue", "awm catalog build bundles/rover --out new")
)
def build(
    given: Annotated[list[Path], typer.Argument(metavar="BUNDLES...", help="Bundles, or folders of bundles.")],
    out: Annotated[Path, typer.Option("--out", help="The catalogue's folder; what is in it already may stay.")],
    as_json: AsJson = False,
) -> None:
    """Build the catalogue of some bundles.

    The index is exchanged at once, so that a fleet that serves it never sees half of it. Exits with 3 when bundles were
    left out, each of which is named; with 1 when all were, and then the earlier index stays.
    """
    bundles = shelves.folders(given)
    out.mkdir(parents=True, exist_ok=True)
    shelf = shelves.stock(bundles, out)
    if as_json:
        output.document(
            {
                "index": str(out / model.INDEX),
                "scenarios": [row.model_dump(mode="json", exclude_none=True) for row in shelf.entries],
                "refused": [{"path": str(each.folder), "reason": each.reason} for each in shelf.faults],
            }
        )
    elif shelf.entries:
        output.say(f"{out / model.INDEX}: {len(shelf.entries)} scenarios")
    for each in shelf.faults:
        output.complain(f"left out: {each.reason}")
    if shelf.faults:
        raise typer.Exit(_PARTLY if shelf.entries else _FAILED)


@app.command(epilog=output.examples("awm catalog show catalogue", "awm catalog show catalogue --search pets --json"))
def show(
    path: Annotated[Path, typer.Argument(metavar="CATALOGUE", help="A catalogue's folder, or its index.")],
    search: Annotated[str | None, typer.Option(help="Words of the name, title, description or tags.")] = None,
    tier: Annotated[bundle_model.Tier | None, typer.Option(help="Only of this tier.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only with this tag.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what is in a catalogue, and what is wrong with it. Exits with 3 when rows are not served."""
    snapshot = snapshots.load(path)
    wanted = paging.Filter(search=search, tier=tier, tag=tag)
    found = paging.scenarios(snapshot, wanted, limit=len(snapshot) or 1).items
    if as_json:
        output.document(
            {"scenarios": [_document(card) for card in found], "faults": [_fault(each) for each in snapshot.faults]}
        )
    else:
        columns = ("scenario", "title", "generation", "tier", "tools", "tasks", "tags")
        output.table(f"{len(found)} of {len(snapshot)} scenarios", columns, map(_cells, found))
    for fault in snapshot.faults:
        output.complain(f"{path}: {fault}")
    if not all(fault.served for fault in snapshot.faults):
        raise typer.Exit(_PARTLY)


def _document(card: snapshots.Card) -> dict[str, Any]:
    counts = card.counts.model_dump() if card.counts else None
    row = card.entry.model_dump(mode="json", exclude_none=True)
    return {**row, "title": card.title, "description": card.description, "tags": list(card.tags), "counts": counts}


def _fault(fault: snapshots.Fault) -> dict[str, Any]:
    return {"row": fault.row, "name": fault.name, "reason": fault.reason, "served": fault.served}


def _cells(card: snapshots.Card) -> tuple[object, ...]:
    tools, tasks = (card.counts.tools, card.counts.tasks) if card.counts else (None, None)
    return (card.entry.name, card.title, card.entry.generation, card.entry.tier, tools, tasks, ", ".join(card.tags))
