"""Tool calls: the way of one call through its episode.

lock the episode -> mark in flight -> check the arguments -> run the app -> write the trace -> clear the mark -> answer
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from awm_runtime.bundle import model
from awm_runtime.contract import problems
from awm_runtime.determinism import clock, context
from awm_runtime.server import (
    episodes,
    inflight,
    logs,
    metrics,
    outcomes,
    scenarios,
    settings,
    tool_host,
    tools,
    traces,
)

logger = logging.getLogger(__name__)

_NANOSECONDS = 1_000_000_000


class Calls(tool_host.ToolHost):
    """The tools of this instance's scenario, callable in its episodes."""

    def __init__(
        self,
        bundle: model.Bundle,
        store: episodes.EpisodeStore,
        scenario: scenarios.LoadingScenario,
        *,
        in_flight: inflight.InFlightTable,
        limits: settings.Settings,
        meter: metrics.Metrics,
    ) -> None:
        self._bundle = bundle
        self._store = store
        self._scenario = scenario
        self._in_flight = in_flight
        self._limits = limits
        self._meter = meter
        self._kill_after_s = limits.call_deadline_s + limits.call_grace_s

    @property
    def name(self) -> str:
        return self._bundle.scenario.name

    @property
    def title(self) -> str:
        return self._bundle.scenario.title

    @property
    def description(self) -> str:
        return self._bundle.scenario.description

    @property
    def version(self) -> str:
        return str(self._bundle.scenario.generation)

    def listed(self) -> Sequence[Mapping[str, Any]]:
        return self._bundle.tools

    def check(self, episode: str) -> None:
        self._store.get_open(episode)

    async def default_episode(self) -> str:
        return self._store.default().id

    async def call(self, episode: str, tool: str, arguments: dict[str, Any]) -> tool_host.ToolReply:
        target = self._store.get_open(episode)
        loaded = await self._scenario.get()
        async with target.lock:
            if self._store.get_open(episode) is not target:  # closed and opened anew while this call waited
                raise problems.ProblemError(problems.Code.EPISODE_CLOSED, "this episode was closed; open another")
            if exhausted := self._exhausted(target):
                return tool_host.ToolReply(exhausted, is_error=True)
            outcome = await self._run(target, loaded, tool, arguments)
        return tool_host.ToolReply(outcome.text, outcome.is_error)

    def _exhausted(self, episode: episodes.Episode) -> str | None:
        """Why an episode answers no more calls, if it does not."""
        if episode.tally.calls >= self._limits.calls_per_episode:
            return f"This episode has used up its {self._limits.calls_per_episode} calls."
        if episode.tally.log_bytes >= self._limits.episode_bytes:
            return "This episode has used up the room for its call log."
        return None

    async def _run(
        self, episode: episodes.Episode, loaded: scenarios.Loaded, tool: str, arguments: dict[str, Any]
    ) -> outcomes.Outcome:
        """Runs and records the episode's next call. Its number is used up, whatever comes of it."""
        number = episode.tally.calls + 1
        kill_at_ns = time.monotonic_ns() + int(self._kill_after_s * _NANOSECONDS)
        slot = self._in_flight.mark(episode.id, number, kill_at_ns, tool)
        if slot is None:
            raise problems.ProblemError(
                problems.Code.AT_CAPACITY, "too many calls at once on this instance", retry_after_s=1
            )
        try:
            return await self._run_marked(episode, loaded, tool, arguments, number)
        finally:
            self._in_flight.clear(slot)
            if episode.meta.state != "open":  # it ended meanwhile, and left its connections to this call
                episode.connections.close()

    async def _run_marked(
        self, episode: episodes.Episode, loaded: scenarios.Loaded, tool: str, arguments: dict[str, Any], number: int
    ) -> outcomes.Outcome:
        started = time.perf_counter()
        failure: problems.ProblemError | asyncio.CancelledError | None = None
        try:
            outcome = await self._outcome(episode, loaded, tool, arguments, number)
        except problems.ProblemError as exc:
            failure = exc
            outcome = outcomes.Outcome(exc.detail, "infrastructure", exc.code)
        except asyncio.CancelledError as exc:  # a shutdown that waits no longer
            failure = exc
            outcome = outcomes.Outcome(episodes.INTERRUPTED, "infrastructure", problems.Code.EPISODE_INTERRUPTED)
        self._record(episode, number, tool, arguments, outcome, time.perf_counter() - started)
        if failure is not None:
            if outcome.code is problems.Code.EPISODE_INTERRUPTED:
                self._store.interrupt(episode, number)
            raise failure
        return outcome

    async def _outcome(
        self, episode: episodes.Episode, loaded: scenarios.Loaded, name: str, arguments: dict[str, Any], number: int
    ) -> outcomes.Outcome:
        tool = loaded.toolset.tools.get(name)
        if tool is None:
            return outcomes.malformed(f"Unknown tool: {name!r}. Ask for the tool list.", problems.Code.UNKNOWN_TOOL)
        complaint = tool.problem_with(arguments)
        if complaint is not None:
            return outcomes.malformed(complaint, problems.Code.INVALID_ARGUMENTS)
        call = context.CallContext(clock=self._store.world.clock, seed=episode.meta.seed, number=number)
        call.deadline = time.monotonic() + self._limits.call_deadline_s
        reply = await loaded.runner.run(episode, call, tools.request_for(tool, arguments))
        if outcomes.is_disk_full(reply.failure):
            raise problems.ProblemError(problems.Code.AT_CAPACITY, "the episode's database has no room to grow")
        return outcomes.of_reply(reply, self._limits.result_bytes)

    def _record(
        self,
        episode: episodes.Episode,
        number: int,
        tool: str,
        arguments: dict[str, Any],
        outcome: outcomes.Outcome,
        elapsed: float,
    ) -> None:
        """Writes the trace; a call that cannot be written down is not acknowledged."""
        record = traces.Record(
            n=number,
            at=clock.render(datetime.now(UTC)),
            tool=tool,
            arguments=arguments,
            result=outcome.text,
            is_error=outcome.is_error,
            blame=outcome.blame,
            code=outcome.code,
            status=outcome.status,
            ms=round(elapsed * 1000, 3),
        )
        episode.used_at = time.monotonic()
        episode.tally.add(number, outcome.blame, outcome.code)
        self._meter.call(outcome, elapsed)
        if logs.activity.isEnabledFor(logging.INFO):
            said = outcome.code or "ok"
            logs.activity.info("call %s %s %.0f ms %s", logs.shown(tool), said, elapsed * 1000, episode.id)
        try:
            line = record.line()
            traces.append(episode.trace, line)
            episode.tally.log_bytes += len(line)
        except OSError as exc:
            logger.exception("cannot write the trace of %s", episode.id)
            self._store.interrupt(episode, number)
            raise problems.ProblemError(
                problems.Code.EPISODE_INTERRUPTED,
                "the call could not be recorded (no room on the disk?); reset the episode",
            ) from exc
