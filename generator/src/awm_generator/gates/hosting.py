"""Real episodes in this process: put together as an instance does it, without HTTP. Every call is recorded."""

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from awm_generator.gates import seeds, subjects
from awm_runtime.bundle import database
from awm_runtime.contract import episodes as contract
from awm_runtime.contract import problems
from awm_runtime.server import (
    asgi,
    calls,
    deadlines,
    episodes,
    exits,
    inflight,
    loading,
    metrics,
    processes,
    runners,
    scenarios,
    settings,
    storage,
)

CALL_DEADLINE_S = 3.0
_SEED = 11
_FOREVER_S = 86400.0
_EPISODE_BYTES = 64 * settings.MIB
_SHOWN = 600


@dataclass(frozen=True)
class Call:
    """A call that was made, and what came of it.

    Attributes:
        status: The HTTP status of the scenario's app; None where it was not asked, or gave none.
        changed: Whether the committed state is another than before.
        broken: What foreign keys and constraints say of the state that it left, where it changed it.
        raised: What the scenario's code raised, and in which of its lines, where that is known.
    """

    tool: str
    arguments: dict[str, Any]
    text: str
    blame: problems.Blame | None
    code: str | None
    status: int | None
    changed: bool
    broken: tuple[str, ...] = ()
    raised: str = ""

    @property
    def failed(self) -> bool:
        """Whether it came to an error, whoever is to blame."""
        return self.blame is not None

    @property
    def refused(self) -> bool:
        """Whether the scenario or its schema turned it down, as it should with what is wrong."""
        return self.blame == "agent"

    def request(self) -> str:
        """The call as text."""
        return requested(self.tool, self.arguments)

    def reply(self) -> str:
        """What came of it as text."""
        status = f"{self.status} " if self.status else ""
        shown = self.text if len(self.text) <= _SHOWN else f"{self.text[:_SHOWN]} …"
        return f"{status}{shown}"

    def evidence(self) -> dict[str, str]:
        """Request and reply, for a counterexample."""
        raised = {"raised": self.raised} if self.raised else {}
        return {"request": self.request(), "reply": self.reply(), **raised}

    def data(self) -> Any:
        """The reply as JSON values; as text where it is none."""
        try:
            return json.loads(self.text)
        except ValueError:
            return self.text


def requested(tool: str, arguments: Mapping[str, Any]) -> str:
    """A call as text."""
    return f"{tool} {json.dumps(arguments, ensure_ascii=False, default=str)}"


class Host:
    """The episodes of one scenario; `hosted` puts one together."""

    def __init__(
        self, subject: subjects.Subject, store: episodes.EpisodeStore, made: calls.Calls, runner: runners.Runner
    ) -> None:
        self._store = store
        self._calls = made
        self._runner = runner
        self._read: dict[str, int] = {}
        self._known: dict[str, str] = {}
        self._failures = _Failures()
        self._seed = database.contents(subject.seed)
        self.subject = subject

    async def open(self, seed: int = _SEED) -> episodes.Episode:
        """A fresh episode."""
        episode = self._store.open(contract.EpisodeSpec(seed=seed), ttl_s=_FOREVER_S, retain_s=0)
        self._begin(episode)
        return episode

    @property
    def forks_exactly(self) -> bool:
        """Whether a fork goes on as its source would: what code keeps in its process's memory is not forked."""
        return self.subject.bundle.scenario.isolation == "shared"

    async def fork(self, source: episodes.Episode) -> episodes.Episode:
        """An episode with the state, the clock and the seed of another."""
        async with source.lock:
            spec = contract.EpisodeSpec(source=source.id)
            episode = self._store.open(spec, ttl_s=_FOREVER_S, retain_s=0)
        self._read[episode.id] = episode.trace.stat().st_size if episode.trace.exists() else 0
        self._known[episode.id] = self._known[source.id]
        return episode

    async def reset(self, episode: episodes.Episode) -> None:
        """Puts an episode back to the seed, as the control plane does."""
        async with episode.lock:
            await self._runner.leave(episode)
            self._store.reset(episode, seed=None)
        self._begin(episode)

    async def close(self, episode: episodes.Episode) -> None:
        """Ends an episode and removes its files."""
        await self._runner.leave(episode)
        self._store.forget(episode)

    @contextlib.asynccontextmanager
    async def episode(self, seed: int = _SEED) -> AsyncIterator[episodes.Episode]:
        """A fresh episode for the length of a `with` block."""
        opened = await self.open(seed)
        try:
            yield opened
        finally:
            await self.close(opened)

    async def call(
        self, episode: episodes.Episode, tool: str, arguments: dict[str, Any], *, checked: bool = True
    ) -> Call:
        """Makes one call; whatever it comes to is recorded, never raised.

        Args:
            episode: Where.
            tool: Which tool.
            arguments: Its arguments.
            checked: Whether, where it wrote, constraints are looked at, and whether anything is another than before.
                Otherwise having written counts as a change.
        """
        before = _writes(episode.database)
        self._failures.last = ""
        try:
            reply = await self._calls.call(episode.id, tool, arguments)
        except problems.ProblemError as exc:
            wrote = _writes(episode.database) != before
            return Call(tool, arguments, exc.detail, exc.blame, str(exc.code), None, wrote, (), self._failures.last)
        wrote = _writes(episode.database) != before
        changed = wrote and (not checked or self._is_another(episode))
        record = self._last_record(episode)
        return Call(
            tool,
            arguments,
            reply.text,
            record.get("class") if reply.is_error else None,
            record.get("code"),
            record.get("status"),
            changed,
            seeds.broken(episode.database) if changed and checked else (),
            self._failures.last,
        )

    async def play(
        self, episode: episodes.Episode, wanted: Sequence[tuple[str, dict[str, Any]]], *, checked: bool = False
    ) -> list[Call]:
        """Makes several calls, one after the other."""
        return [await self.call(episode, tool, arguments, checked=checked) for tool, arguments in wanted]

    def state_hash(self, episode: episodes.Episode) -> str:
        """The hash of an episode's committed state."""
        episode.connections.settle()
        return database.state_hash(episode.database)

    def snapshot(self, episode: episodes.Episode, target: Path) -> Path:
        """Copies an episode's committed state."""
        episode.connections.snapshot(target)
        return target

    def changes(self, episode: episodes.Episode) -> dict[str, Any]:
        """What an episode's calls changed, by table and key."""
        episode.connections.settle()
        return database.difference(self._seed, database.contents(episode.database))

    def _begin(self, episode: episodes.Episode) -> None:
        self._read[episode.id] = 0
        self._known[episode.id] = self._store.world.seed_hash

    def _is_another(self, episode: episodes.Episode) -> bool:
        """Whether an episode's state is another than when this was asked last."""
        before, self._known[episode.id] = self._known[episode.id], self.state_hash(episode)
        return self._known[episode.id] != before

    def _last_record(self, episode: episodes.Episode) -> dict[str, Any]:
        """The last line of an episode's trace, where the call's status stands."""
        with episode.trace.open("rb") as trace:
            trace.seek(self._read[episode.id])
            added = trace.read()
        self._read[episode.id] += len(added)
        last = added.rstrip(b"\n").rsplit(b"\n", 1)[-1]
        record: dict[str, Any] = json.loads(last) if last else {}
        return record


