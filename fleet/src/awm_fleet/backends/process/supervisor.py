"""The supervisor: the process backend, its API and the routers, put together. What `awm up` is."""

import asyncio
import contextlib
import dataclasses
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from awm_fleet import shelves
from awm_fleet.backends.process import api, backend, fleets, routers, states
from awm_registry.router import settings as router_settings
from awm_runtime import errors
from awm_runtime.server import configuration, logs, orphans

logger = logging.getLogger("awm.fleet")

Kind = Literal["process", "docker"]
DEFAULT_IDLE_S = 900.0
_REAP_S = 1.0
_PATIENCE_S = 30.0
_POLL_S = 0.02


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a fleet on this machine serves, and where.

    Attributes:
        bundles: Bundles, and folders of bundles.
        state: Where all is kept.
        host: The address of the routers.
        port: Their port; 0: any.
        control_port, metrics_port: The ports of these planes, see `routers.ports_of`.
        routers: How many share them.
        idle_s: A scenario that nobody uses for so long is put to sleep, in seconds.
        keys: The folder of the keys that tokens are signed with; must be given where `host` is not loopback.
        host_names: Host names that are answered beside the loopback ones.
        backend: What scenarios run as.
        base: The runtime's base image, on which containers of bundles without an image stand; by default the engine's
            own.
        images: Images that the engine may pull, by the digests of the bundles in them.
        log_format: How it and its routers log.
    """

    bundles: Sequence[Path]
    state: Path
    host: str = "127.0.0.1"
    port: int = 8080
    control_port: int | None = None
    metrics_port: int | None = None
    routers: int = 1
    idle_s: float = DEFAULT_IDLE_S
    keys: Path | None = None
    host_names: Sequence[str] = ()
    backend: Kind = "process"
    base: str | None = None
    images: Mapping[str, str] = field(default_factory=dict)
    log_format: logs.Format = "text"


@dataclass(frozen=True)
class Ready:
    """What a fleet says once it answers.

    Attributes:
        url: Where agents reach it, without a path.
        control_url: Where trainers do.
        shelf: What is served, and what is not.
        seconds: How long the start took.
    """

    url: str
    control_url: str
    shelf: shelves.Shelf
    seconds: float


def serve(options: Options, on_ready: Callable[[Ready], None], variables: Mapping[str, str] = os.environ) -> None:
    """Serves a fleet until SIGTERM, Ctrl-C or `awm down`; nothing of it is left then but the state folder.

    Args:
        options: What and where.
        on_ready: Called once, when the port answers.
        variables: The environment variables.

    Raises:
        PermanentError: The state folder or the port is in use, or cannot be used; a setting makes no sense.
        BundleError: A named folder holds no bundle.
    """
    asyncio.run(_serve(options, on_ready, variables))


async def _serve(options: Options, on_ready: Callable[[Ready], None], variables: Mapping[str, str]) -> None:
    began = time.monotonic()
    routers.require_tokens(options.host, options.keys)
    ports = routers.ports_of(options.host, options.port, control=options.control_port, metrics=options.metrics_port)
    router_settings.Settings.from_environment(variables)
    bundles = shelves.folders(options.bundles)
    stop, ready = asyncio.Event(), asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    async with contextlib.AsyncExitStack() as running:
        runs = await running.enter_async_context(_backend(options, variables))
        state = options.state.resolve()
        shelf = shelves.stock(bundles, state / states.CATALOGUE)
        if not shelf.entries:
            raise errors.BundleError(f"there is nothing to serve: {shelf.faults[0].reason}")
        fleet = fleets.LocalFleet(runs, shelf, images=options.images, idle_s=options.idle_s)
        beside = routers.Routers(
            routers.Options(
                state=state,
                host=options.host,
                ports=ports,
                count=options.routers,
                keys=options.keys.resolve() if options.keys is not None else None,
                host_names=options.host_names,
                log_format=options.log_format,
            ),
            _router_environment(variables),
        )
        running.callback(beside.close)

        async def status() -> dict[str, Any]:
            return await _status(fleet, beside, ready=ready.is_set())

        app = api.create(fleet, status=status, stop=stop.set)
        await running.enter_async_context(api.serving(app, states.socket_path(state)))
        tasks = [
            asyncio.create_task(beside.run(), name="keep the routers"),
            asyncio.create_task(_reap(lambda: runs.pids() | set(beside.pids)), name="reap strays"),
        ]
        running.push_async_callback(_cancelled, tasks)
        if await _answers(beside.url("metrics"), stop):
            ready.set()
            on_ready(Ready(beside.url("agent"), beside.url("control"), shelf, time.monotonic() - began))
        await stop.wait()


def _public(folder: Path) -> Path:
    """The keys that instances may see."""
    from awm_registry.tokens import keys  # cryptography, which a fleet without tokens does not wait for

    return folder.resolve() / keys.PUBLIC


@contextlib.asynccontextmanager
async def _backend(options: Options, variables: Mapping[str, str]) -> AsyncIterator[fleets.LocalBackend]:
    """The backend that is asked for; at the end nothing of it runs, and episodes stay."""
    public = None if options.keys is None else _public(options.keys)
    if options.backend == "process":
        processes = backend.ProcessBackend(options.state, variables, keys=public)
        try:
            yield processes
        finally:
            await processes.close()
        return
    try:
        from awm_fleet.backends.docker import local
    except ModuleNotFoundError as exc:
        raise errors.PermanentError("containers need the docker extra: install awm-fleet[docker]") from exc
    async with local.backend(options.state, options.base, keys=public) as containers:
        yield containers


async def _cancelled(tasks: "list[asyncio.Task[None]]") -> None:
    for each in tasks:
        each.cancel()
    await asyncio.wait(tasks)


async def _answers(url: str, stop: asyncio.Event) -> bool:
    """Waits until a router answers. Returns whether one does."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    deadline = time.monotonic() + _PATIENCE_S
    while not stop.is_set() and time.monotonic() < deadline:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
                writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                answer = await reader.read()
                writer.close()
            if answer.startswith(b"HTTP/1.1 200"):
                return True
        await asyncio.sleep(_POLL_S)
    if not stop.is_set():
        logger.error("no router answers on %s yet; they are started again as they end", url)
    return False


async def _status(fleet: fleets.LocalFleet, beside: routers.Routers, *, ready: bool) -> dict[str, Any]:
    """What `awm status --json` prints."""
    url = beside.url("agent")
    return {
        "url": url,
        "control_url": beside.url("control"),
        "metrics_url": f"{beside.url('metrics')}/metrics",
        "ready": ready,
        "pid": os.getpid(),
        "uptime_s": round(fleet.uptime_s, 1),
        "routers": beside.pids,
        "scenarios": [{**dataclasses.asdict(row), "mcp_url": f"{url}/s/{row.name}/mcp"} for row in await fleet.rows()],
        "problems": [{"bundle": str(each.folder), "reason": each.reason} for each in fleet.shelf.faults],
    }


async def _reap(known: Callable[[], set[int]]) -> None:
    """Waits for what killed instances leave behind, which this process adopts; not for its own children."""
    while True:
        await asyncio.sleep(_REAP_S)
        orphans.reap(known())


def _router_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """What routers see of the environment: their own settings beside what instances see."""
    own = {name: value for name, value in variables.items() if name.startswith(router_settings.PREFIX)}
    return {**configuration.scrubbed(variables), **own}
