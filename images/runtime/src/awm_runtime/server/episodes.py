"""Episodes: isolated copies of a scenario's state, kept as folders that a restarted process finds again.

```text
<state>/seed.db                          what every episode starts from
<state>/episodes/<id>/meta.json          EpisodeMeta; replaced atomically
                      <attempt>.db       the state; a reset begins the next attempt
                      <attempt>.jsonl    the call log
```
"""

import asyncio
import contextlib
import logging
import secrets
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pydantic

from awm_runtime.bundle import database
from awm_runtime.contract import episodes as contract
from awm_runtime.contract import problems
from awm_runtime.determinism import clock
from awm_runtime.server import folders, inflight, outcomes, settings, storage, traces

logger = logging.getLogger(__name__)

_FOREVER_S = 100 * 365 * 86400.0
INTERRUPTED = "The instance stopped in the middle of this call; its effects may be partial."


class EpisodeMeta(pydantic.BaseModel):
    """What an episode's folder says of it."""

    id: contract.EpisodeId
    task: str | None = None
    seed: int
    group: str | None = None
    source: str | None = None
    attempt: int = 0
    state: contract.EpisodeState = "open"
    ttl_s: float
    retain_s: float
    expires_at: datetime
    closed_at: datetime | None = None
    interrupted: int | None = None


@dataclass(slots=True)
class Episode:
    """An episode in this process.

    Attributes:
        meta: What is persisted of it.
        folder: Its folder.
        trace: Its call log.
        connections: Its database connections; opened by the first call.
        tally: What its calls came to.
        lock: Orders its calls, resets and snapshots.
        hashed: The number of calls at which the state's hash was computed, and the hash.
        kept_bytes: What its folder takes, once it takes no more calls.
        used_at: When it was last used, on the clock of `time.monotonic`.
    """

    meta: EpisodeMeta
    folder: Path
    trace: Path
    connections: storage.EpisodeConnections
    tally: traces.Tally
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    used_at: float = field(default_factory=time.monotonic)
    hashed: tuple[int, str] | None = None
    kept_bytes: int | None = None

    @property
    def id(self) -> contract.EpisodeId:
        return self.meta.id

    @property
    def database(self) -> Path:
        return self.connections.path

    def state_hash(self) -> str:
        """The hash of the committed state; computed once per state of the call count. The lock is held."""
        if self.hashed is None or self.hashed[0] != self.tally.calls:
            self.connections.settle()
            self.hashed = (self.tally.calls, database.state_hash(self.database))
        return self.hashed[1]


@dataclass(frozen=True, slots=True)
class World:
    """What the episodes of an instance have in common.

    Attributes:
        seed: The seeded database.
        seed_hash: Its state hash.
        clock: The bundle's clock.
        foreign_keys: Whether SQLite enforces them.
        tasks: The ids of the bundle's tasks.
    """

    seed: Path
    seed_hash: str
    clock: datetime
    foreign_keys: bool
    tasks: frozenset[str]


class _Kept(NamedTuple):
    """Something that is kept for reading, since when and for how long, and how to forget it."""

    since: datetime
    retain_s: float
    bytes: int
    forget: Callable[[], None]


