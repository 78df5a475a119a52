"""A fleet as `awm up` serves it, for tests: the real command, its processes, its clients."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import instances
import psutil

from awm_fleet.backends.process import controls, states
from awm_registry import client

AWM = [sys.executable, "-P", "-c", "from awm_fleet.cli import main; main.main()"]
ZYGOTE = "awm_runtime.server.instance_zygote"
JUDGES = "awm_runtime.verification.judge_zygote"
ROUTER = "awm_fleet.backends.process.routing"


class LocalFleet:
    """A running fleet.

    Attributes:
        process: `awm up`, which is the supervisor.
        state: Its state folder.
        log: The file of what it says.
        url, control_url: Where agents and trainers reach it.
        started_s: How long it took until it answered, in seconds.
    """

    def __init__(self, process: "subprocess.Popen[str]", state: Path, log: Path) -> None:
        self.process = process
        self.state = state
        self.log = log
        self.supervisor = psutil.Process(process.pid)
        self._stack = contextlib.ExitStack()
        self._control = controls.Supervisor(state)
        ready = instances.wait_for(self._ready, within_s=60)
        self.url, self.control_url = str(ready["url"]), str(ready["control_url"])
        self.started_s = time.time() - self.supervisor.create_time()
        self.http = self._stack.enter_context(httpx.Client(base_url=self.control_url, timeout=60))

    def status(self) -> dict[str, Any]:
        """What `awm status --json` prints."""
        return self._control.status()

    def scenario(self, name: str) -> dict[str, Any]:
        """One row of it."""
        return next(each for each in self.status()["scenarios"] if each["name"] == name)

    def open(self, scenario: str, **item: Any) -> dict[str, Any]:
        """Opens one episode through a router."""
        answer = self.http.post("/v1/episodes", json={"episodes": [{"scenario": scenario, **item}]})
        assert answer.status_code == 201, answer.text
        said = answer.json()
        assert not said["rejected"], said
        [episode] = said["episodes"]
        return dict(episode)

    def episode(self, id: str) -> dict[str, Any]:
        """An episode as a router shows it."""
        answer = self.http.get(f"/v1/episodes/{id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def call(self, url: str, tool: str, **arguments: Any) -> client.Reply:
        """Calls a tool at an MCP URL."""
        with client.ToolClient(url) as tools:
            return tools.call(tool, arguments)

    def processes(self, module: str) -> list[psutil.Process]:
        """The supervisor's children that run a module; forks of a zygote are not among them."""
        return [each for each in self.supervisor.children() if module in each.cmdline() and not _is_fork(each)]

    def instance(self, scenario: str) -> psutil.Process:
        """The process of a scenario."""
        return next(each for each in self.supervisor.children() if each.name() == f"awm:{scenario}"[:15])

    def said(self) -> str:
        """What it logged."""
        return self.log.read_text()

    def family(self) -> list[psutil.Process]:
        """All its processes."""
        return [self.supervisor, *self.supervisor.children(recursive=True)]

    def close(self) -> None:
        """Closes the clients."""
        self._stack.close()

    def _ready(self) -> dict[str, Any] | None:
        assert self.process.poll() is None, self.said()
        try:
            seen = self._control.status()
        except controls.NoSupervisor:
            return None
        return seen if seen["ready"] else None


def _is_fork(process: psutil.Process) -> bool:
    return process.name().startswith(("awm:", "judge:")) and process.name() != "awm:router"


@contextlib.contextmanager
def running(
    bundles: Sequence[Path], state: Path, *options: str, variables: dict[str, str] | None = None
) -> Iterator[LocalFleet]:
    """`awm up` on a free port, for the length of a `with` block; nothing of it may be left afterwards."""
    log = state.with_name(f"{state.name}.txt")
    command = [*AWM, "up", "--port", "0", "--state", str(state), *options]
    for each in bundles:
        command += ["--bundles", str(each)]
    with (
        log.open("w") as written,
        subprocess.Popen(
            command, stdout=written, stderr=written, text=True, env={**os.environ, **(variables or {})}
        ) as process,
    ):
        try:
            fleet = LocalFleet(process, state, log)
            yield fleet
        finally:
            family = _end(process)
        fleet.close()
        gone_with_it(family)
        assert not family or not (state / states.SOCKET).exists()


def _end(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    """Ends a fleet by Ctrl-C; the processes that it had. None where a test has killed it already."""
    if process.poll() is not None:
        return []
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    process.send_signal(signal.SIGINT)
    try:
        process.wait(40)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return family


def gone_with_it(family: Sequence[psutil.Process]) -> None:
    """Checks that none of these processes is left."""
    _, left = psutil.wait_procs(family, timeout=10)
    assert not [each for each in left if each.status() != psutil.STATUS_ZOMBIE], left


def run(*arguments: str, timeout: float = 60) -> "subprocess.CompletedProcess[str]":
    """Runs an `awm` command."""
    return subprocess.run([*AWM, *arguments], capture_output=True, text=True, timeout=timeout, check=False)


def status_json(state: Path) -> dict[str, Any]:
    """What `awm status --json` says."""
    document: dict[str, Any] = json.loads(run("status", "--state", str(state), "--json").stdout)
    return document
