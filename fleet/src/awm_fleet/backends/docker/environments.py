"""One environment as a container: made, watched, brought back, put to sleep. One task while it is awake."""

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import httpx

from awm_fleet.backends import feeds, identities, protocol
from awm_fleet.backends.docker import engine, plans
from awm_registry import directory
from awm_runtime import errors
from awm_runtime.server import lives, settings

logger = logging.getLogger("awm.fleet")

_LOOK_S = 5.0
"""A container is looked at so often beside the engine's events, which may be lost with the engine."""
_ENGINE_AGAIN_S = 1.0
_MOST_TROUBLES = 30
"""As often an engine that answers may fail at one that has served, a second apart: it may be ending, or starting."""
_READY_POLL_S = 0.05
_START_S = 90.0
_MOST_FAILURES = 3
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_LAST_WORDS = 20
_SECOND_LOOK_S = 1.5
_MARGIN_S = 5.0

T = TypeVar("T")


class Host(Protocol):
    """What an environment needs of its backend."""

    engine: engine.Engine
    feed: feeds.Feed
    http: httpx.AsyncClient

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Runs a blocking call on a thread of the backend's."""
        ...

    async def planned(self, spec: protocol.EnvironmentSpec) -> plans.Plan:
        """The container that a spec asks for."""
        ...


