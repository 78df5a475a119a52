"""The process that serves a scenario: both planes on one event loop, confined, with the scenario's code inside.

The keeper starts it as `python -m awm_runtime.server.instance CONFIG DESCRIPTORS`; a fleet on one machine forks it from
`awm_runtime.server.instance_zygote`.
"""

import asyncio
import contextlib
import ctypes
import json
import logging
import os
import shutil
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from awm_runtime import confinement, errors, families
from awm_runtime.bundle import database, model, reading
from awm_runtime.server import (
    activity,
    admission,
    agent_plane,
    asgi,
    calls,
    configuration,
    control,
    control_plane,
    deadlines,
    engines,
    episodes,
    exits,
    hosts,
    inflight,
    inline,
    judging,
    loading,
    logs,
    metrics,
    outcomes,
    processes,
    runners,
    scenarios,
    settings,
    sockets,
    storage,
)
from awm_runtime.verification import sandbox

logger = logging.getLogger("awm.instance")

_SWEEP_S = 2.0
_BEAT_S = 1.0


def main(arguments: list[str]) -> int:
    """Serves until SIGTERM; returns the exit status."""
    config = configuration.InstanceConfig.parse(arguments[0])
    descriptors = configuration.Descriptors.parse(arguments[1])
    families.die_with(os.getppid())
    return serve(config, descriptors)


def serve(config: configuration.InstanceConfig, descriptors: configuration.Descriptors) -> int:
    """Serves in this process until SIGTERM; returns the exit status."""
    for each in (sys.argv, sys.orig_argv):
        del each[1:]  # scenario code need not know where its bundle is
    logs.to_standard_error(watched=config.watched)
    try:
        limits = settings.Settings.from_environment(os.environ)
        bundle = reading.read(Path(config.bundle))
        _make_folders(config)
        _confine(config, processes=bundle.scenario.isolation == "process")
        uvloop.run(Instance(bundle, config, descriptors, limits).serve())
    except errors.AwmError as exc:
        _report(descriptors.report, {"failed": str(exc), "detail": getattr(exc, "detail", "")})
        return 1
    except (OSError, sqlite3.Error) as exc:
        logger.exception("the instance cannot start")
        reason = "its disk has no room" if outcomes.is_disk_full(exc) else f"{type(exc).__name__}: {exc}"
        _report(descriptors.report, {"failed": f"the instance cannot start: {reason}"})
        return 1
    return 0


