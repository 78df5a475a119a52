"""`awm image`: build images of scenarios without a Docker engine, read them back, remove what nobody needs."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from awm_fleet import catalogue_artifacts, catalogue_images, shelves
from awm_fleet.cli import locating, output
from awm_fleet.cli.registry_flags import CertificateAuthority, PlainHttp
from awm_generator.images import assembly, building, inspection, outputs, pruning, references, sources
from awm_registry.catalogue import model as catalogue
from awm_runtime import errors

app = typer.Typer(name="image", no_args_is_help=True, help="Build, inspect, verify and prune images of scenarios.")

_FAILED, _PARTLY = 1, 3

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]


def reference(text: str) -> references.Reference:
    """A place of images that a person typed.

    Raises:
        BadParameter: It is none.
    """
    try:
        return references.parse(text)
    except errors.AwmError as exc:
        raise typer.BadParameter(str(exc)) from exc


Image = Annotated[
    references.Reference, typer.Argument(parser=reference, metavar="REF", help=f"The image: {references.FORMS}.")
]


@app.command(
    epilog=output.examples(
        "awm image build bundles/rover --base oci:.awm/images/awm-runtime --output docker",
        "awm image build bundles --all --base registry:registry.example/awm-runtime:0.1.0 "
        "--output registry:registry.example/awm",
        "awm image build bundles --all --base docker:awm-runtime:0.1.0 --output archive:scenarios.tar --json",
    )
)
def build(
    bundles: Annotated[
        list[str], typer.Argument(metavar="BUNDLE", help="Bundles, examples' names, or with --all folders of bundles.")
    ],
    base: Annotated[
        references.Reference,
        typer.Option(
            "--base", parser=reference, metavar="REF", help="The runtime's base image, as `make images` made it."
        ),
    ],
    to: Annotated[
        references.Reference,
        typer.Option(
            "--output",
            "-o",
            parser=reference,
            metavar="PLACE",
            help="Where to: oci:DIR, archive:FILE, docker: or registry:HOST/PREFIX.",
        ),
    ],
    all_: Annotated[bool, typer.Option("--all", help="Build every bundle right in the folders given.")] = False,
    platform: Annotated[
        str | None, typer.Option("--platform", help="Only this platform of the base, such as linux/arm64.")
    ] = None,
    single_repository: Annotated[
        bool,
        typer.Option("--single_repository", help="Put all into the one repository, as tags SCENARIO-GENERATION."),
    ] = False,
    parallel: Annotated[int, typer.Option("--parallel", min=1, max=64, help="As many images are pushed at once.")] = 8,
    plain_http: PlainHttp = False,
    ca: CertificateAuthority = None,
    as_json: Json = False,
) -> None:
    """Build images of bundles: the base's layers, and one with the bundle and its database.

    The same bundle on the same base gives the same digest on every machine. What is at its place already is left
    alone, so that a run that was cut off can be repeated. Exits with 3 when some bundles are broken; each is named.
    """
    folders = _folders(bundles, every=all_)
    access = sources.Access(plain_http=plain_http, ca=ca)
    with sources.opened(base, access) as image:
        chosen = image.for_platform(platform) if platform else image
        assembly.check_base(chosen, str(base))
        with outputs.opened(to, access, single_repository=single_repository, parallel=parallel) as place:
            made = building.build(folders, chosen, place)
            done = sorted(output.tracked(made, len(folders), "Building"), key=lambda built: str(built.path))
    _say_built(done, as_json=as_json)


@app.command(
    epilog=output.examples(
        "awm image inspect registry:registry.example/awm/rover:3", "awm image inspect docker:awm/rover:3 --json"
    )
)
def inspect(
    image: Image, plain_http: PlainHttp = False, ca: CertificateAuthority = None, as_json: Json = False
) -> None:
    """Show what an image says of itself: digest, platforms, labels, layers."""
    with sources.opened(image, sources.Access(plain_http=plain_http, ca=ca)) as found:
        card = inspection.card(found)
    if as_json:
        output.document({"image": str(image), **card.document()})
        return
    output.say(f"{image}\n  digest     {card.digest}\n  platforms  {', '.join(card.platforms)}")
    output.table("Labels", ("label", "value"), sorted(card.labels.items()))
    output.table(
        "Layers, the lowest first", ("digest", "bytes"), ((digest, f"{size:,}") for digest, size in card.layers)
    )


@app.command(
    epilog=output.examples("awm image verify archive:scenarios.tar:awm/rover:3", "awm image verify docker:awm/rover:3")
)
def verify(image: Image, plain_http: PlainHttp = False, ca: CertificateAuthority = None, as_json: Json = False) -> None:
    """Check that an image is what it says.

    Its scenario's layer is read: the bundle has the digest of the label, and the database is what its SQL makes.
    """
    with _named(image), sources.opened(image, sources.Access(plain_http=plain_http, ca=ca)) as found:
        slips = list(inspection.slips(found))
        digest = found.digest
    if as_json:
        output.document({"image": str(image), "digest": digest, "ok": not slips, "problems": slips})
    else:
        output.say(f"{image}: {'ok' if not slips else f'{len(slips)} problem(s)'}")
        for slip in slips:
            output.say(f"  {slip}")
    if slips:
        raise typer.Exit(_FAILED)


@app.command(
    epilog=output.examples(
        "awm image prune oci:images --keep 2 --dry_run",
        "awm image prune registry:registry.example/awm --keep 3 --needed_by registry:registry.example/awm/catalogue",
    )
)
def prune(
    place: Annotated[
        references.Reference,
        typer.Argument(parser=reference, metavar="PLACE", help="oci:DIR, docker: or registry:HOST/PREFIX."),
    ],
    keep: Annotated[int, typer.Option("--keep", min=1, help="Generations of each scenario that stay.")] = 2,
    needed_by: Annotated[
        list[str] | None,
        typer.Option(
            "--needed_by",
            metavar="FILE|CATALOGUE",
            help="What names digests that stay: a chart's values or any file, a catalogue's folder or its reference; "
            "repeatable.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry_run", help="Say what would be removed, and remove nothing.")] = False,
    plain_http: PlainHttp = False,
    ca: CertificateAuthority = None,
    as_json: Json = False,
) -> None:
    """Remove images of scenarios that no catalogue and no rollback needs.

    The newest generations of each scenario stay, and every image whose digest, or whose bundle's, stands in what
    --needed_by names. Images of other kinds are never touched.
    """
    access = sources.Access(plain_http=plain_http, ca=ca)
    needed = _needed_by(needed_by or (), access)
    with pruning.opened(place, access) as found:
        entries = found.entries()
        old = pruning.unneeded(entries, needed, keep=keep)
        if old and not dry_run:
            found.remove(old)
    if as_json:
        removed = [{"name": entry.name, "digest": entry.digest} for entry in old]
        output.document({"place": str(place), "dry_run": dry_run, "removed": removed, "kept": len(entries) - len(old)})
        return
    for entry in old:
        output.say(f"{'would remove' if dry_run else 'removed'} {entry.name}  {entry.digest}")
    output.say(f"{len(old)} of {len(entries)} image(s) {'are' if dry_run else 'were'} not needed")


def _needed_by(given: Sequence[str], access: sources.Access) -> frozenset[str]:
    """The digests that files, catalogues' folders and catalogues in a registry or a layout name."""
    with tempfile.TemporaryDirectory(prefix="awm-prune-") as scratch:
        files = []
        for number, each in enumerate(given):
            path = Path(each)
            if catalogue_images.is_reference(each):
                path = catalogue_artifacts.pull(references.parse(each), access, Path(scratch) / str(number))
            files.append(path / catalogue.INDEX if path.is_dir() else path)
        return pruning.needed_by(files)


