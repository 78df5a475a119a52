"""What `awm up --catalog` serves: the bundles of a catalogue, fetched from where its rows say, and their images."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from awm_fleet import catalogue_artifacts, catalogue_images
from awm_fleet.cli import output
from awm_generator.images import references, sources
from awm_registry.catalogue import snapshots
from awm_runtime import errors

_SUFFIX = ".bundles"


@dataclass(frozen=True, slots=True)
class Served:
    """What a catalogue gives a fleet.

    Attributes:
        folders: The bundles.
        images: Their images by the bundles' digests, for the rows that name one.
        some_are_missing: Whether rows are not served; each of those has been named.
    """

    folders: list[Path]
    images: Mapping[str, str]
    some_are_missing: bool


def served(catalogue: str, state: Path, access: sources.Access) -> Served:
    """Fetches what a catalogue names; says of each row that is not served why.

    Args:
        catalogue: Its folder, its index, or a reference to the artifact.
        state: The fleet's state folder; bundles out of images are kept beside it, for the next time.
        access: How image registries are reached.

    Raises:
        CatalogueError: It cannot be read.
        PermanentError: Nothing of it can be had.
    """
    with tempfile.TemporaryDirectory(prefix="awm-catalog-") as scratch:
        at = Path(catalogue)
        if catalogue_images.is_reference(catalogue):
            at = catalogue_artifacts.pull(references.parse(catalogue), access, Path(scratch))
        snapshot = snapshots.load(at)
    rows = list(snapshot.entries.values())
    fetching = catalogue_images.fetch(rows, access, state.resolve().with_name(state.resolve().name + _SUFFIX))
    fetched = list(output.tracked(fetching, len(rows), "Fetching bundles"))
    missing = [str(each) for each in snapshot.faults if not each.served]
    missing += [each.reason for each in fetched if each.folder is None]
    for reason in missing:
        output.warn(f"not served: {reason}")
    found = sorted(each.folder for each in fetched if each.folder is not None)
    if not found:
        raise errors.PermanentError(f"{catalogue}: nothing of it can be served")
    images = {row.bundle: row.image for row in rows if row.image is not None}
    return Served(found, images, bool(missing))
