"""The docker backend beyond the suite of all backends: what its containers may not do, and what outlives what."""

import asyncio
import json
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import bundles
import httpx
import pytest

from awm_fleet import examples
from awm_fleet.backends import protocol
from awm_fleet.backends.docker import backend as containers
from awm_fleet.backends.docker import local, plans
from awm_generator.images import references
from awm_registry import directory
from awm_runtime import errors
from awm_runtime.bundle import digest

pytestmark = pytest.mark.anyio
COUNTER = """
import sqlite3

from fastapi import FastAPI
from sqlalchemy import create_engine, text
import os

app = FastAPI()
engine = create_engine(f"sqlite:///{os.environ.get('DATABASE_PATH', 'x.db')}")


@app.post("/add", operation_id="add")
def add(name: str):
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO items (name) VALUES (:name)"), {"name": name})
    return name
"""
CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2)
    print("reached")
except OSError as exc:
    print(type(exc).__name__)
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def make(tmp_path: Path, runtime_base: str) -> AsyncIterator[Callable[[], containers.DockerBackend]]:
    """Makes backends of one fleet, one after the other; all that the fleet made is removed at the end."""
    fleet = f"t{uuid.uuid4().hex[:8]}"
    made: list[containers.DockerBackend] = []

    def make_one() -> containers.DockerBackend:
        made.append(containers.DockerBackend(tmp_path / "state", fleet=fleet, base=references.parse(runtime_base)))
        return made[-1]

    yield make_one
    for each in made:
        await each.close()
    last = make_one()
    for found in await last.run(last.engine.containers):
        await last.stop(plans.parsed(found.labels).key)
    await last.close()
    for kind in ("container", "volume", "network"):
        listed = ["docker", kind, "ls", "-q", *(["-a"] if kind == "container" else [])]
        assert await output(*listed, "--filter", f"label={plans.FLEET}={fleet}") == ""


async def output(*command: object) -> str:
    process = await asyncio.create_subprocess_exec(*map(str, command), stdout=subprocess.PIPE)
    said, _ = await process.communicate()
    return said.decode().strip()


def spec_of(folder: Path, **fields: Any) -> protocol.EnvironmentSpec:
    return protocol.EnvironmentSpec(
        scenario=folder.name, generation=1, digest=digest.digest(folder), bundle=folder, **fields
    )


async def until(backend: containers.DockerBackend, scenario: str, *states: str) -> directory.Instance:
    seen = []
    async with asyncio.timeout(60), aclosing(backend.watch()) as changes:
        async for change in changes:
            seen.append(change)
            if change.instance and change.instance.scenario == scenario and change.instance.state in states:
                return change.instance
    raise AssertionError(seen)


def control(instance: directory.Instance) -> httpx.AsyncClient:
    assert instance.control_url is not None
    headers = {"Authorization": f"Bearer {instance.control_token}"}
    return httpx.AsyncClient(base_url=instance.control_url, headers=headers, timeout=30, trust_env=False)


async def call(instance: directory.Instance, episode: str, tool: str, **arguments: str) -> httpx.Response:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}
    headers = {"Accept": "application/json, text/event-stream"}
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        return await client.post(f"{instance.agent_url}/e/{episode}/mcp", json=message, headers=headers)


async def test_a_container_may_do_what_a_scenario_needs_and_nothing_else(
    make: Callable[[], containers.DockerBackend],
) -> None:
    backend = make()
    spec = spec_of(
        examples.path("library"), settings={"AWM_EPISODES": "9", "AWM_CONTROL_TOKEN": "s3cret", "PATH": "/x"}
    )
    await backend.ensure(spec)
    instance = await until(backend, "library", "ready")
    name = plans.object_name(backend.engine.fleet, instance.id)
    [said] = json.loads(await output("docker", "inspect", name))
    host = said["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert (host["Memory"], host["MemorySwap"], host["PidsLimit"], host["NanoCpus"]) == (
        1 << 30,
        1 << 30,
        512,
        2 * 10**9,
    )
    assert host["PortBindings"] in (None, {})
    assert not host["Privileged"]
    assert list(host["Tmpfs"]) == ["/tmp"]
    assert "noexec" in host["Tmpfs"]["/tmp"]
    assert [(mount["Type"], mount["Destination"]) for mount in said["Mounts"]] == [("volume", "/state")]
    assert said["Config"]["User"] == "10001:10001"
    variables = said["Config"]["Env"]
    assert "AWM_EPISODES=9" in variables
    assert not any("s3cret" in each for each in variables)
    assert instance.control_token
    assert instance.control_token not in json.dumps(said)
    assert list(said["NetworkSettings"]["Networks"]) == [f"awm-{backend.engine.fleet}"]
    inside = "import pathlib; print(pathlib.Path('/proc/1/status').read_text())"
    status = await output("docker", "exec", name, "/opt/awm/bin/python", "-c", inside)
    assert "CapBnd:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status


async def test_no_container_reaches_another_or_the_world(make: Callable[[], containers.DockerBackend]) -> None:
    """Tried by a program of ours in the container: scenario code may not even open a socket."""
    backend = make()
    found = {}
    for name in ("library", "clinic"):
        await backend.ensure(spec_of(examples.path(name)))
        found[name] = await until(backend, name, "ready")
    other = httpx.URL(str(found["clinic"].agent_url))
    container = plans.object_name(backend.engine.fleet, found["library"].id)
    for host, port in ((other.host, other.port), ("192.0.2.1", 80), ("1.1.1.1", 53)):
        said = await output("docker", "exec", container, "/opt/awm/bin/python", "-c", CONNECT, host, port)
        assert said in ("TimeoutError", "OSError"), (host, said)
    assert (await call(found["clinic"], "ep_default", "no_such_tool")).status_code == 200  # from here it is reached


