"""How long starts take: cold, to the first tool list; many episodes at once; back after a kill with all of them."""

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
_BATCH = (report.Limit("seconds", "below", 3.0),)


def measure(world: worlds.World, state: Path, *, starts: int, episodes: int) -> Iterator[report.Row]:
    """The figures of one scenario."""
    cold = [_start(world, state / f"start-{number}") for number in range(starts)]
    yield report.Row(world.name, "start to the first tool list", {"seconds": median(each[0] for each in cold)})
    yield report.Row(world.name, "start to ready: calls are answered", {"seconds": median(each[1] for each in cold)})
    opened, back = _open_and_restart(world, state, episodes)
    yield report.Row(world.name, f"open {episodes} episodes at once", {"seconds": opened}, _BATCH)
    yield report.Row(world.name, f"SIGKILL to the next call's answer, {episodes} episodes", {"seconds": back})


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


def _open_and_restart(world: worlds.World, state: Path, episodes: int) -> tuple[float, float]:
    """Seconds that one request for many episodes takes, and from a kill then to the answer of a call in one of them."""
    with serving.serving(world.bundle.root, state) as instance:
        began = time.perf_counter()
        ids = instance.open(count=episodes)
        opened = time.perf_counter() - began
        for episode in ids:
            instance.call(episode, world.listing)
        began = time.perf_counter()
        instance.process("instance").kill()
        while time.perf_counter() - began < _PATIENCE_S:
            # What was accepted before the kill is cut off; the listening socket is the keeper's and stays.
            with contextlib.suppress(http.client.HTTPException, ConnectionError):
                instance.call(ids[-1], world.listing)
                return opened, time.perf_counter() - began
            instance.agent.close()
    raise RuntimeError("the instance did not come back")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