class Environment:
    """Keeps one environment as it is wanted.

    Args:
        key: Which.
        host: Its backend.
    """

    def __init__(self, key: protocol.Key, host: Host) -> None:
        self._key = key
        self._host = host
        self._spec: protocol.EnvironmentSpec | None = None
        self._wanted = False
        self._task: asyncio.Task[None] | None = None
        self._nudge = asyncio.Event()
        self._trips = 0
        self._closed_until = 0.0
        self._names: set[str] = set()
        self._served = False
        self._troubles = 0

    def want(self, spec: protocol.EnvironmentSpec) -> None:
        """Takes in what is wanted from now on.

        Raises:
            PermanentError: A setting makes no sense, or several replicas are wanted.
        """
        if spec.replicas == 0:
            self._wanted = False
            self._nudge.set()
            if self._task is None:
                self._forget_failure()
            return
        if spec.replicas != 1:
            raise errors.PermanentError(f"{spec.scenario}: one container serves a scenario here, not {spec.replicas}")
        settings.Settings.from_environment(spec.settings)
        if self._task is None and spec == self._spec and time.monotonic() < self._closed_until:
            return
        self._spec, self._wanted = spec, True
        self._nudge.set()
        if self._task is None:
            self._task = asyncio.create_task(self._be_awake(), name=f"environment {spec.scenario}")

    def nudge(self) -> None:
        """Has it look at its container now."""
        self._nudge.set()

    async def let_go(self) -> None:
        """Stops watching; the container runs on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def sleep(self) -> None:
        """Ends the container in order; returns when it is gone. Its episodes stay."""
        self._wanted = False
        self._nudge.set()
        if self._task is not None:
            await asyncio.wait([self._task])
        self._forget_failure()

    async def forget(self, left_behind: Awaitable[list[str]]) -> None:
        """Ends it, and removes all that is left of it.

        Args:
            left_behind: Names of containers or volumes of this environment, of earlier bundles too.
        """
        await self.sleep()
        for name in {*self._names, *(await left_behind)}:
            await self._host.run(self._host.engine.end, name, 0.0)
            await self._host.run(self._host.engine.forget, name)

    async def _be_awake(self) -> None:
        """From one sleep to the next."""
        plan: plans.Plan | None = None
        self._served, self._troubles = False, 0
        try:
            while self._wanted and self._spec is not None:
                try:
                    plan = await self._replaced(plan, await self._host.planned(self._spec))
                    await self._serve(plan)
                except errors.TransientError as exc:
                    await self._wait_for_engine(self._spec, exc)
            if plan is not None:
                await self._end(plan)
        except engine.Away as exc:
            logger.warning("%s is left as it is: %s", self._key.scenario, exc)
            self._forget_instances()
        except errors.AwmError as exc:
            await self._give_up(plan, exc)
        except Exception:
            logger.exception("%s: the task that keeps it failed", self._key.scenario)
            await self._give_up(plan, errors.TransientError("the fleet failed to keep it; its log says why"))
        finally:
            self._task = None

    async def _wait_for_engine(self, spec: protocol.EnvironmentSpec, exc: errors.TransientError) -> None:
        """Tells who asks that it is neither the scenario's fault nor the end of its episodes; returns after a while.

        An engine that is ending fails at this and that before it is away.

        Raises:
            TransientError: The engine is there, and fails each time, or failed the first time already.
        """
        if not isinstance(exc, engine.Away):
            self._troubles += 1
            if not self._served or self._troubles > _MOST_TROUBLES:
                raise exc
        if self._wanted:
            waiting = _instance(spec, state="starting", reason=str(exc))
            if self._host.feed.get(waiting.id) != waiting:
                logger.warning("%s waits for the engine: %s", self._key.scenario, exc)
            self._host.feed.publish(waiting)
            await self._nudged(_ENGINE_AGAIN_S)

    async def _replaced(self, old: plans.Plan | None, fresh: plans.Plan) -> plans.Plan:
        """Ends the container of the old plan where the fresh one needs another."""
        if old is not None and old.revision != fresh.revision:
            await self._end(old)
        self._names.add(fresh.name)
        return fresh

    async def _serve(self, plan: plans.Plan) -> None:
        """One container, until something else is wanted.

        Raises:
            AwmError: It cannot be made, or does not start.
        """
        found = await self._container(plan)
        instance = _instance(
            plan.spec,
            state="starting",
            agent_url=f"http://{found.address}:{plans.AGENT_PORT}",
            control_url=f"http://{found.address}:{plans.CONTROL_PORT}",
            control_token=plan.token if plan.keys is None else None,
        )
        if not found.running:
            self._host.feed.publish(instance)
        await self._keep(plan, instance)

    async def _end(self, plan: plans.Plan) -> None:
        """Ends a container in order, and says so."""
        present = self._host.feed.get(plan.id)
        if present is not None and present.state == "ready":
            self._host.feed.publish(dataclasses.replace(present, state="draining", reason="it is put to sleep"))
        patience = settings.Settings.from_environment(plan.spec.settings).shutdown_s + _MARGIN_S
        await self._host.run(self._host.engine.end, plan.name, patience)
        self._host.feed.remove(plan.id)

    async def _give_up(self, plan: plans.Plan | None, exc: errors.AwmError) -> None:
        self._fail(exc)
        if plan is not None:
            with contextlib.suppress(errors.AwmError):
                await self._host.run(self._host.engine.end, plan.name, 0.0)

    async def _container(self, plan: plans.Plan) -> engine.Found:
        """The container of a plan: the one that is there, where it is as it should be, or a fresh one."""
        found = await self._host.run(self._host.engine.container, plan.name)
        if found is not None and found.labels.get(plans.REVISION) == plan.revision and found.address is not None:
            return found
        if found is not None:
            await self._host.run(self._host.engine.end, plan.name, _MARGIN_S)
        return await self._host.run(self._host.engine.create, plan)

    async def _keep(self, plan: plans.Plan, instance: directory.Instance) -> None:
        """One life of the container after the other, while it is wanted as it is."""
        backoff, failures, was_ready = lives.Backoff(), 0, False
        while self._is_wanted(plan):
            await self._host.run(self._host.engine.start, plan.name)
            ready = await self._until_ready(plan, instance)
            if ready:
                self._trips, failures, was_ready = 0, 0, True
                self._served, self._troubles = True, 0
                self._host.feed.publish(dataclasses.replace(instance, state="ready"))
                await self._until_ended(plan, instance)
            elif self._is_wanted(plan):
                failures += 1
                if failures >= _MOST_FAILURES or not was_ready:
                    raise await self._failure(plan)
            if not self._is_wanted(plan):
                return
            backoff.note(came_back=ready)
            self._host.feed.publish(instance)
            logger.warning("%s ended; it comes back in %.2f s", self._key.scenario, backoff.next_s)
            await self._nudged(backoff.next_s)

    async def _until_ready(self, plan: plans.Plan, instance: directory.Instance) -> bool:
        """Whether it became ready, before it ended or was wanted no more.

        Raises:
            StartFailed: It neither became ready nor ended in time.
        """
        deadline = time.monotonic() + _START_S
        look_at = 0.0
        while self._is_wanted(plan):
            if await self._is_ready(instance):
                return True
            now = time.monotonic()
            if now >= look_at:
                found = await self._host.run(self._host.engine.container, plan.name)
                if found is None or not found.running:
                    return False
                look_at = now + 4 * _READY_POLL_S
            if now > deadline:
                raise lives.StartFailed(f"it did not become ready within {_START_S:g} s")
            await asyncio.sleep(_READY_POLL_S)
        return False

    async def _is_ready(self, instance: directory.Instance) -> bool:
        try:
            answer = await self._host.http.get(f"{instance.control_url}/readyz")
        except httpx.TransportError:
            return False
        return answer.status_code == httpx.codes.OK

    async def _until_ended(self, plan: plans.Plan, instance: directory.Instance) -> None:
        """Returns when the container ended, or is wanted no more, or nobody uses it."""
        use = _Use()
        while self._is_wanted(plan):
            if await self._has_ended(plan, instance):
                return
            if plan.spec.idle_s is not None and await self._is_idle(instance, use, plan.spec.idle_s):
                self._wanted = False
                return
            await self._nudged(_LOOK_S if plan.spec.idle_s is None else min(_LOOK_S, plan.spec.idle_s / 2))

    async def _has_ended(self, plan: plans.Plan, instance: directory.Instance) -> bool:
        """Whether the container runs no more. While no engine can say, one that answers is used on.

        Raises:
            Away: No engine answers, and neither does the container.
        """
        try:
            found = await self._host.run(self._host.engine.container, plan.name)
        except engine.Away:
            if await self._is_ready(instance):
                return False
            raise
        return found is None or not found.running

    async def _is_idle(self, instance: directory.Instance, use: "_Use", idle_s: float) -> bool:
        """Whether nobody has used it for so long; tells everybody, and looks again when that has arrived."""
        use.note(await self._metrics(instance))
        if not use.idle_for(idle_s):
            return False
        self._host.feed.publish(dataclasses.replace(instance, state="draining", reason="nobody uses it"))
        await asyncio.sleep(_SECOND_LOOK_S)
        use.note(await self._metrics(instance))
        if use.idle_for(idle_s):
            return True
        self._host.feed.publish(dataclasses.replace(instance, state="ready"))
        return False

    async def _metrics(self, instance: directory.Instance) -> str:
        with contextlib.suppress(httpx.TransportError):
            return (await self._host.http.get(f"{instance.control_url}/metrics")).text
        return ""

    async def _failure(self, plan: plans.Plan) -> lives.StartFailed:
        """Why a container ended before it was ready, in its own words."""
        log = await self._host.run(self._host.engine.logs, plan.name, _LAST_WORDS)
        said = log[log.rfind("error: ") :].removeprefix("error: ").splitlines() if "error: " in log else []
        reason = said[0] if said else "the container ended before it was ready, without a word"
        return lives.StartFailed(reason, detail=log)

    def _fail(self, exc: errors.AwmError) -> None:
        """Opens the circuit breaker: for a while nothing is started, and who asks is told why."""
        spec = self._spec
        assert spec is not None
        self._wanted = False
        pause_s = min(_FIRST_PAUSE_S * 2**self._trips, _LONGEST_PAUSE_S)
        self._trips += 1
        self._closed_until = time.monotonic() + pause_s
        self._forget_instances()
        log = str(getattr(exc, "detail", "") or exc).splitlines()[-_LAST_WORDS:]
        logger.error("%s does not start: %s", self._key.scenario, exc)
        diagnostics = {"log": log, "tried_again_after_s": pause_s}
        self._host.feed.publish(_instance(spec, state="failed", reason=str(exc), diagnostics=diagnostics))

    def _forget_failure(self) -> None:
        self._closed_until = 0.0
        self._forget_instances()

    def _forget_instances(self) -> None:
        for each in self._host.feed.all():
            if (each.team, each.scenario, each.generation) == self._key:
                self._host.feed.remove(each.id)

    def _is_wanted(self, plan: plans.Plan) -> bool:
        return self._wanted and self._spec == plan.spec

    async def _nudged(self, seconds: float) -> None:
        """Waits so long, but not through a change."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._nudge.wait()
        self._nudge.clear()


def _instance(spec: protocol.EnvironmentSpec, *, state: directory.State, **fields: Any) -> directory.Instance:
    """An environment's instance as everybody is told of it."""
    return directory.Instance(
        id=identities.instance_id(spec),
        team=spec.team,
        scenario=spec.scenario,
        generation=spec.generation,
        bundle=spec.digest,
        state=state,
        **fields,
    )


class _Use:
    """When an instance was used last, as far as its counters tell."""

    def __init__(self) -> None:
        self._seen = ""
        self._open = True
        self._since = time.monotonic()

    def note(self, metrics: str) -> None:
        """Takes in what an instance counts; nothing at all is no sign of use."""
        counters = "\n".join(line for line in metrics.splitlines() if line.startswith(("awm_calls", "awm_episodes")))
        self._open = any(
            line.startswith("awm_episodes_open ") and float(line.split()[1]) > 0 for line in counters.splitlines()
        )
        if counters != self._seen:
            self._seen, self._since = counters, time.monotonic()

    def idle_for(self, seconds: float) -> bool:
        """Whether no episode is open and nothing was asked for so long."""
        return not self._open and time.monotonic() - self._since > seconds
