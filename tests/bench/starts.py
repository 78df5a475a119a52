"""How long starts take: cold, to the first tool list, and back after a kill with all episodes."""

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench import report, serving, worlds

_LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
_POLL_S = 0.005
_PATIENCE_S = 60.0


def measure(world: worlds.World, state: Path, *, starts: int, episodes: int) -> Iterator[report.Row]:
    """The figures of one scenario."""
    cold = [_start(world, state / f"start-{number}") for number in range(starts)]
    yield report.Row(world.name, "start to the first tool list", {"seconds": median(each[0] for each in cold)})
    yield report.Row(world.name, "start to ready: calls are answered", {"seconds": median(each[1] for each in cold)})
    back = {"seconds": _restart(world, state, episodes)}
    yield report.Row(world.name, f"SIGKILL to the next call's answer, {episodes} episodes", back)


def _start(world: worlds.World, state: Path) -> tuple[float, float]:
    """Seconds from the start of the process to the first tool list, and to its word that it is ready."""
    state.mkdir()
    port = _free_port()
    command = [sys.executable, "-m", "awm_runtime.server", str(world.bundle.root), "--state", str(state)]
    began = time.perf_counter()
    with (
        (state / "instance.log").open("w") as log,
        subprocess.Popen(
            [*command, f"--port={port}", "--control-port=0"], stdout=subprocess.PIPE, stderr=log
        ) as server,
    ):
        try:
            listed = _first_answer(server, port, began)
            assert server.stdout is not None
            json.loads(server.stdout.readline())
            return listed, time.perf_counter() - began
        finally:
            server.terminate()


def _first_answer(server: "subprocess.Popen[bytes]", port: int, began: float) -> float:
    while server.poll() is None and time.perf_counter() - began < _PATIENCE_S:
        connection = serving.Connection(f"http://127.0.0.1:{port}")
        with contextlib.closing(connection), contextlib.suppress(ConnectionRefusedError):
            if connection.request("POST", "/mcp", _LIST)["result"]["tools"]:
                return time.perf_counter() - began
        time.sleep(_POLL_S)
    raise RuntimeError(f"no tool list; the exit status is {server.poll()}")


def _restart(world: worlds.World, state: Path, episodes: int) -> float:
    """Seconds from the kill of an instance to the answer of a call in one of its episodes."""
    with serving.serving(world.bundle.root, state) as instance:
        ids = instance.open(count=episodes)
        for episode in ids:
            instance.call(episode, world.listing)
        began = time.perf_counter()
        instance.process("instance").kill()
        while time.perf_counter() - began < _PATIENCE_S:
            # What was accepted before the kill is cut off; the listening socket is the keeper's and stays.
            with contextlib.suppress(http.client.HTTPException, ConnectionError):
                instance.call(ids[-1], world.listing)
                return time.perf_counter() - began
            instance.agent.close()
    raise RuntimeError("the instance did not come back")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
