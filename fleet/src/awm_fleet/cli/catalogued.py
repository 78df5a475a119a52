"""What `awm up --catalog` serves: the bundles of a catalogue, fetched from where its rows say."""

import tempfile
from pathlib import Path

from awm_fleet import catalogue_artifacts, catalogue_images
from awm_fleet.cli import output
from awm_generator.images import references, sources
from awm_registry.catalogue import snapshots
from awm_runtime import errors

_SUFFIX = ".bundles"


def bundles(catalogue: str, state: Path) -> tuple[list[Path], bool]:
    """The folders of a catalogue's bundles, and whether any of them is missing; each of those is named.

    Args:
        catalogue: Its folder, its index, or a reference to the artifact.
        state: The fleet's state folder; bundles out of images are kept beside it, for the next time.

    Raises:
        CatalogueError: It cannot be read.
        PermanentError: Nothing of it can be had.
    """
    access = sources.Access()
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
    return found, bool(missing)
