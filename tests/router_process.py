"""Routers as processes of their own, which share a port, before instances that are awake.

`python -m router_process PORT CATALOGUE INSTANCES`
"""

import contextlib
import dataclasses
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import fleets
import httpx
import uvloop

from awm_registry import directory
from awm_registry.catalogue import snapshots
from awm_registry.router import app, serving, settings


def main(port: int, catalogue: Path, instances: Path) -> None:
    """Serves until SIGTERM."""
    fleet = fleets.Directory()
    for each in json.loads(instances.read_text()):
        fleet.put(directory.Instance(**each))
    limits = settings.Settings.from_environment(os.environ)
    options = app.Options(id_key=fleets.ID_KEY, limits=limits)
    router = app.create(fleet, fleets.Catalogues(snapshots.load(catalogue)), options)
    uvloop.run(serving.serve(router, serving.Sockets(single=_listening(port)), limits))


def _listening(port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen(4096)
    return listening


@dataclasses.dataclass(frozen=True)
class Routers:
    """Router processes that share a port.

    Attributes:
        url: Where they answer.
        processes: The processes.
    """

    url: str
    processes: list["subprocess.Popen[bytes]"]


@contextlib.contextmanager
def running(catalogue: Path, instances: Sequence[directory.Instance], *, count: int = 1) -> Iterator[Routers]:
    """Router processes for the length of a `with` block, before instances that stay where they are."""
    known = catalogue / "instances.json"
    known.write_text(json.dumps([dataclasses.asdict(each) for each in instances]))
    with socket.socket() as taken, contextlib.ExitStack() as stack:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))  # keeps the port, and takes no connections
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "router_process", str(port), str(catalogue), str(known)]
        variables = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
        processes = []
        for _ in range(count):
            process = subprocess.Popen(command, env=variables)
            stack.callback(_end, process)
            processes.append(process)
        routers = Routers(f"http://127.0.0.1:{port}", processes)
        _wait_for(routers)
        yield routers


def _wait_for(routers: Routers) -> None:
    """Waits until all of them listen: each new connection goes to any."""
    transport = httpx.HTTPTransport(retries=0)
    answered = 0
    with httpx.Client(base_url=routers.url, transport=transport, timeout=10) as client:
        for _ in range(2000):
            try:
                answered += client.get("/livez", headers={"connection": "close"}).is_success
            except httpx.TransportError:
                answered = 0
            if _listeners(routers.url) >= len(routers.processes) and answered:
                return
    raise AssertionError("the routers do not answer")


def _listeners(url: str) -> int:
    port = f":{int(url.rpartition(':')[2]):04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(line[1].endswith(port) and line[3] == "0A" for line in lines)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
