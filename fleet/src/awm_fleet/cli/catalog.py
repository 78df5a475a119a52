"""`awm catalog`: what a fleet serves, as files and as an artifact of an image registry."""

import contextlib
import dataclasses
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from awm_fleet import catalogue_artifacts, catalogue_images, shelves
from awm_fleet.cli import output
from awm_fleet.cli.registry_flags import CertificateAuthority, PlainHttp
from awm_generator.images import references, sources
from awm_registry.catalogue import model, paging, snapshots, writing
from awm_runtime import errors
from awm_runtime.bundle import model as bundle_model

app = typer.Typer(name="catalog", no_args_is_help=True, help="Build, push and show catalogues of scenarios.")

_FAILED, _PARTLY = 1, 3
_IN_REGISTRY = "registry:"

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Source = Annotated[
    str,
    typer.Argument(metavar="CATALOGUE", help="A catalogue's folder, its index, oci:DIR or registry:HOST/REPOSITORY."),
]


@app.command(
    epilog=output.examples(
        "awm catalog build bundles --out catalogue",
        "awm catalog build bundles --images images.json --out catalogue",
        "awm catalog build registry:registry.example/awm/rover:3 --out catalogue",
        "awm catalog build bundles registry:registry.example/awm --out catalogue",
    )
)
def build(
    given: Annotated[
        list[str],
        typer.Argument(
            metavar="BUNDLES|IMAGES...",
            help="Bundles, folders of bundles, and images: registry:HOST/REPOSITORY:TAG; without a tag, all below.",
        ),
    ],
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
    plain_http: PlainHttp = False,
    ca: CertificateAuthority = None,
    as_json: AsJson = False,
) -> None:
    """Build the catalogue of some bundles, of some images, or of bundles with the images that hold them.

    A bundle and an image that hold the same become one row: only bundles know their tiers, only images can be pulled.
    The index is exchanged at once, so that a fleet that serves it never sees half of it. Exits with 3 when some were
    left out, each of which is named; with 1 when all were, and then the earlier index stays.
    """
    pictured = [references.parse(each) for each in given if catalogue_images.is_reference(each)]
    paths = [Path(each) for each in given if not catalogue_images.is_reference(each)]
    access = sources.Access(plain_http=plain_http, ca=ca)
    found = catalogue_images.listed(pictured, access)
    out.mkdir(parents=True, exist_ok=True)
    made = None if images is None else _images(images)
    shelf = shelves.stock(shelves.folders(paths), out) if paths else shelves.Shelf(out, (), {}, ())
    shelf = shelf if made is None else _of_images(shelf, made)
    with tempfile.TemporaryDirectory(prefix="awm-catalog-") as scratch:
        reads = catalogue_images.read(found, access, catalogue=out, scratch=Path(scratch))
        read = list(output.tracked(reads, len(found), "Reading images"))
    refused = [{"path": str(each.folder), "reason": each.reason} for each in shelf.faults]
    refused += [{"path": str(each.reference), "reason": each.reason} for each in read if each.row is None]
    rows = catalogue_images.joined(shelf.entries, [each.row for each in read if each.row is not None])
    _say_built(writing.write_index(rows, out), out, refused, as_json=as_json)


def _say_built(index: model.Index, out: Path, refused: list[dict[str, str]], *, as_json: bool) -> None:
    if as_json:
        scenarios = [row.model_dump(mode="json", exclude_none=True) for row in index.entries]
        output.document({"index": str(out / model.INDEX), "scenarios": scenarios, "refused": refused})
    elif index.entries:
        output.say(f"{out / model.INDEX}: {len(index.entries)} scenarios")
    for each in refused:
        output.complain(f"left out: {each['reason']}")
    if refused:
        raise typer.Exit(_PARTLY if index.entries else _FAILED)


def _place(text: str) -> references.Reference:
    if not catalogue_images.is_reference(text):
        raise typer.BadParameter(f"{text!r}: write registry:HOST/REPOSITORY[:TAG] or oci:DIR[:NAME]")
    return references.parse(text)


@app.command(
    epilog=output.examples(
        "awm catalog push catalogue registry:registry.example/awm/catalogue:2026-11",
        "awm catalog push catalogue oci:images:catalogue --json",
    )
)
def push(
    path: Annotated[Path, typer.Argument(metavar="CATALOGUE", help="A catalogue's folder.")],
    to: Annotated[
        references.Reference,
        typer.Argument(parser=_place, metavar="PLACE", help="registry:HOST/REPOSITORY[:TAG] or oci:DIR[:NAME]."),
    ],
    plain_http: PlainHttp = False,
    ca: CertificateAuthority = None,
    as_json: AsJson = False,
) -> None:
    """Push a catalogue to an image registry, as an OCI artifact beside the images that it names.

    Folders of this machine do not go along, so every row has to name an image. The same catalogue is the same artifact.
    """
    artifact = catalogue_artifacts.packed(path)
    stored = catalogue_artifacts.push(artifact, to, sources.Access(plain_http=plain_http, ca=ca))
    if as_json:
        output.document({"catalogue": stored, "digest": artifact.digest, "bytes": artifact.size})
    else:
        output.say(f"{stored}\n  serve it with `awm up --catalog {stored}`")


@contextlib.contextmanager
def _opened(text: str, access: sources.Access) -> Iterator[snapshots.Snapshot]:
    """A catalogue's rows, wherever it is."""
    if not catalogue_images.is_reference(text):
        yield snapshots.load(Path(text))
        return
    with tempfile.TemporaryDirectory(prefix="awm-catalog-") as folder:
        yield snapshots.load(catalogue_artifacts.pull(references.parse(text), access, Path(folder)))


@app.command(
    epilog=output.examples(
        "awm catalog show catalogue",
        "awm catalog show catalogue --search pets --json",
        "awm catalog show registry:registry.example/awm/catalogue",
    )
)
def show(
    path: Source,
    search: Annotated[str | None, typer.Option(help="Words of the name, title, description or tags.")] = None,
    tier: Annotated[bundle_model.Tier | None, typer.Option(help="Only of this tier.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only with this tag.")] = None,
    plain_http: PlainHttp = False,
    ca: CertificateAuthority = None,
    as_json: AsJson = False,
) -> None:
    """Show what is in a catalogue, and what is wrong with it. Exits with 3 when rows are not served."""
    with _opened(path, sources.Access(plain_http=plain_http, ca=ca)) as snapshot:
        _show(path, snapshot, paging.Filter(search=search, tier=tier, tag=tag), as_json=as_json)


def _show(path: str, snapshot: snapshots.Snapshot, wanted: paging.Filter, *, as_json: bool) -> None:
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
