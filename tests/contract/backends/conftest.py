"""The backends that the suite runs on, each as a fixture that makes a `harness.Harness`."""

import asyncio
import dataclasses
import os
import signal
import subprocess
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import bundles
import httpx
import psutil
import pytest

from awm_fleet.backends import fake, protocol
from awm_fleet.backends.docker import backend as containers
from awm_fleet.backends.docker import plans
from awm_fleet.backends.process import backend as processes
from awm_generator.images import references
from awm_registry import directory
from awm_runtime.bundle import digest

PLAIN = """
from fastapi import FastAPI

app = FastAPI()


@app.get("/greeting", operation_id="greet")
def greet():
    print("somebody is greeted")
    return "hello"
"""
LISTED = ({"name": "greet", "inputSchema": {"type": "object"}},)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class FakeHarness:
    """`FakeBackend` needs no bundles."""

    def __init__(self) -> None:
        self._fake = fake.FakeBackend()
        self.backend: protocol.Backend = self._fake

    def spec(self, scenario: str = "plain", *, generation: int = 1) -> protocol.EnvironmentSpec:
        return protocol.EnvironmentSpec(scenario=scenario, generation=generation, digest=f"sha256:{'0' * 64}")

    def broken_spec(self) -> protocol.EnvironmentSpec:
        self._fake.break_starts("broken", "the code cannot be loaded: no_such_module")
        return self.spec("broken")

    def crashing_spec(self) -> protocol.EnvironmentSpec:
        self._fake.break_starts("crashing", "it ended before it was ready")
        return self.spec("crashing")

    def changed(self, spec: protocol.EnvironmentSpec) -> protocol.EnvironmentSpec:
        return dataclasses.replace(spec, settings={"AWM_EPISODES": "7"})

    def regenerated(self, spec: protocol.EnvironmentSpec) -> protocol.EnvironmentSpec:
        return dataclasses.replace(spec, digest=f"sha256:{'1' * 64}")

    async def crash(self, instance: directory.Instance) -> None:
        self._fake.crash(protocol.Key(instance.team, instance.scenario, instance.generation))

    async def open_episode(self, instance: directory.Instance) -> str:
        return self._fake.open_episode(instance.id)

    async def has_episode(self, instance: directory.Instance, episode: str) -> bool:
        return self._fake.has_episode(instance.id, episode)


class ProcessHarness:
    """Real processes on small bundles."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process_backend = processes.ProcessBackend(folder / "state")
        self.backend: protocol.Backend = self._process_backend

    def spec(self, scenario: str = "plain", *, generation: int = 1) -> protocol.EnvironmentSpec:
        return self._made(scenario, PLAIN, generation)

    def broken_spec(self) -> protocol.EnvironmentSpec:
        return self._made("broken", "import no_such_module\n", 1)

    def crashing_spec(self) -> protocol.EnvironmentSpec:
        return self._made("crashing", "import os\nprint('going', flush=True)\nos._exit(7)\n", 1)

    def changed(self, spec: protocol.EnvironmentSpec) -> protocol.EnvironmentSpec:
        return dataclasses.replace(spec, settings={"AWM_EPISODES": "7"})

    def regenerated(self, spec: protocol.EnvironmentSpec) -> protocol.EnvironmentSpec:
        return self._made(spec.scenario, PLAIN.replace("hello", "good day"), spec.generation, edition="another")

    async def crash(self, instance: directory.Instance) -> None:
        os.kill(leader_of(instance), signal.SIGKILL)

    async def open_episode(self, instance: directory.Instance) -> str:
        async with _control(instance) as control:
            answer = await control.post("/v1/episodes", json={"episodes": [{}]})
            return str(answer.json()["episodes"][0]["id"])

    async def has_episode(self, instance: directory.Instance, episode: str) -> bool:
        async with _control(instance) as control:
            answer = await control.get(f"/v1/episodes/{episode}")
            return answer.status_code == 200 and answer.json()["state"] == "open"

    def _made(self, scenario: str, code: str, generation: int, *, edition: str = "first") -> protocol.EnvironmentSpec:
        folder = self._folder / "bundles" / edition / scenario
        if not folder.exists():
            bundles.make(
                folder, code, tools=None if code.startswith("\nfrom fastapi") else LISTED, generation=generation
            )
        return protocol.EnvironmentSpec(
            scenario=scenario, generation=generation, digest=digest.digest(folder), bundle=folder
        )


def _control(instance: directory.Instance) -> httpx.AsyncClient:
    assert instance.control_url is not None
    headers = {"Authorization": f"Bearer {instance.control_token}"}
    return httpx.AsyncClient(base_url=instance.control_url, headers=headers, timeout=30)


def leader_of(instance: directory.Instance) -> int:
    """The process that serves an instance: the child of ours with its name."""
    name = f"awm:{instance.scenario}"[:15]
    return next(each.pid for each in psutil.Process().children() if each.name() == name)


@pytest.fixture
async def fake_harness() -> AsyncIterator[FakeHarness]:
    made = FakeHarness()
    yield made
    await made.backend.close()


@pytest.fixture
async def process_harness(tmp_path: Path) -> AsyncIterator[ProcessHarness]:
    others = set(psutil.Process().children(recursive=True))  # of fixtures that last longer
    made = ProcessHarness(tmp_path)
    try:
        yield made
    finally:
        before = set(psutil.Process().children(recursive=True)) - others
        await made.backend.close()
        left = [each for each in before if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
        assert not left, left


class DockerHarness(ProcessHarness):
    """Real containers on the same bundles."""

    def __init__(self, folder: Path, base: str) -> None:
        self._folder = folder
        self.containers = containers.DockerBackend(
            folder / "state", fleet=f"t{uuid.uuid4().hex[:8]}", base=references.parse(base)
        )
        self.backend = self.containers

    async def crash(self, instance: directory.Instance) -> None:
        name = plans.object_name(self.containers.engine.fleet, instance.id)
        killing = await asyncio.create_subprocess_exec("docker", "kill", name, stdout=asyncio.subprocess.DEVNULL)
        assert await killing.wait() == 0

    async def close(self) -> None:
        """Ends everything, and finds nothing left."""
        fleet = self.containers.engine.fleet
        for each in await self.backend.instances() if not self.containers.closed else ():
            await self.backend.stop(protocol.Key(each.team, each.scenario, each.generation))
        await self.backend.close()
        _remove_all(fleet)


def _remove_all(fleet: str) -> None:
    """What a test left asleep on purpose: a volume, perhaps, or after `close` a running container."""
    for kind, listing, removing in (
        ("container", ("container", "ls", "-aq"), ("container", "rm", "-f")),
        ("volume", ("volume", "ls", "-q"), ("volume", "rm")),
        ("network", ("network", "ls", "-q"), ("network", "rm")),
    ):
        listed = subprocess.run(
            ["docker", *listing, "--filter", f"label={plans.FLEET}={fleet}"], check=True, capture_output=True, text=True
        ).stdout.split()
        if listed:
            subprocess.run(["docker", *removing, *listed], check=True, capture_output=True)
        assert kind


@pytest.fixture
async def docker_harness(tmp_path: Path, runtime_base: str) -> AsyncIterator[DockerHarness]:
    made = DockerHarness(tmp_path, runtime_base)
    try:
        yield made
    finally:
        await made.close()


HARNESSES = ("fake_harness", "process_harness", "docker_harness")


@pytest.fixture(params=HARNESSES)
def harness(request: pytest.FixtureRequest) -> object:
    """Each backend in turn."""
    return request.getfixturevalue(request.param)