async def test_a_killed_container_loses_no_acknowledged_call(
    make: Callable[[], containers.DockerBackend], tmp_path: Path
) -> None:
    backend = make()
    await backend.ensure(spec_of(bundles.make(tmp_path / "counter", COUNTER)))
    instance = await until(backend, "counter", "ready")
    async with control(instance) as client:
        answer = await client.post("/v1/episodes", json={"episodes": [{}]})
        episode = answer.json()["episodes"][0]["id"]
        acknowledged: list[str] = []
        enough = asyncio.Event()

        async def play() -> None:
            for number in range(10_000):
                try:
                    reply = await call(instance, episode, "add", name=f"item {number}")
                except httpx.TransportError:
                    return
                if not reply.json()["result"]["isError"]:
                    acknowledged.append(f"item {number}")
                if len(acknowledged) >= 20:
                    enough.set()

        async def kill() -> None:
            async with asyncio.timeout(30):
                await enough.wait()
            async with aclosing(backend.watch()) as changes:
                await anext(changes)
                await output("docker", "kill", plans.object_name(backend.engine.fleet, instance.id))
                async with asyncio.timeout(30):
                    while (change := await anext(changes)).instance is None or change.instance.state != "ready":
                        pass

        async with asyncio.TaskGroup() as group:
            group.create_task(play())
            group.create_task(kill())
        changed = (await client.get(f"/v1/episodes/{episode}/diff")).json()
    rows = [row["name"] for row in changed["items"]["added"]]
    assert rows[: len(acknowledged)] == acknowledged
    assert len(rows) <= len(acknowledged) + 1


async def test_the_next_fleet_adopts_what_runs_without_touching_it(
    make: Callable[[], containers.DockerBackend],
) -> None:
    first = make()
    spec = spec_of(examples.path("library"))
    await first.ensure(spec)
    before = await until(first, "library", "ready")
    async with control(before) as client:
        episode = (await client.post("/v1/episodes", json={"episodes": [{}]})).json()["episodes"][0]["id"]
    started = await _started(first, before)
    await first.close()
    second = make()
    after = await until(second, "library", "ready")
    assert after == before
    await second.ensure(spec)
    async with control(after) as client:
        assert (await client.get(f"/v1/episodes/{episode}")).json()["state"] == "open"
    assert await _started(second, after) == started


async def _started(backend: containers.DockerBackend, instance: directory.Instance) -> str:
    name = plans.object_name(backend.engine.fleet, instance.id)
    return await output("docker", "inspect", "--format", "{{.State.StartedAt}} {{.Id}}", name)


async def test_what_nobody_uses_falls_asleep_and_keeps_its_episodes(
    make: Callable[[], containers.DockerBackend],
) -> None:
    backend = make()
    spec = spec_of(examples.path("library"), idle_s=1.0)
    await backend.ensure(spec)
    instance = await until(backend, "library", "ready")
    async with asyncio.timeout(30), aclosing(backend.watch()) as changes:
        while (await anext(changes)).instance is not None:
            pass
    volume = plans.object_name(backend.engine.fleet, instance.id)
    assert await output("docker", "volume", "ls", "-q", "--filter", f"name={volume}") == volume
    await backend.ensure(spec)
    assert (await until(backend, "library", "ready")).id == instance.id


async def test_episodes_that_only_waking_would_show_are_said_to_be_unknown(runtime_base: str, tmp_path: Path) -> None:
    spec = spec_of(examples.path("library"))
    async with local.backend(tmp_path / "state", runtime_base) as backend:

        async def counted() -> list[int | None]:
            return await asyncio.to_thread(backend.open_episodes, [spec])

        try:
            assert await counted() == [0]
            await backend.ensure(spec)
            instance = await until(backend, "library", "ready")
            async with control(instance) as client:
                assert (await client.post("/v1/episodes", json={"episodes": [{}, {}]})).status_code == 201
            assert await counted() == [2]
            await backend.sleep_all()
            assert await counted() == [None]
        finally:
            await backend.stop(spec.key)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"image": "awm-tests/no-such-image:1"}, "no image awm-tests/no-such-image:1|cannot be pulled"),
        ({"image": "awm-base:debian"}, "holds the bundle None"),
    ],
)
async def test_images_that_cannot_run_fail_with_the_reason(
    make: Callable[[], containers.DockerBackend], fields: dict[str, str], reason: str
) -> None:
    backend = make()
    spec = protocol.EnvironmentSpec(scenario="ghost", generation=1, digest=f"sha256:{'0' * 64}", **fields)  # type: ignore[arg-type]
    await backend.ensure(spec)
    failed = await until(backend, "ghost", "failed")
    assert any(part in (failed.reason or "") for part in reason.split("|")), failed
    await backend.stop(spec.key)


async def test_several_replicas_or_wrong_settings_are_refused(make: Callable[[], containers.DockerBackend]) -> None:
    backend = make()
    with pytest.raises(errors.PermanentError, match="one container serves a scenario"):
        await backend.ensure(spec_of(examples.path("library"), replicas=2))
    with pytest.raises(errors.PermanentError, match="AWM_EPISODES must be a positive number"):
        await backend.ensure(spec_of(examples.path("library"), settings={"AWM_EPISODES": "-1"}))


async def test_without_an_engine_there_is_no_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(errors.TransientError, match="no Docker engine answers"):
        containers.DockerBackend(tmp_path)
