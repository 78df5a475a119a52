"""The bundles that a fleet on this machine serves: found in folders, described in a catalogue, read only when changed.

What a bundle is (its digest, its description) is written to the catalogue's folder once; the next start looks at the
times and sizes of its files only.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from awm_registry.catalogue import model, writing
from awm_runtime import errors
from awm_runtime.bundle import reading

_SEEN = "seen.json"
_SCENARIO = "scenario.json"
_IDENTITY_FOLDER = "verifiers"


@dataclass(frozen=True, slots=True)
class Fault:
    """A folder that is not served.

    Attributes:
        folder: Which.
        reason: Why.
    """

    folder: Path
    reason: str


@dataclass(frozen=True)
class Shelf:
    """What is served, and what is not.

    Attributes:
        catalogue: The folder with the catalogue.
        entries: A row for each scenario and generation; `folder` is set.
        marks: What changes with the files of a folder, by its path.
        faults: Folders that are left out.
    """

    catalogue: Path
    entries: tuple[model.Entry, ...]
    marks: Mapping[str, str]
    faults: tuple[Fault, ...]


def folders(given: Iterable[Path]) -> list[Path]:
    """The bundles' folders in what was named: a bundle itself, or a folder of bundles.

    Raises:
        BundleError: A named folder is missing or holds no bundle.
    """
    found: dict[Path, None] = {}
    for named in given:
        path = named.resolve()
        below = [path] if (path / _SCENARIO).exists() else [each.parent for each in sorted(path.glob(f"*/{_SCENARIO}"))]
        if not below:
            what = "holds no bundle, nor a folder with one" if path.is_dir() else "no such folder"
            raise errors.BundleError(f"{named}: {what}; a bundle is a folder with a {_SCENARIO} in it")
        found |= dict.fromkeys(below)
    return list(found)


def stock(bundles: Sequence[Path], catalogue: Path) -> Shelf:
    """Describes bundles in a catalogue; only those that changed since the last time are read.

    Raises:
        OSError: The catalogue's folder cannot be written.
    """
    seen = _seen(catalogue)
    entries: dict[tuple[str, int], model.Entry] = {}
    marks: dict[str, str] = {}
    faults: list[Fault] = []
    for folder in bundles:
        try:
            mark, entry = _known(folder, seen) or _described(folder, catalogue)
        except errors.BundleError as exc:
            faults.append(Fault(folder, str(exc)))
            continue
        earlier = entries.setdefault((entry.name, entry.generation), entry)
        if earlier is not entry:
            faults.append(Fault(folder, f"{earlier.folder} is {entry.name} of generation {entry.generation} already"))
            continue
        marks[str(folder)] = mark
    return _written(Shelf(catalogue, tuple(entries.values()), marks, tuple(faults)))


def renewed(shelf: Shelf, entry: model.Entry) -> tuple[Shelf, model.Entry]:
    """An entry as its folder is now, and the shelf with it.

    Raises:
        BundleError: The folder can no longer be read, or is another scenario's now.
    """
    assert entry.folder is not None
    folder = Path(entry.folder)
    if _mark(folder) == shelf.marks[entry.folder]:
        return shelf, entry
    mark, now = _described(folder, shelf.catalogue)
    if (now.name, now.generation) != (entry.name, entry.generation):
        raise errors.BundleError(f"{folder} holds {now.name} of generation {now.generation} now; start the fleet again")
    entries = tuple(now if each == entry else each for each in shelf.entries)
    marks = {**shelf.marks, entry.folder: mark}
    return _written(dataclasses.replace(shelf, entries=entries, marks=marks)), now


def _described(folder: Path, catalogue: Path) -> tuple[str, model.Entry]:
    mark = _mark(folder)  # before it is read: what changes meanwhile is seen the next time
    bundle = reading.read(folder)
    try:
        entry = writing.entry(bundle, folder=folder)
    except pydantic.ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        raise errors.BundleError(f"{folder}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from exc
    writing.describe(bundle, entry, catalogue)
    return mark, entry


def _known(folder: Path, seen: Mapping[str, Any]) -> tuple[str, model.Entry] | None:
    """What is known of a folder whose files are as they were."""
    said = seen.get(str(folder))
    if said is None:
        return None
    mark = _mark(folder)
    try:
        return (mark, model.Entry.model_validate(said["entry"])) if said["mark"] == mark else None
    except (KeyError, TypeError, pydantic.ValidationError):
        return None


def _mark(folder: Path) -> str:
    """A hash of the names, sizes, times and numbers of a bundle's files."""
    try:
        seen = [(path.name, path.stat()) for path in sorted(_files(folder))]
    except OSError as exc:
        raise errors.BundleError(f"{exc.filename}: cannot be read: {exc.strerror}") from exc
    lines = [f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ino}\n" for name, stat in seen]
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    yield from (path for path in folder.iterdir() if path.is_file())
    if (folder / _IDENTITY_FOLDER).is_dir():
        yield from (folder / _IDENTITY_FOLDER).iterdir()


def _seen(catalogue: Path) -> dict[str, Any]:
    try:
        said = json.loads((catalogue / _SEEN).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _written(shelf: Shelf) -> Shelf:
    """Writes the index, and what is to be known at the next start."""
    writing.write_index(shelf.entries, shelf.catalogue)
    seen = {
        entry.folder: {"mark": shelf.marks[entry.folder], "entry": entry.model_dump(mode="json", exclude_none=True)}
        for entry in shelf.entries
        if entry.folder is not None
    }
    unfinished = shelf.catalogue / f"{_SEEN}.part"
    unfinished.write_text(json.dumps(seen))
    unfinished.replace(shelf.catalogue / _SEEN)
    return shelf