@contextlib.asynccontextmanager
async def hosted(subject: subjects.Subject, code: loading.LoadedScenario) -> AsyncIterator[Host]:
    """The host of a loaded scenario. The process must be one of its own: the code runs in it."""
    exits.install(asyncio.get_running_loop())
    limits = settings.Settings(call_deadline_s=CALL_DEADLINE_S, calls_per_episode=10**6, episode_bytes=_EPISODE_BYTES)
    bundle = subject.bundle
    world = episodes.World(
        seed=subject.seed,
        seed_hash=database.state_hash(subject.seed),
        clock=bundle.clock,
        foreign_keys=bundle.scenario.foreign_keys == "on",
        tasks=frozenset(task.id for task in bundle.tasks),
    )
    store = episodes.EpisodeStore(subject.folder / "episodes", world, limits)
    runner = _runner(subject, code, limits)
    scenario = scenarios.LoadingScenario()
    scenario.succeed(scenarios.Loaded(code.toolset, runner))
    table = inflight.InFlightTable(subject.folder / "inflight")
    meter = metrics.Metrics(lambda: store.open_count)
    made = calls.Calls(bundle, store, scenario, in_flight=table, limits=limits, meter=meter)
    try:
        yield Host(subject, store, made, runner)
    finally:
        for episode in store:
            await runner.leave(episode)
        store.close_connections()
        table.close()


class _Failures(logging.Handler):
    """Keeps what the scenario's code raised last, which the server tells its log only; prints nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.last = ""
        server = logging.getLogger("awm_runtime")
        server.handlers[:] = [self]
        server.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self.last = loading.described(record.exc_info[1])


def _runner(subject: subjects.Subject, code: loading.LoadedScenario, limits: settings.Settings) -> runners.Runner:
    app = asgi.StartedApp(code.app, code.state)
    if subject.bundle.scenario.isolation == "shared":
        return runners.InlineRunner(app, deadlines.Deadlines())
    connect = partial(
        storage.EpisodeConnections,
        foreign_keys=subject.bundle.scenario.foreign_keys == "on",
        max_bytes=limits.episode_bytes,
    )
    return processes.ForkingRunner(app, confine=_confined_already, connect=connect, wait_s=CALL_DEADLINE_S * 2)


def _confined_already(folder: Path) -> None:
    """The whole process is confined, and what it forks with it."""


def _writes(path: Path) -> bytes:
    """SQLite's count of the transactions that wrote to a database file; it stands in the file's header."""
    with path.open("rb") as file:
        return os.pread(file.fileno(), 4, 24)
