"""What the router needs of a catalogue."""

from typing import Protocol

from awm_registry.catalogue import snapshots


class Catalogues(Protocol):
    """The catalogue of a fleet, which may be replaced while it is served."""

    @property
    def current(self) -> snapshots.Snapshot:
        """As it is now. Each request looks once, so that a reload changes nothing under it."""
        ...
