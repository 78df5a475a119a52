"""Rows of a catalogue out of scenarios' images, and bundles out of the images that a catalogue names."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from awm_generator.images import assembly, errors, layers, pruning, references, sources
from awm_generator.images import model as images
from awm_registry.catalogue import model, writing
from awm_runtime import errors as runtime_errors
from awm_runtime.bundle import digest, reading

_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Read:
    """What came of an image: a row of the catalogue, or why there is none."""

    reference: references.Reference
    row: model.Entry | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of a row: the folder with its bundle, or why there is none."""

    row: model.Entry
    folder: Path | None = None
    reason: str = ""


def is_reference(text: str) -> bool:
    """Whether this is written as a reference to an image, not as a path."""
    kind, colon, _ = text.partition(":")
    return bool(colon) and kind in get_args(references.Kind)


def listed(given: Iterable[references.Reference], access: sources.Access) -> list[references.Reference]:
    """The images that were named; for a repository without a tag, those of all scenarios in it and below it.

    Raises:
        ImageError: A reference is to no image registry, or there is no image below it.
    """
    found: list[references.Reference] = []
    for each in given:
        if each.kind != "registry":
            raise errors.ImageError(f"{each}: a catalogue names images that others can pull: registry:HOST/REPOSITORY")
        if each.name is not None:
            found.append(each)
            continue
        with pruning.opened(each, access) as place:
            below = place.entries()
        if not below:
            raise errors.ImageError(f"{each} holds no image of a scenario, nor does a repository below it")
        found += [references.Reference("registry", _repository(each, entry), entry.digest) for entry in below]
    return found


def read(
    references_: Sequence[references.Reference], access: sources.Access, *, catalogue: Path, scratch: Path
) -> Iterator[Read]:
    """Describes images in a catalogue's folder, several at once; each row comes as it is done.

    Args:
        references_: The images.
        access: How they are reached.
        catalogue: Where the metadata goes.
        scratch: An empty folder.
    """
    with futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        jobs = [
            pool.submit(_read, each, access, catalogue=catalogue, scratch=scratch / str(number))
            for number, each in enumerate(references_)
        ]
        for job in futures.as_completed(jobs):
            yield job.result()


def joined(described: Sequence[model.Entry], pictured: Sequence[model.Entry]) -> list[model.Entry]:
    """Rows of bundles and rows of images as one list: a bundle's row gets the image that holds the same bundle.

    Args:
        described: Rows of bundles, which know tiers.
        pictured: Rows of images.
    """
    found = {(row.name, row.generation, row.bundle): row for row in pictured}
    for row in described:
        key = (row.name, row.generation, row.bundle)
        found[key] = row.model_copy(update={"image": found[key].image}) if key in found else row
    return list(found.values())


def fetch(rows: Sequence[model.Entry], access: sources.Access, into: Path) -> Iterator[Fetched]:
    """The bundles of a catalogue's rows: where a row names a folder, that; else what its image holds.

    Args:
        rows: The rows.
        access: How images are reached.
        into: Where bundles out of images go, each in a folder named by its digest; what is there already is taken.
    """
    with futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        for job in futures.as_completed([pool.submit(_fetch, row, access, into) for row in rows]):
            yield job.result()


def _read(reference: references.Reference, access: sources.Access, *, catalogue: Path, scratch: Path) -> Read:
    try:
        with sources.opened(reference, access) as image:
            folder = _unpacked(image, scratch)
            name = f"{reference.host}/{reference.repository}@{image.digest}"
        bundle = reading.read(folder)
        row = writing.entry(bundle, image=name)
        if image.labels.get(assembly.BUNDLE) != row.bundle:
            raise errors.ImageError(
                f"{reference}: its label names another bundle than it holds; see `awm image verify`"
            )
        writing.describe(bundle, row, catalogue)
    except runtime_errors.AwmError as exc:
        return Read(reference, reason=str(exc).replace(str(scratch), str(reference)))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Read(reference, row)


def _fetch(row: model.Entry, access: sources.Access, into: Path) -> Fetched:
    if row.folder is not None:
        return Fetched(row, Path(row.folder))
    if row.image is None:
        return Fetched(row, reason=f"{row.name}: its row names neither a folder nor an image")
    target = into / row.bundle.removeprefix("sha256:")
    unfinished = target.with_name(f".{target.name}.part")
    try:
        if not target.is_dir():
            shutil.rmtree(unfinished, ignore_errors=True)
            with sources.opened(references.parse(f"registry:{row.image}"), access) as image:
                folder = _unpacked(image, unfinished)
            if digest.digest(reading.read(folder)) != row.bundle:
                raise errors.ImageError(f"{row.image} holds another bundle than the catalogue says")
            folder.replace(target)
    except runtime_errors.AwmError as exc:
        return Fetched(row, reason=f"{row.name}: {exc}")
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return Fetched(row, target)


def _unpacked(image: images.Image, scratch: Path) -> Path:
    """The bundle of a scenario's image as a folder in `scratch`."""
    if assembly.SCENARIO not in image.labels:
        raise errors.ImageError(f"it is no scenario's image: it has no label {assembly.SCENARIO}")
    for path, content in layers.unpack(image.manifests[0].layers[-1]).items():
        if path.startswith(f"{layers.BUNDLE}/"):
            target = scratch / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    return scratch / layers.BUNDLE


def _repository(given: references.Reference, entry: pruning.Entry) -> str:
    return f"{given.host}/{entry.name.rpartition(':')[0]}"
