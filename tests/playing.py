"""Examples played in this process, call by call, and judged."""

import asyncio
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

from awm_generator import oracles
from awm_runtime.bundle import database, model
from awm_runtime.determinism import context
from awm_runtime.server import asgi, engines, loading, outcomes, storage, tools
from awm_runtime.verification import sandbox

RESULT_BYTES = 1 << 20
DATABASE_BYTES = 1 << 26

Calls = list[tuple[str, dict[str, Any]]]


class Play:
    """One example with an episode that can be started over."""

    def __init__(self, bundle: model.Bundle, folder: Path) -> None:
        self.bundle = bundle
        self.seed, self.final = folder / "seed.db", folder / "final.db"
        on_or_off = bundle.scenario.foreign_keys
        database.build(bundle.schema_sql, bundle.seed_sql, bundle.clock, self.seed, on_or_off)
        scratch = Path(shutil.copy(self.seed, folder / "scratch.db"))
        self._loaded = loading.load(
            bundle.environment, scratch_database=scratch, clock=bundle.clock, foreign_keys=on_or_off == "on"
        )
        self._app = asgi.StartedApp(self._loaded.app, self._loaded.state)
        self._connections = storage.EpisodeConnections(self.final, foreign_keys=True, max_bytes=DATABASE_BYTES)
        self.start_over()

    @property
    def tools(self) -> dict[str, tools.Tool]:
        return self._loaded.toolset.tools

    def start_over(self) -> None:
        self._connections.close()
        shutil.copy(self.seed, self.final)
        self._numbers = itertools.count(1)

    def snapshot(self) -> Path:
        """A copy of the episode's database, which is complete between two calls."""
        return Path(shutil.copy(self.final, self.final.with_name("snapshot.db")))

    def call(self, tool: str, arguments: dict[str, Any]) -> outcomes.Outcome:
        running = context.CallContext(self.bundle.clock, 7, next(self._numbers), connections=self._connections)
        with context.entered(running):
            try:
                request = tools.request_for(self.tools[tool], arguments)
                reply = asyncio.run(asgi.request(self._app, request))
            finally:
                engines.release_leaks()
        return outcomes.of_reply(reply, RESULT_BYTES)

    def reply(self, tool: str, arguments: dict[str, Any]) -> Any:
        """The reply of a call that fits its schema and is not refused."""
        assert self.tools[tool].problem_with(arguments) is None
        outcome = self.call(tool, arguments)
        assert not outcome.is_error, f"{tool} {arguments}: {outcome.text}"
        return json.loads(outcome.text)

    def solve(self, task: model.Task) -> str | None:
        """Replays a task's oracle on a fresh episode and gives its answer."""
        assert task.oracle is not None
        self.start_over()
        return oracles.replay(task.oracle, self.reply).answer

    def close(self) -> None:
        self._connections.close()
        self._loaded.shutdown()


def judged(judge: sandbox.LocalJudge, play: Play, task: str, answer: str | None) -> dict[str, Any]:
    source = play.bundle.verifiers[task, "code"]
    final = play.snapshot()
    reply = judge.run(sandbox.JudgeRequest(source=source, mode="code", initial=play.seed, final=final, answer=answer))
    assert reply.result is not None, f"{reply.failure}: {reply.detail}"
    return reply.result
