"""One environment: woken, kept running, brought back, put to sleep. One task while it is awake, nothing else."""

import asyncio
import contextlib
import errno
import logging
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from awm_fleet.backends import feeds, protocol
from awm_fleet.backends.process import spawning, wakings
from awm_runtime import errors
from awm_runtime.server import lives, settings

logger = logging.getLogger("awm.fleet")

_TICK_S = 0.25
_MOST_FAILURES = 3
"""This many starts in a row may fail; then the circuit breaker opens."""
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_LAST_WORDS = 20
_SECOND_LOOK_S = 1.5
"""An instance that seems idle is looked at again after this: longer than two of its beats are apart."""
_NO_ROOM = {
    errno.EMFILE: "this process has no file descriptors left: allow more with `ulimit -n`, or let scenarios sleep",
    errno.ENFILE: "this system has no file descriptors left",
    errno.ENOSPC: "the disk of the state folder is full",
    errno.EFBIG: "the system lets this process write no more",
    errno.EDQUOT: "the quota on the disk of the state folder is used up",
    errno.ENOMEM: "this system has no memory left",
    errno.EAGAIN: "this system allows no further process",
}


class Environment:
    """Keeps one environment as it is wanted.

    Args:
        key: Which.
        home: Its folder.
        spawner: What starts its processes.
        feed: Where its instance is told.
        variables: The settings that hold for all environments.
        keys: The public keys of the tokens that routers sign; None: no tokens are asked for.
    """

    def __init__(
        self,
        key: protocol.Key,
        home: Path,
        *,
        spawner: spawning.Spawner,
        feed: feeds.Feed,
        variables: dict[str, str],
        keys: Path | None = None,
    ) -> None:
        self._key = key
        self._home = home
        self._spawner = spawner
        self._feed = feed
        self._variables = variables
        self._keys = keys
        self._spec: protocol.EnvironmentSpec | None = None
        self._wanted = False
        self._dozing = False
        self._waking: wakings.Waking | None = None
        self._life: wakings.JudgedLife | None = None
        self._task: asyncio.Task[None] | None = None
        self._nudge = asyncio.Event()
        self._trips = 0
        self._closed_until = 0.0

    @property
    def open_episodes(self) -> int:
        """How many episodes the awake instance says are open."""
        return self._waking.pulse().open_episodes if self._waking is not None else 0

    @property
    def pids(self) -> set[int]:
        """Its instance and its judge."""
        life = self._life.life if self._life is not None else None
        return {each.pid for each in (life.instance, life.judge) if each is not None} if life is not None else set()

    def want(self, spec: protocol.EnvironmentSpec) -> None:
        """Takes in what is wanted from now on.

        Raises:
            TransientError: There is no room.
            PermanentError: A setting makes no sense, or no bundle is named.
        """
        if spec.replicas == 0:
            self._wanted = self._dozing = False
            self._spec = self._spec or spec
            self._nudge.set()
            if self._task is None:
                self._forget_failure()
            return
        limits = self._limits(spec)
        if self._breaker_is_open(spec):
            return
        self._spec = spec
        self._wanted, self._dozing = True, False
        self._nudge.set()
        if self._task is None:
            self._wake(spec, limits)

    async def sleep(self) -> None:
        """Ends the instance in order; returns when nothing runs. Its episodes stay."""
        self._wanted = self._dozing = False
        self._nudge.set()
        if self._task is not None:
            await asyncio.wait([self._task])
        self._forget_failure()

    async def forget(self) -> None:
        """The same, and its episodes go too."""
        await self.sleep()
        await asyncio.to_thread(shutil.rmtree, self._home, ignore_errors=True)

    def _wake(self, spec: protocol.EnvironmentSpec, limits: settings.Settings) -> None:
        try:
            self._waking = wakings.Waking(spec, self._home, limits, keys=self._keys)
        except OSError as exc:
            self._wanted = False
            raise errors.TransientError(f"{spec.scenario} cannot be woken: {_reason(exc)}", retry_after_s=5.0) from exc
        self._feed.publish(self._waking.instance("starting"))
        self._task = asyncio.create_task(self._be_awake(self._waking), name=f"environment {spec.scenario}")

    async def _be_awake(self, waking: wakings.Waking) -> None:
        """From one sleep to the next."""
        try:
            while True:
                await self._keep(waking)
                if not self._wanted or self._spec is None:
                    break
                self._feed.remove(waking.id)  # replaced
                waking.close()
                waking = self._waking = wakings.Waking(
                    self._spec, self._home, self._limits(self._spec), keys=self._keys
                )
                self._feed.publish(waking.instance("starting"))
            self._feed.remove(waking.id)
        except (lives.StartFailed, OSError) as exc:
            self._fail(waking, exc)
        except Exception:
            logger.exception("%s: the task that keeps it failed", self._key.scenario)
            self._feed.publish(waking.instance("failed", reason="the supervisor failed to keep it; its log says why"))
        finally:
            waking.close()
            self._waking = self._task = None

    async def _keep(self, waking: wakings.Waking) -> None:
        """One life after the other, until it is to sleep or to be replaced.

        Raises:
            StartFailed: It does not start.
            OSError: There is no room for a process.
        """
        backoff, failures, was_ready = lives.Backoff(), 0, False
        while self._is_wanted(waking):
            try:
                ready = await self._live(waking)
            except (lives.StartFailed, OSError) as exc:
                failures += 1
                ready = False
                may_pass = was_ready or not isinstance(exc, lives.StartFailed) or isinstance(exc, lives.Crashed)
                if failures >= _MOST_FAILURES or not may_pass:
                    raise
                logger.error("%s did not start: %s", self._key.scenario, exc)
            else:
                failures = 0
                was_ready = True
            if not self._is_wanted(waking):
                self._wanted = self._wanted or (self._dozing and waking.has_callers())
                self._dozing = False
                continue
            backoff.note(came_back=ready)
            self._feed.publish(waking.instance("starting", reason="it ended and is started again with its episodes"))
            logger.warning("%s ended; it comes back in %.2f s", self._key.scenario, backoff.next_s)
            await self._nudged(backoff.next_s)

    async def _live(self, waking: wakings.Waking) -> bool:
        """One life. Returns whether it became ready.

        Raises:
            StartFailed: It does not start.
            OSError: There is no room for a process.
        """
        began = time.monotonic()
        self._life = await waking.start(self._spawner)
        try:
            await self._watch(waking, self._life.life, began)
            if self._life.life.ready and not self._is_wanted(waking):
                self._feed.publish(waking.instance("draining", reason="it is put to sleep"))
            return self._life.life.ready
        finally:
            await self._life.end()
            self._life = None

    async def _watch(self, waking: wakings.Waking, life: lives.Life, began: float) -> None:
        """Returns when the instance ended, or is to end."""
        announced = False
        ready_at = 0.0
        while life.look() and self._is_wanted(waking):
            if life.ready and not announced:
                announced, ready_at = True, time.monotonic()
                self._trips = 0
                self._feed.publish(waking.instance("ready"))
                logger.info("%s is ready after %.2f s", self._key.scenario, ready_at - began)
            if announced and self._is_idle(waking, ready_at) and await self._stays_idle(waking, life, ready_at):
                self._wanted, self._dozing = False, True
                return
            with self._nudged_by(life.report):
                await self._nudged(_TICK_S)

    def _is_idle(self, waking: wakings.Waking, ready_at: float) -> bool:
        idle_s = waking.spec.idle_s
        pulse = waking.pulse()
        used_at = max(pulse.used_at_ns / 1e9, ready_at)
        return idle_s is not None and pulse.open_episodes == 0 and time.monotonic() - used_at > idle_s

    async def _stays_idle(self, waking: wakings.Waking, life: lives.Life, ready_at: float) -> bool:
        """Tells everybody, and looks again when what was on its way has arrived."""
        self._feed.publish(waking.instance("draining", reason="nobody uses it"))
        self._nudge.clear()
        deadline = time.monotonic() + _SECOND_LOOK_S
        while self._is_idle(waking, ready_at) and life.look():
            if time.monotonic() > deadline:
                logger.info("%s sleeps: nobody uses it", self._key.scenario)
                return True
            if await self._nudged(_TICK_S):  # it is wanted again
                break
        self._feed.publish(waking.instance("ready"))
        return False

    def _fail(self, waking: wakings.Waking, exc: lives.StartFailed | OSError) -> None:
        """Opens the circuit breaker: for a while nothing is started, and who asks is told why."""
        reason = _reason(exc) if isinstance(exc, OSError) else str(exc)
        pause_s = min(_FIRST_PAUSE_S * 2**self._trips, _LONGEST_PAUSE_S)
        self._trips += 1
        self._closed_until = time.monotonic() + pause_s
        diagnostics = {"log": waking.last_words(_LAST_WORDS), "tried_again_after_s": pause_s}
        if detail := getattr(exc, "detail", ""):
            diagnostics["detail"] = detail.splitlines()[-_LAST_WORDS:]
        logger.error("%s does not start: %s", self._key.scenario, reason)
        self._feed.publish(waking.instance("failed", reason=reason, diagnostics=diagnostics))

    def _breaker_is_open(self, spec: protocol.EnvironmentSpec) -> bool:
        return self._task is None and spec == self._spec and time.monotonic() < self._closed_until

    def _is_wanted(self, waking: wakings.Waking) -> bool:
        return self._wanted and self._spec == waking.spec

    def _forget_failure(self) -> None:
        """What failed and is not wanted any more is asleep like any other."""
        self._closed_until = 0.0
        for each in self._feed.all():
            if (each.team, each.scenario, each.generation) == self._key:
                self._feed.remove(each.id)

    def _limits(self, spec: protocol.EnvironmentSpec) -> settings.Settings:
        if spec.bundle is None:
            raise errors.PermanentError(f"{spec.scenario}: processes are started from a bundle's folder; none is named")
        if spec.replicas != 1:
            raise errors.PermanentError(f"{spec.scenario}: one process serves a scenario here, not {spec.replicas}")
        return settings.Settings.from_environment({**self._variables, **spec.settings})

    async def _nudged(self, seconds: float) -> bool:
        """Waits so long, but not through a change of what is wanted. Returns whether there was one."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._nudge.wait()
        nudged = self._nudge.is_set()
        self._nudge.clear()
        return nudged

    @contextlib.contextmanager
    def _nudged_by(self, descriptor: int) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        loop.add_reader(descriptor, self._nudge.set)
        try:
            yield
        finally:
            loop.remove_reader(descriptor)


def _reason(exc: OSError) -> str:
    return _NO_ROOM.get(exc.errno or 0) or exc.strerror or str(exc)