def _folders(given: list[str], *, every: bool) -> list[Path]:
    if not every:
        return [locating.bundle_folder(name) for name in given]
    return shelves.folders([Path(name) for name in given])


@contextlib.contextmanager
def _named(image: references.Reference) -> Iterator[None]:
    """Names the image in errors about what is in it."""
    try:
        yield
    except errors.AwmError as exc:
        if str(image) in str(exc):
            raise
        raise type(exc)(f"{image}: {exc}") from exc


@dataclass(frozen=True, slots=True)
class _Row:
    built: building.Built

    def document(self) -> dict[str, Any]:
        layer, stored = self.built.layer, self.built.stored
        if layer is None or stored is None:
            return {"path": str(self.built.path), "error": self.built.error}
        return {
            "path": str(self.built.path),
            "scenario": layer.scenario,
            "generation": layer.generation,
            "image": stored.reference,
            "digest": stored.digest,
            "bundle": layer.bundle,
            "tools": layer.tools,
            "seed": layer.seed,
            "state": stored.state,
        }

    def cells(self) -> tuple[object, ...]:
        layer, stored = self.built.layer, self.built.stored
        if layer is None or stored is None:
            return (self.built.path, "", "", "FAILED")
        return (layer.scenario, layer.generation, stored.reference, stored.state)


def _say_built(done: list[building.Built], *, as_json: bool) -> None:
    rows = [_Row(built) for built in done]
    if as_json:
        output.document({"images": [row.document() for row in rows]})
    else:
        output.table(f"{len(done)} image(s)", ("scenario", "generation", "image", ""), (row.cells() for row in rows))
    broken = [built for built in done if built.error is not None]
    for built in broken:
        output.complain(f"{built.path}: {built.error}")
    if broken:
        raise typer.Exit(_PARTLY if len(broken) < len(done) else _FAILED)
