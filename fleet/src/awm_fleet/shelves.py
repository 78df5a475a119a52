"""The bundles that a fleet on this machine serves: found in folders, described in a catalogue, read only when changed.

What a bundle is (its digest, its description) is written to the catalogue's folder once; the next start looks at the
times and sizes of its files only.
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
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

Print = list[list[Any]]
"""What changes with a bundle's files: name, size, time and number of each."""


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
        faults: Folders that are left out.
    """

    catalogue: Path
    entries: tuple[model.Entry, ...]
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
    faults: list[Fault] = []
    prints: dict[str, Any] = {}
    for folder in bundles:
        try:
            mark, entry = _known(folder, seen) or _described(folder, catalogue)
        except errors.BundleError as exc:
            faults.append(Fault(folder, str(exc)))
            continue
        earlier = entries.get((entry.name, entry.generation))
        if earlier is not None:
            faults.append(Fault(folder, f"{earlier.folder} is {entry.name} of generation {entry.generation} already"))
            continue
        entries[entry.name, entry.generation] = entry
        prints[str(folder)] = {"print": mark, "entry": entry.model_dump(mode="json", exclude_none=True)}
    writing.write_index(entries.values(), catalogue)
    if prints != seen:
        _write(catalogue / _SEEN, prints)
    return Shelf(catalogue, tuple(entries.values()), tuple(faults))


def renewed(shelf: Shelf, entry: model.Entry) -> tuple[Shelf, model.Entry]:
    """An entry as its folder is now, and the shelf with it.

    Raises:
        BundleError: The folder can no longer be read, or is another scenario's now.
    """
    assert entry.folder is not None
    folder = Path(entry.folder)
    seen = _seen(shelf.catalogue)
    known = _known(folder, seen)
    if known is not None and known[1] == entry:
        return shelf, entry
    mark, now = _described(folder, shelf.catalogue)
    if (now.name, now.generation) != (entry.name, entry.generation):
        raise errors.BundleError(f"{folder} holds {now.name} of generation {now.generation} now; start the fleet again")
    entries = tuple(now if each == entry else each for each in shelf.entries)
    writing.write_index(entries, shelf.catalogue)
    seen[str(folder)] = {"print": mark, "entry": now.model_dump(mode="json", exclude_none=True)}
    _write(shelf.catalogue / _SEEN, seen)
    return dataclasses.replace(shelf, entries=entries), now


def _described(folder: Path, catalogue: Path) -> tuple[Print, model.Entry]:
    mark = _print(folder)
    try:
        bundle = reading.read(folder)
        entry = writing.entry(bundle, folder=folder)
    except pydantic.ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        raise errors.BundleError(f"{folder}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from exc
    writing.describe(bundle, entry, catalogue)
    return mark, entry


def _known(folder: Path, seen: dict[str, Any]) -> tuple[Print, model.Entry] | None:
    """What is known of a folder whose files are as they were."""
    said = seen.get(str(folder))
    if said is None:
        return None
    mark = _print(folder)
    try:
        return (mark, model.Entry.model_validate(said["entry"])) if said["print"] == mark else None
    except (KeyError, TypeError, pydantic.ValidationError):
        return None


def _print(folder: Path) -> Print:
    try:
        return [
            [str(path.relative_to(folder)), stat.st_size, stat.st_mtime_ns, stat.st_ino]
            for path in sorted(_files(folder))
            for stat in (path.stat(),)
        ]
    except OSError as exc:
        raise errors.BundleError(f"{exc.filename}: cannot be read: {exc.strerror}") from exc


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


def _write(path: Path, document: dict[str, Any]) -> None:
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_text(json.dumps(document))
    unfinished.replace(path)
