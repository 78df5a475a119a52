"""What the control plane does, apart from HTTP."""

import asyncio
import contextlib
import itertools
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from awm_runtime import names
from awm_runtime.bundle import database, digest, model
from awm_runtime.contract import episodes as contract
from awm_runtime.contract import problems, verdicts
from awm_runtime.server import episodes, judging, logs, metrics, outcomes, scenarios, storage

_BATCH_BREATH = 32


class Control:
    """The episodes of an instance, as trainers and operators handle them.

    Args:
        agent_url: Where agents reach this instance, without a path.
    """

    def __init__(
        self,
        bundle: model.Bundle,
        store: episodes.EpisodeStore,
        scenario: scenarios.LoadingScenario,
        judge: judging.Judging,
        *,
        meter: metrics.Metrics,
        agent_url: str,
        scratch: Path,
    ) -> None:
        self.bundle = bundle
        self.store = store
        self.scenario = scenario
        self.judge = judge
        self.meter = meter
        self.scratch = scratch
        self.is_drained = False
        self._agent_url = agent_url
        self._digest = digest.digest(bundle)
        self._tools_hash = digest.tools_hash(bundle.tools)

    async def open(self, wanted: contract.OpenRequest) -> contract.OpenResponse:
        """Opens what it can; each item that cannot be opened is refused by itself."""
        if wanted.wait == "ready":
            await self.scenario.get()
        opened: list[contract.EpisodeView] = []
        rejected: list[contract.Rejection] = []
        for index, spec in enumerate(wanted.episodes):
            if index % _BATCH_BREATH == 0:
                await asyncio.sleep(0)
            try:
                for id in spec.ids or itertools.repeat(None, spec.count):
                    opened.append(self.view(await self._open_one(spec, wanted, id)))
                    if len(opened) % _BATCH_BREATH == 0:
                        await asyncio.sleep(0)
            except problems.ProblemError as exc:
                rejected.append(contract.Rejection(index=index, error=exc.problem))
        _log_opened(opened)
        return contract.OpenResponse(episodes=opened, rejected=rejected)

    async def _open_one(
        self, spec: contract.EpisodeSpec, wanted: contract.OpenRequest, id: str | None
    ) -> episodes.Episode:
        self._check_pins(spec)
        known = self.store.opened_before(spec, id)
        if known is not None:
            async with known.lock:
                await self._hash(known)
            return known
        if spec.source is None:
            self._check_not_drained()
            episode = self.store.open(spec, ttl_s=wanted.ttl_s, retain_s=wanted.retain_s, id=id)
        else:
            async with self.store.get(spec.source).lock:
                self._check_not_drained()
                self.store.check_unused(id)  # the same request may have come twice, and both waited
                episode = self.store.open(spec, ttl_s=wanted.ttl_s, retain_s=wanted.retain_s, id=id)
            try:
                await self._hash(episode)
            except problems.ProblemError:  # a copy of what cannot be read
                self.store.forget(episode)
                raise
        self.meter.episode_opened()
        return episode

    def drain(self) -> None:
        """Opens no episode from now on, until the process ends.

        Raises:
            ProblemError: `conflict`: an episode is open. Default ones do not count: they come back by themselves.
        """
        self.store.sweep()
        if self.store.in_use_count:
            raise problems.ProblemError(
                problems.Code.CONFLICT,
                f"{self.store.in_use_count} episodes are open; drain again when they are closed",
            )
        self.is_drained = True

    def _check_not_drained(self) -> None:
        if self.is_drained:
            raise problems.ProblemError(
                problems.Code.AT_CAPACITY, "this instance is being emptied and opens no more episodes", retry_after_s=1
            )

    def _check_pins(self, spec: contract.EpisodeSpec) -> None:
        serves = self.bundle.scenario
        if spec.scenario is not None and names.normalise(spec.scenario) != serves.name:
            raise problems.ProblemError(
                problems.Code.UNKNOWN_SCENARIO, f"{serves.name} is served here, not {spec.scenario!r}"
            )
        if spec.generation not in (None, serves.generation):
            raise problems.ProblemError(
                problems.Code.CONFLICT, f"generation {serves.generation} is served here, not {spec.generation}"
            )
        if spec.bundle not in (None, self._digest):
            raise problems.ProblemError(problems.Code.CONFLICT, f"bundle {self._digest} is served here")

    def view(self, episode: episodes.Episode, *, hashed: bool = True) -> contract.EpisodeView:
        """An episode as it is answered; in a long list without a state hash, which takes milliseconds each."""
        meta = episode.meta
        task = self.bundle.task(meta.task) if meta.task is not None else None
        url = f"{self._agent_url}/e/{meta.id}/mcp"
        return contract.EpisodeView(
            id=meta.id,
            scenario=self.bundle.scenario.name,
            generation=self.bundle.scenario.generation,
            state=meta.state,
            task=meta.task,
            seed=meta.seed,
            group=meta.group,
            source=meta.source,
            mcp_url=url,
            direct_url=url,
            instruction=task.instruction if task else None,
            clock=self.store.world.clock,
            calls=episode.tally.calls,
            errors=episode.tally.errors,
            state_hash=episode.state_hash() if hashed else None,
            tools_hash=self._tools_hash,
            interrupted=meta.interrupted,
            expires_at=meta.expires_at,
        )

    async def look(self, id: str) -> contract.EpisodeView:
        """One episode, with its state hash: computed beside the event loop, since a database may be large."""
        episode = self.store.get(id)
        async with episode.lock:
            await self._hash(episode)
            return self.view(episode)

    async def _hash(self, episode: episodes.Episode) -> None:
        """Makes the state hash known; the lock is held, or nobody else knows of the episode."""
        with _reading():
            await asyncio.to_thread(episode.state_hash)

    async def reset(self, id: str, seed: int | None) -> contract.EpisodeView:
        """Puts an episode back to the seed."""
        episode = self.store.get_open(id)
        async with episode.lock:
            self.store.get_open(id)  # it may have been closed while this waited
            if self.scenario.is_loaded:
                await (await self.scenario.get()).runner.leave(episode)
            self.store.reset(episode, seed=seed)
            self.meter.episode_reset()
            logs.activity.info("reset %s", id)
            return self.view(episode)

    async def interrupt(self, id: str) -> contract.EpisodeView:
        """Marks an episode of which a call got lost on its way here or back: its verdict is masked until a reset."""
        episode = self.store.get_open(id)
        async with episode.lock:
            self.store.interrupt(episode, episode.tally.calls + 1)
            return self.view(episode, hashed=False)

    async def close(self, id: str) -> None:
        """Ends an episode; closing one that is unknown or closed is fine."""
        try:
            episode = self.store.get(id)
        except problems.ProblemError:
            return
        async with episode.lock:
            if self.scenario.is_loaded:
                await (await self.scenario.get()).runner.leave(episode)
            self.store.close(episode)
            logs.activity.info("closed %s", id)

    async def verify(self, id: str, wanted: verdicts.VerifyRequest) -> verdicts.Verdict:
        """Judges an episode, open or closed."""
        verdict = await self.judge.verify(self.store.get(id), wanted)
        self.meter.verdict(verdict.outcome)
        logs.activity.info("verdict %s, reward %s %s", verdict.outcome, verdict.reward, id)
        return verdict

    @contextlib.asynccontextmanager
    async def snapshot(self, id: str, which: Literal["initial", "current"]) -> AsyncIterator[Path]:
        """A copy of a database, for the length of a `with` block."""
        episode = self.store.get(id)
        with tempfile.TemporaryDirectory(dir=self.scratch, prefix="snapshot-") as folder:
            copy = Path(folder) / f"{which}.db"
            async with episode.lock:
                if which == "current":
                    with _reading():
                        episode.connections.snapshot(copy)
                else:
                    storage.copy(self.store.world.seed, copy)
            yield copy

    async def diff(self, id: str) -> dict[str, Any]:
        """The rows that changed since the seed."""
        with _reading():
            async with self.snapshot(id, "current") as final:
                return await asyncio.to_thread(database.changes, self.store.world.seed, final)


def _log_opened(opened: Sequence[contract.EpisodeView]) -> None:
    """One line, however many."""
    if opened:
        tasks = ", ".join(sorted({each.task for each in opened if each.task is not None}))
        number = f"{len(opened)} episodes, the first is " if len(opened) > 1 else ""
        logs.activity.info("opened %s%s %s", number, opened[0].id, logs.shown(tasks))


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Blames the scenario for a database that is none any more: its code has spoiled it."""
    try:
        yield
    except sqlite3.DatabaseError as exc:
        if outcomes.is_disk_full(exc):
            raise
        raise problems.ProblemError(
            problems.Code.INTERNAL, "the episode's database cannot be read; reset the episode", blame="environment"
        ) from exc