class Instance:
    """The parts of a running instance, put together. To be made inside the confined process."""

    def __init__(
        self,
        bundle: model.Bundle,
        config: configuration.InstanceConfig,
        descriptors: configuration.Descriptors,
        limits: settings.Settings,
    ) -> None:
        self._bundle = bundle
        self._config = config
        self._descriptors = descriptors
        self._limits = limits
        self._activity = activity.Activity()
        self._in_flight = inflight.InFlightTable(config.in_flight)
        left = self._in_flight.entries()
        self._in_flight.beat(
            time.monotonic_ns() + int(limits.load_deadline_s * 1e9), inflight.Pulse(0, self._activity.used_at_ns)
        )
        self._store = episodes.EpisodeStore(config.episodes, self._world(), limits)
        self._store.recover(left, memory_lost=bundle.scenario.isolation == "process")
        self._in_flight.take_back(left)  # not before their episodes say so: this process may be killed as well
        self._meter = metrics.Metrics(lambda: self._store.open_count)
        self._code: loading.LoadedScenario | None = None
        self._failure: errors.EnvironmentCodeError | None = None

    async def serve(self) -> None:
        """Serves both planes until SIGTERM or until the scenario's code turns out not to load.

        Raises:
            EnvironmentCodeError: The code cannot be loaded, or serves other tools than the bundle says.
        """
        scenario = scenarios.LoadingScenario()
        servers = self._servers(scenario)
        stop = asyncio.Event()
        for each in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(each, stop.set)
        async with asyncio.TaskGroup() as group:
            for server, descriptor in servers:
                group.create_task(server.serve(sockets=[socket.socket(fileno=descriptor)]))
            upkeep = group.create_task(self._sweep(scenario))
            life = group.create_task(self._live(scenario, stop))
            await stop.wait()
            upkeep.cancel()
            life.cancel()
            for server, _ in servers:
                server.should_exit = True
        self._store.close_connections()
        await self._end_code()
        if self._failure is not None:
            raise self._failure

    def _world(self) -> episodes.World:
        seed = self._config.seed
        foreign_keys = self._bundle.scenario.foreign_keys
        if not seed.exists():
            unfinished = seed.with_suffix(".part")
            report = database.build(
                self._bundle.schema_sql, self._bundle.seed_sql, self._bundle.clock, unfinished, foreign_keys
            )
            if report.failures:
                first = report.failures[0]
                raise errors.BundleError(
                    f"{len(report.failures)} statements of the bundle's SQL fail; the first: {first}"
                )
            unfinished.replace(seed)
        return episodes.World(
            seed=seed,
            seed_hash=database.state_hash(seed),
            clock=self._bundle.clock,
            foreign_keys=foreign_keys == "on",
            tasks=frozenset(task.id for task in self._bundle.tasks),
        )

    def _servers(self, scenario: scenarios.LoadingScenario) -> list[tuple[uvicorn.Server, int]]:
        limits, config = self._limits, self._config
        guard = hosts.guard(config.host_names)
        judge = sandbox.Judge(socket.socket(fileno=self._descriptors.judge))
        host = calls.Calls(
            self._bundle, self._store, scenario, in_flight=self._in_flight, limits=limits, meter=self._meter
        )
        actions = control.Control(
            self._bundle,
            self._store,
            scenario,
            judging.Judging(self._bundle, self._store, judge, scratch=config.scratch, limits=limits),
            meter=self._meter,
            agent_url=config.agent_url,
            scratch=config.scratch,
        )
        admitted = admission.Admission(config, self._bundle.scenario.name)
        planes = (
            (
                agent_plane.AgentPlane(host, guard=guard, request_limit_bytes=limits.request_bytes, admitted=admitted),
                self._descriptors.agent,
            ),
            (
                control_plane.create(actions, admitted=admitted, guard=guard, request_bytes=limits.request_bytes),
                self._descriptors.control,
            ),
        )
        return [(_Server(_uvicorn(self._activity.noting(app), limits)), descriptor) for app, descriptor in planes]

    async def _live(self, scenario: scenarios.LoadingScenario, stop: asyncio.Event) -> None:
        """Loads the scenario's code beside the serving of what its bundle already tells; then beats."""
        try:
            await self._load(scenario)
        except errors.EnvironmentCodeError as exc:
            self._failure = exc
            scenario.fail(exc)
            stop.set()
            return
        _report(self._descriptors.report, {"ready": True})
        await self._beat()

    async def _load(self, scenario: scenarios.LoadingScenario) -> None:
        watcher = deadlines.Deadlines()
        exits.install(asyncio.get_running_loop())
        engines.install()
        inline.install()
        code = await asyncio.to_thread(
            loading.load,
            self._bundle.environment,
            scratch_database=self._scratch_database(),
            clock=self._bundle.clock,
            foreign_keys=self._bundle.scenario.foreign_keys == "on",
        )
        if code.toolset.served != list(self._bundle.tools):
            raise errors.EnvironmentCodeError(
                "the code serves other tools than the bundle's tools.json; import or build it again"
            )
        self._code = code
        _give_back_memory()
        scenario.succeed(scenarios.Loaded(code.toolset, self._runner(asgi.StartedApp(code.app, code.state), watcher)))
        logger.info("%s is ready: %d tools", self._bundle.scenario.name, len(code.toolset.served))

    async def _beat(self) -> None:
        """Shows the keeper that the event loop turns: a task that outlived its call may hold it for ever."""
        patience_s = self._limits.call_deadline_s + self._limits.call_grace_s + 2 * _BEAT_S
        try:
            while True:
                pulse = inflight.Pulse(self._store.in_use_count, self._activity.used_at_ns)
                self._in_flight.beat(time.monotonic_ns() + int(patience_s * 1e9), pulse)
                await asyncio.sleep(_BEAT_S)
        finally:
            self._in_flight.rest()

    async def _end_code(self) -> None:
        if self._code is None:
            return
        try:
            await asyncio.to_thread(self._code.shutdown)
        except errors.EnvironmentCodeError:
            logger.exception("the scenario's code failed as it was shut down")

    def _scratch_database(self) -> Path:
        return Path(shutil.copyfile(self._config.seed, self._config.scratch / "startup.db"))

    def _runner(self, app: asgi.StartedApp, watcher: deadlines.Deadlines) -> runners.Runner:
        if self._bundle.scenario.isolation == "shared":
            return runners.InlineRunner(app, watcher)
        # Within the grace: at its end the keeper kills the whole instance.
        wait_s = self._limits.call_deadline_s + self._limits.call_grace_s / 2
        return processes.ForkingRunner(
            app,
            confine=_confine_child,
            connect=partial(
                storage.EpisodeConnections,
                foreign_keys=self._store.world.foreign_keys,
                max_bytes=self._limits.episode_bytes,
            ),
            wait_s=wait_s,
        )

    async def _sweep(self, scenario: scenarios.LoadingScenario) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            self._store.sweep()
            if scenario.is_loaded:
                await (await scenario.get()).runner.tidy()


class _Server(uvicorn.Server):
    """Uvicorn without signal handlers: the instance has two servers and one pair of handlers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _uvicorn(app: Callable[..., Awaitable[Any]], limits: settings.Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="none",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=sockets.IDLE_S,
        timeout_graceful_shutdown=round(limits.shutdown_s),
    )


def _make_folders(config: configuration.InstanceConfig) -> None:
    config.episodes.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(config.scratch, ignore_errors=True)
    config.scratch.mkdir()


def _confine(config: configuration.InstanceConfig, *, processes: bool) -> None:
    """From here on the process, and the scenario's code in it, can write its own state and nothing else.

    Nor can it read its bundle, which was read before: that holds the tasks and how they are judged.
    """
    enforcement = confinement.confine(
        confinement.Policy(
            read=(*confinement.runtime_read_paths(), *config.read_later),
            write=(config.state_folder,),
            processes=processes,
        )
    )
    if not enforcement.complete:
        logger.warning(
            "this system cannot confine scenario code (%s): serve code that you trust, or use containers", enforcement
        )


def _confine_child(folder: Path) -> None:
    confinement.confine(confinement.Policy(read=confinement.runtime_read_paths(), write=(folder,), processes=False))


def _give_back_memory() -> None:
    """Loading takes megabytes for a moment: parse trees, schemas. The C library keeps them if it is not asked."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if trim is not None:
        trim(0)


def _report(descriptor: int, document: dict[str, object]) -> None:
    """Tells the keeper how the start went, once."""
    with open(descriptor, "w", closefd=False) as pipe:
        pipe.write(json.dumps(document) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
