"""A team's catalogue on a cluster: its live `Environment`s say what there is, files say what they are about."""

import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from awm_fleet.backends.kubernetes import model, names, teams
from awm_registry import errors as registry_errors
from awm_registry.catalogue import model as catalogue
from awm_registry.catalogue import reading, snapshots
from awm_runtime import token_checking
from awm_runtime.bundle import model as bundles
from awm_runtime.contract import problems

_AT_MOST_EVERY_S = 1.0
_SYNC_AGAIN_S = 1.0

Tiers = Mapping[str, bundles.Tier | None]

logger = logging.getLogger(__name__)


class LiveCatalogue:
    """What a team is served, asleep or awake.

    Args:
        view: The team's environments.
        folder: A catalogue's `metadata` and `tools`; what is not there is described by its name only.
        tiers: The tiers of bundles, by their digests.
    """

    def __init__(self, view: teams.TeamView, folder: Path, tiers: Callable[[], Tiers]) -> None:
        self._view = view
        self._folder = folder
        self._tiers = tiers
        self._served = snapshots.of([], folder)
        self._entries: tuple[catalogue.Entry, ...] = ()
        self._made_at = 0.0
        self._is_stale = True

    def changed(self) -> None:
        """Takes it that something happened to an environment."""
        self._is_stale = True

    @property
    def current(self) -> snapshots.Snapshot:
        """The catalogue now; of many changes in a row, as it was a second ago.

        Raises:
            ProblemError: `starting`: the environments were not heard of yet.
        """
        if not self._view.is_synced:
            raise problems.ProblemError(
                problems.Code.STARTING,
                f"the environments of team {self._view.team.name} were not heard of yet",
                retry_after_s=_SYNC_AGAIN_S,
            )
        now = time.monotonic()
        if self._is_stale and now - self._made_at >= _AT_MOST_EVERY_S:
            self._is_stale = False
            self._made_at = now
            live = tuple(self._view.environments.items.values())  # asked in threads, while the watch goes on
            tiers = self._tiers()
            entries = tuple(_entry(each, tiers) for each in live if _is_served(each))
            if entries != self._entries:  # most changes are of what an environment does, not of what it is
                self._entries = entries
                self._served = snapshots.of(entries, self._folder)
        return self._served


class Index:
    """The rows of a catalogue's index that say more than an `Environment` does; read again when it was exchanged.

    Args:
        path: The index; None: there is none.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp = token_checking.stamp(path) if path else None
        self._tiers = self._read()

    def tiers(self) -> Tiers:
        """The tiers of bundles, by their digests."""
        if self._path is not None and (stamp := token_checking.stamp(self._path)) != self._stamp:
            self._stamp = stamp
            self._tiers = self._read()
        return self._tiers

    def _read(self) -> Tiers:
        if self._path is None:
            return {}
        found = {}
        try:
            for row in reading.rows(self._path):
                with contextlib.suppress(reading.Unreadable):  # named in the controller's log
                    entry = reading.entry(row)
                    found[entry.bundle] = entry.tier
        except registry_errors.CatalogueError as exc:
            logger.error("no tiers are told: %s", exc)
        return found


def _is_served(environment: model.Environment) -> bool:
    """Whether it is found by its scenario's name."""
    return not environment.deleting and environment.name == names.environment(environment.scenario)


def _entry(environment: model.Environment, tiers: Tiers) -> catalogue.Entry:
    return catalogue.Entry.model_construct(
        name=environment.scenario,
        generation=environment.bundle_generation,
        tier=tiers.get(environment.bundle_digest),
        image=environment.image,
        folder=None,
        bundle=environment.bundle_digest,
        tools_hash=environment.tools_hash,
    )
