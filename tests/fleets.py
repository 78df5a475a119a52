"""A small fleet for tests: real instances behind a directory of their own, a catalogue, and routers in threads."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import uvicorn
import uvloop

from awm_registry import directory
from awm_registry.catalogue import model, snapshots, writing
from awm_registry.router import app, authority, serving, settings
from awm_runtime.bundle import reading
from awm_runtime.server import launching

ID_KEY = b"the key of the fleets in the tests"

Wake = Callable[[str], Awaitable[None]]


class Directory:
    """A directory that a test writes: `directory.Directory`, usable from several threads.

    Attributes:
        woken: The scenarios that were asked for, one entry each time, as NAME or NAME@GENERATION.
        on_wake: What waking does; raises what it is to raise.
        sleeping: What can be woken by generation; the ids begin with the scenario's name.
    """

    def __init__(self) -> None:
        self.woken: list[str] = []
        self.on_wake: Wake = _nothing
        self.sleeping: list[directory.Dormant] = []
        self._instances: dict[directory.InstanceId, directory.Instance] = {}
        self._watchers: list[tuple[asyncio.AbstractEventLoop, asyncio.Queue[directory.Change]]] = []

    def instances(self, scenario: str) -> Sequence[directory.Instance]:
        found = [each for each in self.all() if each.scenario == scenario]
        return sorted(found, key=lambda each: -each.generation)

    def all(self) -> Sequence[directory.Instance]:
        return list(self._instances.values())

    async def watch(self) -> AsyncIterator[directory.Change]:
        heard: asyncio.Queue[directory.Change] = asyncio.Queue()
        self._watchers.append((asyncio.get_running_loop(), heard))
        for each in self.all():
            yield directory.Change(each.id, each)
        while True:
            yield await heard.get()

    def dormant(self, scenario: str) -> Sequence[directory.Dormant]:
        return [each for each in self.sleeping if each.id.startswith(scenario)]

    async def wake(self, scenario: str, generation: int | None = None) -> None:
        self.woken.append(scenario if generation is None else f"{scenario}@{generation}")
        await self.on_wake(scenario)

    def put(self, instance: directory.Instance) -> None:
        """An instance is there, or changed."""
        self._instances[instance.id] = instance
        self._tell(directory.Change(instance.id, instance))

    def remove(self, id: str) -> None:
        """An instance is gone."""
        del self._instances[directory.InstanceId(id)]
        self._tell(directory.Change(directory.InstanceId(id), None))

    def _tell(self, change: directory.Change) -> None:
        for loop, heard in self._watchers:
            with contextlib.suppress(RuntimeError):  # its router has stopped
                loop.call_soon_threadsafe(heard.put_nowait, change)


async def _nothing(_scenario: str) -> None:
    """Nobody comes."""


class Catalogues:
    """A catalogue that never changes by itself."""

    def __init__(self, snapshot: snapshots.Snapshot) -> None:
        self.current = snapshot


def catalogue(bundles: Sequence[Path], folder: Path) -> Catalogues:
    """The catalogue of bundles, written to `folder`."""
    read = [reading.read(each) for each in bundles]
    rows = [writing.entry(each) for each in read]
    for bundle, row in zip(read, rows, strict=True):
        writing.describe(bundle, row, folder)
    (folder / model.INDEX).write_text(model.Index(entries=tuple(rows)).model_dump_json())
    return Catalogues(snapshots.load(folder))


class Instances:
    """Real instances of bundles, which a directory's wake starts.

    Args:
        bundles: Their folders, by scenario.
        state: Where episodes live.
        variables: Settings of the instances, `AWM_*`.
    """

    def __init__(self, bundles: Mapping[str, Path], state: Path, variables: Mapping[str, str] | None = None) -> None:
        self.directory = Directory()
        self.directory.on_wake = self._wake
        self._bundles = bundles
        self._state = state
        self._variables = {"AWM_CONTROL_TOKEN": "the instances' own token", **(variables or {})}
        self._running: dict[str, contextlib.ExitStack] = {}
        self.launched: dict[str, launching.Launched] = {}

    def start(self, id: str, scenario: str) -> directory.Instance:
        """Starts an instance; it serves when this returns."""
        stack = contextlib.ExitStack()
        launched = stack.enter_context(
            launching.launched(self._bundles[scenario], self._state / id, settings=self._variables)
        )
        row = writing.entry(reading.read(self._bundles[scenario]))
        instance = directory.Instance(
            id=directory.InstanceId(id),
            scenario=row.name,
            generation=row.generation,
            bundle=row.bundle,
            state="ready",
            agent_url=launched.address.agent_url,
            control_url=launched.address.control_url,
            control_token=self._variables["AWM_CONTROL_TOKEN"],
        )
        self._running[id], self.launched[id] = stack, launched
        self.directory.put(instance)
        return instance

    def stop(self, id: str) -> None:
        """Ends an instance; its state stays."""
        self.directory.remove(id)
        self._running.pop(id).close()
        del self.launched[id]

    def close(self) -> None:
        """Ends all."""
        for id in list(self._running):
            self.stop(id)

    async def _wake(self, scenario: str) -> None:
        await asyncio.to_thread(self.start, f"{scenario.replace('_', '-')}-1", scenario)


@contextlib.contextmanager
def instances(bundles: Mapping[str, Path], state: Path, **variables: str) -> Iterator[Instances]:
    """Real instances for the length of a `with` block, asleep at first."""
    running = Instances(bundles, state, variables)
    try:
        yield running
    finally:
        running.close()


class Served:
    """A router that serves on one port.

    Attributes:
        url: Where.
        catalogue: What it serves from.
        http: A client of it.
    """

    def __init__(self, router: app.Router, url: str, catalogue: snapshots.Snapshot) -> None:
        self.router = router
        self.catalogue = catalogue
        self.url = url
        self.http = httpx.Client(base_url=url, timeout=60)

    def open(self, *items: Mapping[str, Any], **terms: Any) -> dict[str, Any]:
        """Opens a batch; `key` is its idempotency key."""
        key = terms.pop("key", None)
        headers = {} if key is None else {"Idempotency-Key": key}
        answer = self.http.post("/v1/episodes", json={"episodes": list(items), **terms}, headers=headers)
        assert answer.status_code == 201, answer.text
        opened: dict[str, Any] = answer.json()
        return opened

    def call(self, url: str, tool: str, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Calls a tool at a path or URL in the 2025 era; the JSON-RPC answer."""
        params = {"name": tool, "arguments": dict(arguments or {})}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        answer = self.http.post(url, json=message)
        assert answer.status_code == 200, answer.text
        said: dict[str, Any] = answer.json()
        return said


