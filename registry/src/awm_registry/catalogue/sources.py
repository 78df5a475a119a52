"""The catalogue that is served now, and its exchange for a newer one while requests are answered."""

import asyncio
import logging
from pathlib import Path

from awm_registry import errors
from awm_registry.catalogue import model, snapshots

logger = logging.getLogger(__name__)

_Stamp = tuple[int, int, int]


class Catalogues:
    """Holds one catalogue and takes a newer one from its files.

    Args:
        index: The index, or the folder that it is in.
        folder: Where the metadata is; by default beside the index.

    Raises:
        CatalogueError: It cannot be read.
    """

    def __init__(self, index: Path, folder: Path | None = None) -> None:
        self._index = index / model.INDEX if index.is_dir() else index
        self._folder = folder
        self._stamp = self._look()
        self._current = snapshots.load(self._index, folder)
        _log_faults(self._current)

    @property
    def current(self) -> snapshots.Snapshot:
        """The catalogue now. A request takes it once and answers from it."""
        return self._current

    def reload(self) -> snapshots.Snapshot:
        """Reads the files again. Whoever holds the earlier one is not disturbed.

        Raises:
            CatalogueError: They cannot be read; the earlier one stays.
        """
        stamp = self._look()
        self._current = snapshots.load(self._index, self._folder)
        self._stamp = stamp
        _log_faults(self._current)
        return self._current

    async def follow(self, *, every_s: float = 2.0) -> None:
        """Reloads whenever the index is exchanged, until cancelled; one that cannot be read is logged once."""
        complained: _Stamp | None = None
        while True:
            await asyncio.sleep(every_s)
            stamp = await asyncio.to_thread(self._look)
            if stamp in (self._stamp, complained):
                continue
            try:
                served = await asyncio.to_thread(self.reload)
            except errors.CatalogueError as exc:
                complained = stamp
                logger.error("the catalogue stays as it was: %s", exc)
            else:
                logger.info("a new catalogue is served: %d scenarios", len(served))

    def _look(self) -> _Stamp:
        """What changes with the file; zeros while there is none."""
        try:
            seen = self._index.stat()
        except OSError:
            return (0, 0, 0)
        return (seen.st_mtime_ns, seen.st_ino, seen.st_size)


def _log_faults(snapshot: snapshots.Snapshot) -> None:
    for fault in snapshot.faults:
        logger.warning("catalogue, %s", fault)
