"""Verifies an episode: copies its state under its lock, has the judge run the verifier on the copies, decides."""

import asyncio
import hashlib
import sqlite3
import tempfile
from pathlib import Path

from awm_runtime.bundle import database, model
from awm_runtime.contract import problems, verdicts
from awm_runtime.server import episodes, outcomes, settings, storage
from awm_runtime.verification import sandbox
from awm_runtime.verification import verdicts as decisions


class Judging:
    """Verdicts on the episodes of one instance.

    Args:
        scratch: Where the copies that verifiers read are made.
    """

    def __init__(
        self,
        bundle: model.Bundle,
        store: episodes.EpisodeStore,
        judge: sandbox.Judge,
        *,
        scratch: Path,
        limits: settings.Settings,
    ) -> None:
        self._bundle = bundle
        self._store = store
        self._judge = judge
        self._scratch = scratch
        self._limits = limits

    async def verify(self, episode: episodes.Episode, wanted: verdicts.VerifyRequest) -> verdicts.Verdict:
        """Judges an episode as it is now. Changes nothing of it, so that asking again gives the same.

        Raises:
            ProblemError: `bad_request` where there is no task or no verifier to judge by.
        """
        source = self._verifier(wanted.task or episode.meta.task, wanted.mode)
        try:
            return await self._judged(episode, wanted, source)
        except sqlite3.DatabaseError as exc:
            if outcomes.is_disk_full(exc):
                raise
            return verdicts.Verdict(
                outcome="abstained",
                reward=None,
                mask=True,
                errors=episode.tally.errors,
                state_hash="",
                blame="environment",
                reason="the episode's database cannot be read",
            )

    async def _judged(self, episode: episodes.Episode, wanted: verdicts.VerifyRequest, source: str) -> verdicts.Verdict:
        with tempfile.TemporaryDirectory(dir=self._scratch, prefix="verify-") as folder:
            initial, final = Path(folder) / "initial.db", Path(folder) / "final.db"
            async with episode.lock:
                episode.connections.snapshot(final)
                tally, interrupted = episode.tally, episode.meta.interrupted
                errors, masking = tally.errors.model_copy(), list(tally.masking)
            storage.copy(self._store.world.seed, initial)
            state_hash = await asyncio.to_thread(database.state_hash, final)
            reply = await self._judge.run(
                sandbox.JudgeRequest(
                    source=source,
                    mode=wanted.mode,
                    initial=initial,
                    final=final,
                    answer=wanted.answer,
                    deadline_s=self._limits.verify_deadline_s,
                    memory_bytes=self._limits.verify_memory_bytes,
                )
            )
        return decisions.decide(
            reply,
            errors=errors,
            environment_calls=masking,
            request=wanted,
            state_hash=state_hash,
            version=f"sha256:{hashlib.sha256(source.encode()).hexdigest()}",
            interrupted=interrupted,
        )

    def _verifier(self, task: str | None, mode: verdicts.Mode) -> str:
        if task is None:
            raise problems.ProblemError(
                problems.Code.BAD_REQUEST, "the episode was opened without a task: name one in the request"
            )
        if self._bundle.task(task) is None:
            raise problems.ProblemError(problems.Code.BAD_REQUEST, f"this scenario has no task {task!r}")
        source = self._bundle.verifiers.get((task, mode))
        if source is None:
            raise problems.ProblemError(problems.Code.BAD_REQUEST, f"task {task!r} has no verifier of mode {mode!r}")
        return source
