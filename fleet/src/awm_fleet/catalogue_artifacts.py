"""A catalogue as an OCI artifact beside the images that it names: an image whose one layer holds the files.

Any registry keeps it, any client copies it, and a pod can mount it. Of what is on the machine that built the catalogue,
nothing goes along: not the folders of its bundles, nor what the next build need not read again.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import pydantic

from awm_generator.images import compression, errors, layers, layouts, references, sources
from awm_generator.images import model as images
from awm_registry.catalogue import model, snapshots, writing

LABEL = "dev.awm.catalogue"
TAG = "latest"
_EPOCH = "1970-01-01T00:00:00Z"
_MEMBERS = re.compile(r"(?:\./)?(index\.json|(?:metadata|tools)/[0-9a-f]{64}\.json)")


def packed(folder: Path) -> images.Image:
    """The artifact of the catalogue in `folder`; the same catalogue is the same artifact everywhere.

    Raises:
        CatalogueError: Its index cannot be read.
        ImageError: A row makes no sense or names no image, or a file that it needs is missing.
    """
    snapshot = snapshots.load(folder)
    if snapshot.faults:
        raise errors.ImageError(f"{folder}: {snapshot.faults[0]}")
    rows = _without_folders(snapshot.entries.values())
    for row in rows:
        if row.image is None:
            raise errors.ImageError(
                f"{folder}: {row.name} of generation {row.generation} names no image, so nobody else could run it: "
                "build the catalogue from images in a registry"
            )
    files = {model.INDEX: writing.index_document(model.Index(entries=rows))}
    for row in rows:
        for path in (model.metadata_path(folder, row.bundle), model.tools_path(folder, row.tools_hash)):
            files[str(path.relative_to(folder))] = _content(path)
    plain = layers.tar(files)
    layer = images.Blob.of(compression.compress(plain), images.LAYER)
    config = {
        "architecture": "unknown",
        "os": "unknown",
        "created": _EPOCH,
        "config": {"Labels": {LABEL: model.FORMAT}},
        "rootfs": {"type": "layers", "diff_ids": [images.digest_of(plain)]},
    }
    return images.Image((images.Manifest(config, (layer,), {LABEL: model.FORMAT}),))


def push(artifact: images.Image, to: references.Reference, access: sources.Access) -> str:
    """Stores an artifact in an image registry or a layout; what to call it there, by its digest.

    Raises:
        ImageError: Artifacts are not kept there.
        Unavailable, Denied: The registry does not answer, or does not let one.
    """
    if to.kind == "oci":
        layouts.Layout(Path(to.place)).add(artifact, to.name or TAG)
        return str(to.named(to.name or TAG))
    if to.kind != "registry":
        raise errors.ImageError(f"{to}: a catalogue is pushed to registry:HOST/REPOSITORY or to oci:DIR")
    with access.registry(to.host) as registry:
        for blob in artifact.blobs:
            if not registry.has(to.repository, blob.digest):
                registry.upload(to.repository, blob)
        registry.put_manifest(to.repository, to.name or TAG, artifact.root)
    return str(to.named(artifact.digest))


def pull(source: references.Reference, access: sources.Access, into: Path) -> Path:
    """Writes the files of an artifact to a folder, the index last; returns the folder.

    A row that names a folder, which whoever pushed it can know nothing of here, loses it.

    Raises:
        ImageError: It is not there, is no catalogue, or is broken.
    """
    with sources.opened(source, access) as found:
        if found.labels.get(LABEL) != model.FORMAT or len(found.manifests[0].layers) != 1:
            raise errors.ImageError(f"{source} is no catalogue of the format {model.FORMAT}")
        files = layers.unpack(found.manifests[0].layers[0], _MEMBERS)
    try:
        index = model.Index.model_validate_json(files.pop(model.INDEX, b""))
    except pydantic.ValidationError as exc:
        raise errors.ImageError(f"{source}: its {model.INDEX} makes no sense: {exc.errors()[0]['msg']}") from exc
    for path, content in files.items():
        writing.replace(into / path, content)
    writing.replace(into / model.INDEX, writing.index_document(model.Index(entries=_without_folders(index.entries))))
    return into


def _without_folders(rows: Iterable[model.Entry]) -> tuple[model.Entry, ...]:
    return tuple(row.model_copy(update={"folder": None}) for row in rows)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise errors.ImageError(f"{path} cannot be read: {exc.strerror}; build the catalogue again") from exc
