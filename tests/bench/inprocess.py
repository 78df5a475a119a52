"""A call without HTTP, in a process of its own: `python -m bench.inprocess PART BUNDLE TOOL STATE SECONDS`.

- floor: the app as it is, as a generated server would run it: its own engine on a plain copy of the seed, the wall
  clock, FastAPI's thread pool for plain `def` handlers. What no environment server can be faster than by much.
- call: our way through an episode: lock, in-flight mark, argument check, frozen clock, deadline, trace.
- plane: the same and the agent plane around it, MCP message in and out.

Prints one line of JSON.
"""

import asyncio
import json
import os
import shutil
import sys
import time
import types
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop

from awm_runtime.bundle import database, model, reading
from awm_runtime.contract import episodes as contract
from awm_runtime.server import (
    agent_plane,
    asgi,
    calls,
    deadlines,
    engines,
    episodes,
    hosts,
    inflight,
    inline,
    loading,
    metrics,
    requests,
    runners,
    scenarios,
    settings,
    tools,
)
from bench import report, serving

_WARM_UP_CALLS = 100

Call = Callable[[], Awaitable[None]]


async def floor(bundle: model.Bundle, tool: str, state: Path, seconds: float) -> dict[str, float]:
    """The bare app call."""
    plain = shutil.copyfile(state / "seed.db", state / "plain.db")
    os.environ["DATABASE_PATH"] = f"sqlite:///{plain}"
    module = types.ModuleType("environment")
    sys.modules[module.__name__] = module
    exec(compile(bundle.environment, "environment.py", "exec", dont_inherit=True), vars(module))
    app = module.app
    started = asgi.StartedApp(app, {})
    wanted = tools.request_for(tools.from_app(app).tools[tool], {})

    async def call() -> None:
        reply = await asgi.request(started, wanted)
        assert reply.status == 200, reply

    async with app.router.lifespan_context(app):
        return await _timed(call, seconds)


async def in_episode(bundle: model.Bundle, tool: str, state: Path, seconds: float) -> dict[str, float]:
    """A call through its episode."""
    async with _host(bundle, state) as (host, episode):

        async def call() -> None:
            reply = await host.call(episode, tool, {})
            assert not reply.is_error, reply

        return await _timed(call, seconds)


async def through_plane(bundle: model.Bundle, tool: str, state: Path, seconds: float) -> dict[str, float]:
    """A call through the agent plane, as uvicorn would hand it over."""
    async with _host(bundle, state) as (host, episode):
        plane = agent_plane.AgentPlane(host, guard=hosts.guard(), request_limit_bytes=settings.MIB)
        headers = [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"accept", b"application/json")]
        body = json.dumps(serving.call_message(tool, {})).encode()
        path = f"/e/{episode}/mcp"
        wanted = requests.AppRequest("POST", path, path.encode(), b"", headers, body)
        started = asgi.StartedApp(plane, {})

        async def call() -> None:
            reply = await asgi.request(started, wanted)
            assert b'"isError":false' in reply.body, reply

        return await _timed(call, seconds)


PARTS = {"floor": floor, "call": in_episode, "plane": through_plane}


@asynccontextmanager
async def _host(bundle: model.Bundle, state: Path) -> AsyncIterator[tuple[calls.Calls, str]]:
    """The tool host of an instance with one episode, put together as `instance` does it."""
    engines.install()
    inline.install()
    foreign_keys = bundle.scenario.foreign_keys == "on"
    scratch = shutil.copyfile(state / "seed.db", state / "startup.db")
    code = await asyncio.to_thread(
        loading.load, bundle.environment, scratch_database=scratch, clock=bundle.clock, foreign_keys=foreign_keys
    )
    limits = settings.Settings(calls_per_episode=10**9)
    world = episodes.World(
        seed=state / "seed.db", seed_hash="", clock=bundle.clock, foreign_keys=foreign_keys, tasks=frozenset()
    )
    store = episodes.EpisodeStore(state / "episodes", world, limits)
    scenario = scenarios.LoadingScenario()
    runner = runners.InlineRunner(asgi.StartedApp(code.app, code.state), deadlines.Deadlines())
    scenario.succeed(scenarios.Loaded(code.toolset, runner))
    table = inflight.InFlightTable(state / "inflight")
    host = calls.Calls(bundle, store, scenario, in_flight=table, limits=limits, meter=metrics.Metrics(lambda: 1))
    try:
        yield host, store.open(contract.EpisodeSpec(), ttl_s=3600, retain_s=0).id
    finally:
        store.close_connections()
        table.close()
        await asyncio.to_thread(code.shutdown)


async def _timed(call: Call, seconds: float) -> dict[str, float]:
    """The figures of calls that are made one after the other for some seconds."""
    for _ in range(_WARM_UP_CALLS):
        await call()
    taken: list[float] = []
    used = time.process_time()
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        await call()
        taken.append(time.perf_counter() - began)
    cpu_ms = 1e3 * (time.process_time() - used) / len(taken)
    return {**report.percentiles(taken), "calls_per_s": len(taken) / sum(taken), "cpu_ms": cpu_ms}


def main(part: str, bundle_folder: str, tool: str, state_folder: str, seconds: str) -> None:
    """Measures one part, with its databases in an empty folder."""
    bundle = reading.read(Path(bundle_folder))
    state = Path(state_folder)
    database.build(bundle.schema_sql, bundle.seed_sql, bundle.clock, state / "seed.db", bundle.scenario.foreign_keys)
    print(json.dumps(uvloop.run(PARTS[part](bundle, tool, state, float(seconds)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
