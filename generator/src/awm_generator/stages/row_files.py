"""JSON Lines files that stages read and append to. Rows stay on disk; in memory is where each of them begins."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from awm_generator import errors
from awm_generator.awm_files import rows
from awm_generator.stages import appending
from awm_runtime import names

RowKind = TypeVar("RowKind", bound=rows.Row)

KINDS: dict[str, type[rows.Row]] = {
    **rows.KINDS,
    **dict.fromkeys(rows.VERIFIERS, rows.VerifierRow),
}
"""The rows of each file by the name that the file is known by."""


class RowFile:
    """One file, by scenario.

    Args:
        path: The file; it need not be there.
        kind: Its rows.

    Raises:
        BundleError: a line is broken; the message names file and line.
    """

    def __init__(self, path: Path, kind: type[rows.Row]) -> None:
        self.path, self.kind = path, kind
        self._index()

    def _index(self) -> None:
        self._places: dict[str, list[tuple[int, int]]] = {}
        self._size = 0
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            for number, text in enumerate(file, start=1):
                if text.strip():
                    self._note(rows.parsed(text, self.kind, f"{self.path}:{number}"), len(text))
                else:
                    self._size += len(text)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def of(self, name: str) -> list[rows.Row]:
        """All rows of a scenario, in their order."""
        found = []
        for start, length in self._places.get(name, ()):
            with self.path.open("rb") as file:
                file.seek(start)
                found.append(rows.parsed(file.read(length), self.kind, str(self.path)))
        return found

    def append(self, added: Iterable[rows.Row]) -> None:
        """Appends rows, all or none.

        Raises:
            GenerationError: the disk refuses them.
        """
        lines = [(row, line(row)) for row in added]
        appending.append(self.path, "".join(text for _, text in lines))
        for row, text in lines:
            self._note(row, len(text.encode()))

    def replace(self, name: str, fresh: Iterable[rows.Row]) -> None:
        """Puts rows in the place of a scenario's old ones, in a file that is written anew.

        Raises:
            GenerationError: the disk refuses it; the file is as it was.
        """
        added = "".join(line(row) for row in fresh).encode()
        kept = self.path.read_bytes() if self.path.exists() else b""
        places = self._places.get(name, [])
        at = places[0][0] if places else len(kept)
        for start, length in reversed(places):
            kept = kept[:start] + kept[start + length :]
        appending.replace(self.path, kept[:at] + added + kept[at:])
        self._index()

    def _note(self, row: rows.Row, length: int) -> None:
        self._places.setdefault(name_of(row), []).append((self._size, length))
        self._size += length


def opened(path: Path, known_as: str) -> RowFile:
    """A file that is to be appended to; a line that a kill has torn is cut off.

    Raises:
        BundleError: a line is broken.
        GenerationError: the disk refuses it.
    """
    appending.mend(path)
    return RowFile(path, KINDS[known_as])


def needed(path: Path, known_as: str, flag: str) -> RowFile:
    """A file that is read, and has to be there.

    Raises:
        GenerationError: it is not there, or holds nothing.
        BundleError: a line is broken.
    """
    if not path.is_file():
        raise errors.GenerationError(f"{path}: no such file; {flag} names the {known_as} to work from")
    found = RowFile(path, KINDS[known_as])
    if not len(found):
        raise errors.GenerationError(f"{path}: no rows; {flag} names the {known_as} to work from")
    return found


def line(row: rows.Row) -> str:
    """A row as a line of its file."""
    return f"{row.model_dump_json(by_alias=True)}\n"


def name_of(row: rows.Row) -> str:
    """The normalised name of the scenario that a row is about."""
    return names.normalise(row.scenario)


def carried(row: rows.Row, name: str) -> Any:
    """What a row holds beside the fields of its kind, under one name; None where it does not."""
    return (row.model_extra or {}).get(name)
