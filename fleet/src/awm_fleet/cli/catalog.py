"""`awm catalog`: what a fleet serves, as files."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from awm_fleet import shelves
from awm_fleet.cli import output
from awm_registry.catalogue import model, paging, snapshots, writing
from awm_runtime import errors
from awm_runtime.bundle import model as bundle_model

app = typer.Typer(name="catalog", no_args_is_help=True, help="Build and show catalogues of scenarios.")

_FAILED, _PARTLY = 1, 3
_IN_REGISTRY = "registry:"

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command(
    epilog=output.examples(
        "awm catalog build bundles --out catalogue",
        "awm catalog build bundles/rover --out new",
        "awm catalog build bundles --images images.json --out catalogue",
    )
)
def build(
    given: Annotated[list[Path], typer.Argument(metavar="BUNDLES...", help="Bundles, or folders of bundles.")],
    out: Annotated[Path, typer.Option("--out", help="The catalogue's folder; what is in it already may stay.")],
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            metavar="FILE",
            help="What `awm image build --json` printed: the index names these images and no folders, as clusters "
            "want it.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Build the catalogue of some bundles.

    The index is exchanged at once, so that a fleet that serves it never sees half of it. Exits with 3 when bundles were
    left out, each of which is named; with 1 when all were, and then the earlier index stays.
    """
    bundles = shelves.folders(given)
    out.mkdir(parents=True, exist_ok=True)
    made = None if images is None else _images(images)
    shelf = shelves.stock(bundles, out)
    if made is not None:
        shelf = _of_images(shelf, made)
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


def _images(path: Path) -> dict[str, str]:
    """The images that were pushed to an image registry, by digest, for each bundle's digest.

    Raises:
        PermanentError: The file says something else.
    """
    try:
        rows = [each for each in json.loads(path.read_bytes())["images"] if "digest" in each]
        found = {each["bundle"]: each["image"].removeprefix(_IN_REGISTRY) for each in rows}
    except OSError as exc:
        raise errors.PermanentError(f"{path}: cannot be read: {exc.strerror}") from exc
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise errors.PermanentError(f"{path}: not what `awm image build --json` prints: {exc!r}") from exc
    if not all(each["image"].startswith(_IN_REGISTRY) for each in rows):
        raise errors.PermanentError(f"{path}: images that are in no image registry; use --output registry:HOST/PREFIX")
    return found


def _of_images(shelf: shelves.Shelf, images: Mapping[str, str]) -> shelves.Shelf:
    """The shelf with an image in place of each folder; bundles without one are left out."""
    entries = tuple(
        each.model_copy(update={"image": images[each.bundle], "folder": None})
        for each in shelf.entries
        if each.bundle in images
    )
    missing = tuple(
        shelves.Fault(Path(each.folder or ""), f"{each.folder}: no image of this bundle was built")
        for each in shelf.entries
        if each.bundle not in images
    )
    if entries:
        writing.write_index(entries, shelf.catalogue)
    return dataclasses.replace(shelf, entries=entries, faults=(*shelf.faults, *missing))


def _document(card: snapshots.Card) -> dict[str, Any]:
    counts = card.counts.model_dump() if card.counts else None
    row = card.entry.model_dump(mode="json", exclude_none=True)
    return {**row, "title": card.title, "description": card.description, "tags": list(card.tags), "counts": counts}


def _fault(fault: snapshots.Fault) -> dict[str, Any]:
    return {"row": fault.row, "name": fault.name, "reason": fault.reason, "served": fault.served}


def _cells(card: snapshots.Card) -> tuple[object, ...]:
    tools, tasks = (card.counts.tools, card.counts.tasks) if card.counts else (None, None)
    return (card.entry.name, card.title, card.entry.generation, card.entry.tier, tools, tasks, ", ".join(card.tags))