class EpisodeStore:
    """The episodes of one instance.

    Args:
        folder: Where they live.
        world: What they start from.
        limits: The instance's settings.
        now: The wall clock, aware; leases are counted on it because they outlive the process.
    """

    def __init__(
        self,
        folder: Path,
        world: World,
        limits: settings.Settings,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.world = world
        self._folder = folder
        self._limits = limits
        self._now = now
        self._episodes: dict[str, Episode] = {}
        self._open: set[str] = set()
        self._lost: dict[str, datetime] = {}
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def open_count(self) -> int:
        """How many episodes take calls."""
        return len(self._open)

    @property
    def in_use_count(self) -> int:
        """How many episodes take calls, default ones not counted."""
        taking = (self._episodes[id] for id in self._open)
        return sum(not contract.is_default(each.id, each.meta.group) for each in taking)

    def recover(self, left_in_flight: list[inflight.Entry], *, memory_lost: bool = False) -> None:
        """Finds the episodes of an earlier process; calls that it left in flight mark theirs as interrupted.

        Args:
            left_in_flight: The calls that were running when it ended.
            memory_lost: Whether episodes had state in memory, so that each that was called is interrupted.
        """
        for folder in sorted(path for path in self._folder.iterdir() if path.is_dir()):
            try:
                self._recover(folder)
            except (OSError, ValueError, KeyError, TypeError):
                logger.exception("%s holds no episode that can be read: it is lost", folder.name)
                self._drop(folder.name)
                self._lost[folder.name] = self._now()
        for entry in left_in_flight:
            interrupted = self._episodes.get(entry.episode)
            if interrupted is None or interrupted.tally.calls >= entry.number:
                continue
            self.interrupt(interrupted, entry.number)  # first, because what the log says is not looked at twice
            record = _interruption(entry, self._now())
            with contextlib.suppress(OSError):  # a full disk: the meta says it too
                traces.append(interrupted.trace, record.line())
            interrupted.tally.add(record.n, record.blame, record.code)
        for episode in self:
            if memory_lost and episode.meta.state == "open" and episode.tally.calls:
                self.interrupt(episode, episode.tally.calls)

    def open(self, spec: contract.EpisodeSpec, *, ttl_s: float, retain_s: float, id: str | None = None) -> Episode:
        """Opens one episode (`spec.count` is the caller's to repeat), under an id that none has, or under a new one.

        Raises:
            ProblemError: `bad_request` for an unknown task, `unknown_episode` for an unknown fork source,
                `at_capacity` when too many are open.
        """
        if spec.task is not None and spec.task not in self.world.tasks:
            raise problems.ProblemError(problems.Code.BAD_REQUEST, f"this scenario has no task {spec.task!r}")
        if self.open_count >= self._limits.episodes:
            raise problems.ProblemError(
                problems.Code.AT_CAPACITY,
                f"{self._limits.episodes} episodes are open, which is the limit",
                retry_after_s=5,
            )
        source = self.get(spec.source) if spec.source is not None else None
        return self._create(
            EpisodeMeta(
                id=contract.EpisodeId(id or f"ep_{secrets.token_hex(16)}"),
                task=spec.task if spec.task is not None or source is None else source.meta.task,
                seed=_seed_of(spec, source),
                group=spec.group,
                source=spec.source,
                ttl_s=ttl_s,
                retain_s=retain_s,
                expires_at=self._now() + timedelta(seconds=ttl_s),
                interrupted=source.meta.interrupted if source is not None else None,
            ),
            source,
        )

    def opened_before(self, spec: contract.EpisodeSpec, id: str | None) -> Episode | None:
        """The episode that an earlier request for the same opened under this id; None: it is to be opened.

        Raises:
            ProblemError: `conflict` where the id stands for something else, `episode_lost`.
        """
        if spec.reopen and id is not None:
            self._forget_lost(id)
        if id is None or (id not in self._episodes and id not in self._lost):
            return None
        episode = self.get(id)
        if spec.reopen and episode.meta.state != "open":
            self.forget(episode)
            return None
        if not _is_of(spec, episode.meta):
            raise problems.ProblemError(
                problems.Code.CONFLICT, "this episode was opened before, for another task, seed, group or source"
            )
        return episode

    def check_unused(self, id: str | None) -> None:
        """Makes sure that no episode has this id.

        Raises:
            ProblemError: `conflict`.
        """
        if id in self._episodes:
            raise problems.ProblemError(problems.Code.CONFLICT, "the same episode is being opened; ask again")

    def default(self) -> Episode:
        """The episode of the plain `/mcp` URL: opened on first use, and anew once it was closed."""
        episode = self._episodes.get(contract.DEFAULT_ID)
        if episode is not None and episode.meta.state == "open":
            return episode
        if episode is not None:
            self.forget(episode)
        self._forget_lost(contract.DEFAULT_ID)
        return self.open(
            contract.EpisodeSpec(), ttl_s=_FOREVER_S, retain_s=contract.DEFAULT_RETAIN_S, id=contract.DEFAULT_ID
        )

    def get(self, id: str) -> Episode:
        """An episode, open or kept for reading.

        Raises:
            ProblemError: `unknown_episode` or `episode_lost`.
        """
        if id in self._lost:
            raise problems.ProblemError(
                problems.Code.EPISODE_LOST, "what this instance kept of the episode cannot be read; open another"
            )
        episode = self._episodes.get(id)
        if episode is None:
            raise problems.ProblemError(problems.Code.UNKNOWN_EPISODE, "there is no such episode on this instance")
        if episode.meta.state == "open" and self._now() >= episode.meta.expires_at:
            self.close(episode, "expired")
        return episode

    def get_open(self, id: str) -> Episode:
        """An episode that takes calls.

        Raises:
            ProblemError: `unknown_episode`, `episode_lost`, `episode_closed` or `episode_expired`.
        """
        episode = self.get(id)
        if episode.meta.state == "closed":
            raise problems.ProblemError(problems.Code.EPISODE_CLOSED, "this episode was closed; open another")
        if episode.meta.state == "expired":
            raise problems.ProblemError(problems.Code.EPISODE_EXPIRED, "this episode's lease ran out; open another")
        return episode

    def __iter__(self) -> Iterator[Episode]:
        return iter(list(self._episodes.values()))

    def reset(self, episode: Episode, *, seed: int | None) -> None:
        """Puts an episode back to the seed, in place. The caller holds its lock.

        Raises:
            OSError: There is no room; the episode is as it was.
        """
        episode.connections.close()
        following = episode.meta.attempt + 1
        try:
            storage.copy(self.world.seed, folders.database_of(episode.folder, following))
            self._save(
                episode,
                attempt=following,
                interrupted=None,
                seed=episode.meta.seed if seed is None else seed,
                expires_at=self._now() + timedelta(seconds=episode.meta.ttl_s),
            )
        except OSError:
            folders.remove_other_attempts(episode.folder, episode.meta.attempt)
            raise
        episode.connections = self._connections(folders.database_of(episode.folder, following))
        episode.trace = folders.trace_of(episode.folder, following)
        episode.tally = traces.Tally()
        episode.hashed = (0, self.world.seed_hash)
        episode.used_at = time.monotonic()
        folders.remove_other_attempts(episode.folder, following)  # last: what it cannot remove does no harm

    def renew(self, episode: Episode) -> datetime:
        """A heartbeat: the lease runs its whole time again."""
        episode.used_at = time.monotonic()
        self._note(episode, expires_at=self._now() + timedelta(seconds=episode.meta.ttl_s))
        return episode.meta.expires_at

    def close(self, episode: Episode, state: contract.EpisodeState = "closed") -> None:
        """Ends an episode; it stays readable for its retention. Twice is fine.

        Where a call holds the lock, its connections stay until it ends.
        """
        if episode.meta.state != "open":
            return
        if not episode.lock.locked():
            episode.connections.close()
        self._note(episode, state=state, closed_at=self._now())
        self._open.discard(episode.id)

    def forget(self, episode: Episode) -> None:
        """Removes an episode and its files."""
        episode.connections.close()
        self._drop(episode.id)
        folders.remove(episode.folder)

    def sweep(self) -> None:
        """Expires episodes whose lease or idle time ran out and forgets the ones whose retention did."""
        now, idle_since = self._now(), time.monotonic() - self._limits.idle_s
        for episode in self:
            if episode.lock.locked():
                continue
            idle = episode.used_at < idle_since and episode.id != contract.DEFAULT_ID
            if episode.meta.state == "open" and (now >= episode.meta.expires_at or idle):
                self.close(episode, "expired")
        room = self._limits.retain_bytes
        for kept in sorted(self._kept(), key=lambda each: each.since, reverse=True):
            room -= kept.bytes
            if room < 0 or now >= kept.since + timedelta(seconds=kept.retain_s):
                kept.forget()

    def interrupt(self, episode: Episode, number: int) -> None:
        """Marks an episode whose call was cut off: its verdict is masked until a reset."""
        if episode.meta.interrupted is None:
            self._note(episode, interrupted=number)

    def close_connections(self) -> None:
        """Closes every database, for a clean shutdown."""
        for episode in self:
            episode.connections.close()

    def _create(self, meta: EpisodeMeta, source: Episode | None) -> Episode:
        folder = self._folder / meta.id
        try:
            folder.mkdir(mode=0o700)
            if source is None:
                storage.copy(self.world.seed, folders.database_of(folder, 0))
            else:
                source.connections.snapshot(folders.database_of(folder, 0))
                if source.trace.exists():
                    shutil.copyfile(source.trace, folders.trace_of(folder, 0))
            episode = self._adopt(meta, folder)
            self._save(episode)
        except (OSError, sqlite3.Error) as exc:
            self._drop(meta.id)
            folders.remove(folder)
            if isinstance(exc, sqlite3.Error) and not outcomes.is_disk_full(exc):
                raise problems.ProblemError(
                    problems.Code.INTERNAL, "the database of the episode to fork cannot be read", blame="environment"
                ) from exc
            raise problems.ProblemError(
                problems.Code.AT_CAPACITY,
                "there is no room on this instance's disk for another episode",
                retry_after_s=30,
            ) from exc
        episode.hashed = (0, self.world.seed_hash) if source is None else source.hashed
        if source is not None:
            episode.tally = source.tally.copy()
        return episode

    def _kept(self) -> Iterator[_Kept]:
        """What is kept for reading: episodes that ended, and, for whoever finds out why, the ones that were lost."""
        for episode in self:
            if episode.meta.closed_at is None:
                continue
            if episode.kept_bytes is None:
                episode.kept_bytes = folders.size(episode.folder)
            forget = partial(self.forget, episode)
            yield _Kept(episode.meta.closed_at, episode.meta.retain_s, episode.kept_bytes, forget)
        for id, since in self._lost.items():
            bytes_ = folders.size(self._folder / id)
            yield _Kept(since, contract.DEFAULT_RETAIN_S, bytes_, partial(self._forget_lost, id))

    def _forget_lost(self, id: str) -> None:
        if self._lost.pop(id, None) is not None:
            folders.remove(self._folder / id)

    def _drop(self, id: str) -> None:
        self._episodes.pop(id, None)
        self._open.discard(id)

    def _recover(self, folder: Path) -> None:
        if folders.is_leftover(folder):
            folders.remove(folder)
            return
        meta = EpisodeMeta.model_validate_json(folders.meta_of(folder).read_bytes())
        if meta.id != folder.name or not folders.database_of(folder, meta.attempt).is_file():
            raise ValueError("its database is missing, or its meta is another episode's")
        folders.remove_other_attempts(folder, meta.attempt)
        episode = self._adopt(meta, folder)
        episode.tally, spoiled = traces.tally(episode.trace)
        if spoiled is not None:
            self.interrupt(episode, spoiled)
        traces.mend(episode.trace)  # last: what is gone from the log is not missed by the next process

    def _adopt(self, meta: EpisodeMeta, folder: Path) -> Episode:
        connections = self._connections(folders.database_of(folder, meta.attempt))
        trace = folders.trace_of(folder, meta.attempt)
        episode = Episode(meta=meta, folder=folder, trace=trace, connections=connections, tally=traces.Tally())
        self._episodes[meta.id] = episode
        if meta.state == "open":
            self._open.add(meta.id)
        return episode

    def _connections(self, path: Path) -> storage.EpisodeConnections:
        return storage.EpisodeConnections(
            path, foreign_keys=self.world.foreign_keys, max_bytes=self._limits.episode_bytes
        )

    def _note(self, episode: Episode, **changes: object) -> None:
        """Persists a change of the meta if there is room; else what this process knows must do."""
        try:
            self._save(episode, **changes)
        except OSError:
            logger.exception("cannot persist %s of %s", ", ".join(changes), episode.id)
            episode.meta = episode.meta.model_copy(update=changes)

    def _save(self, episode: Episode, **changes: object) -> None:
        """Persists an episode's meta, whole or not at all, then lets this process see the change."""
        meta = episode.meta.model_copy(update=changes)
        unfinished = episode.folder / "meta.json.part"
        unfinished.write_text(meta.model_dump_json())
        unfinished.replace(folders.meta_of(episode.folder))
        episode.meta = meta


def _interruption(entry: inflight.Entry, at: datetime) -> traces.Record:
    """What the call log says of a call that a crash cut off."""
    return traces.Record(
        n=entry.number,
        at=clock.render(at),
        tool=entry.tool,
        arguments={},
        result=INTERRUPTED,
        is_error=True,
        blame="infrastructure",
        code=problems.Code.EPISODE_INTERRUPTED,
        status=None,
        ms=0.0,
    )


def _is_of(spec: contract.EpisodeSpec, meta: EpisodeMeta) -> bool:
    """Whether an episode is what the item wants; a fork inherits what its item leaves out."""
    task = meta.task if spec.source is not None and spec.task is None else spec.task
    seed = meta.seed if spec.seed is None else spec.seed
    return (task, seed, spec.group, spec.source) == (meta.task, meta.seed, meta.group, meta.source)


def _seed_of(spec: contract.EpisodeSpec, source: Episode | None) -> int:
    if spec.seed is not None:
        return spec.seed
    return source.meta.seed if source is not None else secrets.randbits(48)
