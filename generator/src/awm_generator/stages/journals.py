"""What a folder's runs remember beside the rows: the lock, the replies, the costs, and what each row was made from."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from awm_generator import errors
from awm_generator.stages import appending, outcomes


@dataclass(frozen=True)
class Entry:
    """What became of one scenario in one stage.

    Attributes:
        scenario: Its normalised name.
        input: The hash of the rows that it was made from.
        reason: Why it is quarantined; empty where it is done.
        detail: What was tried.
        casualties: Parts of it that were left out.
    """

    scenario: str
    input: str
    reason: str = ""
    detail: str = ""
    casualties: tuple[outcomes.Casualty, ...] = ()


class Memory:
    """The folder `.awm` beside a run's files.

    Args:
        folder: The folder of the files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / ".awm"

    @property
    def replies(self) -> Path:
        """The cache of replies."""
        return self.root / "replies"

    @property
    def ledger(self) -> Path:
        """What the runs took."""
        return self.root / "ledger.jsonl"

    def journal(self, output: Path) -> "Journal":
        """What became of the scenarios of one output file."""
        return Journal(self.root / f"{output.name}.journal")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other runs off the folder, until the block or the process ends.

        Raises:
            FolderInUse: another one works on it.
            GenerationError: the disk refuses the folder.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as exc:
            raise appending.unwritable(self.root, exc.strerror) from exc
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                holder = os.read(descriptor, 32).decode(errors="replace").strip() or "another process"
                raise errors.FolderInUse(
                    f"{self.folder}: another run works on this folder (process {holder}); wait for it, or name another"
                ) from exc
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
            yield
        finally:
            os.close(descriptor)


class Journal:
    """The entries of one output file, the last of each scenario.

    Args:
        path: The journal's file; it need not be there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mended = False
        self.entries: dict[str, Entry] = {}
        if path.exists():
            with path.open("rb") as file:
                for line in file:
                    with contextlib.suppress(ValueError):  # torn by a kill, or half written while this is read
                        self._note(_entry(json.loads(line)))

    def add(self, entry: Entry) -> None:
        """Appends an entry.

        Raises:
            GenerationError: the disk refuses it.
        """
        if not self._mended:  # by the one who writes, never by one who only looks
            appending.mend(self._path)
            self._mended = True
        appending.append(self._path, f"{json.dumps(asdict(entry), ensure_ascii=False)}\n")
        self._note(entry)

    def _note(self, entry: Entry) -> None:
        self.entries[entry.scenario] = entry


def _entry(value: dict[str, Any]) -> Entry:
    casualties = tuple(outcomes.Casualty(**each) for each in value.pop("casualties", ()))
    return Entry(**value, casualties=casualties)
