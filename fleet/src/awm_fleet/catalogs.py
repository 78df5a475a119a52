"""A catalogue built from bundles: which are in, and which are not and why."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from awm_registry.catalogue import model, writing
from awm_runtime import errors
from awm_runtime.bundle import reading


@dataclass(frozen=True, slots=True)
class Refused:
    """A bundle that is not in the catalogue, and why."""

    folder: Path
    reason: str


def bundle_folders(given: Iterable[Path]) -> list[Path]:
    """The bundles among the given folders: those that are one, and those right inside the others.

    Raises:
        BundleError: A folder is neither.
    """
    found: dict[Path, Path] = {}
    for folder in given:
        if (folder / "scenario.json").exists():
            inside = [folder]
        else:
            inside = sorted(each.parent for each in folder.glob("*/scenario.json")) if folder.is_dir() else []
        if not inside:
            raise errors.BundleError(f"{folder}: no bundle here; a bundle is a folder with scenario.json in it")
        found |= {each.resolve(): each for each in inside}
    return list(found.values())


def build(folders: Iterable[Path], out: Path) -> Iterator[model.Entry | Refused]:
    """Describes each bundle in the folder `out`, and writes the index when all are done.

    One bundle at a time is in memory. One that cannot be read is refused and the others are served; where there are no
    others, an earlier index stays.
    """
    rows: dict[tuple[str, int], model.Entry] = {}
    for folder in folders:
        try:
            row = _described(folder, out)
            if (row.name, row.generation) in rows:
                other = rows[row.name, row.generation].folder
                raise errors.BundleError(f"generation {row.generation} of {row.name} is in {other} too")
        except errors.BundleError as exc:
            yield Refused(folder, str(exc))
        else:
            rows[row.name, row.generation] = row
            yield row
    if rows:
        writing.write_index(rows.values(), out)


def _described(folder: Path, out: Path) -> model.Entry:
    bundle = reading.read(folder)
    row = writing.entry(bundle, folder=folder.resolve())
    writing.describe(bundle, row, out)
    return row