@contextlib.contextmanager
def router(
    fleet: directory.Directory,
    catalogues: Catalogues,
    *,
    tokens: authority.Authority | None = None,
    limits: settings.Settings | None = None,
    **options: Any,
) -> Iterator[Served]:
    """Serves a router in a thread of its own for the length of a `with` block."""
    limits = limits or settings.Settings()
    made = app.create(fleet, catalogues, app.Options(id_key=ID_KEY, limits=limits, **options), tokens=tokens)
    listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    with in_a_thread(lambda stop: serving.serve_until(stop, made, serving.Sockets(single=listening), limits=limits)):
        served = Served(made, url, catalogues.current)
        try:
            yield served
        finally:
            served.http.close()


@contextlib.contextmanager
def plane(asgi: Callable[..., Awaitable[None]]) -> Iterator[str]:
    """Serves one ASGI app by itself for the length of a `with` block; gives its URL."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(asgi, lifespan="off", interface="asgi3", log_config=None, loop="none", ws="none")
    )

    async def serve(stop: asyncio.Event) -> None:
        serving = asyncio.create_task(server._serve(sockets=[listening]))
        await stop.wait()
        server.should_exit = True
        await serving

    with in_a_thread(serve):
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextlib.contextmanager
def in_a_thread(main: Callable[[asyncio.Event], Awaitable[None]]) -> Iterator[None]:
    """Runs a coroutine on an event loop of its own for the length of a `with` block; `stop` is set at its end."""
    started = threading.Event()
    held: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def run() -> None:
        stop = asyncio.Event()
        held.append((asyncio.get_running_loop(), stop))
        started.set()
        await main(stop)

    thread = threading.Thread(target=lambda: uvloop.run(run()), name="router")
    thread.start()
    assert started.wait(10)
    try:
        yield
    finally:
        loop, stop = held[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        assert not thread.is_alive()
