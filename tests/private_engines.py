"""A Docker engine of a test's own, which may be killed: beside the machine's, and nothing shared but the kernel."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import instances
import psutil

NEEDS = ("dockerd", "containerd", "ip", "iptables", "nsenter")


def unfit() -> str:
    """Why there can be none here; empty where there can be one."""
    absent = [each for each in NEEDS if shutil.which(each) is None]
    if absent:
        return f"no {' and no '.join(absent)} on the PATH"
    return "" if os.geteuid() == 0 else "a Docker engine is started by root alone"


class _Network:
    """A network namespace for an engine and its containers, and a way from here to them.

    An engine without the machine's own bridge removes that bridge where it sees it, so it must not see it. Containers
    of an internal network answer nobody but the address of their bridge, so the way hides where it comes from.
    """

    def __init__(self) -> None:
        self._name = f"awmtest{os.getpid()}"[:15]
        self._octet = 200 + os.getpid() % 50
        self.pool = f"10.{self._octet}.128.0/17"
        self.inside = ["nsenter", f"--net=/run/netns/{self._name}"]

    def create(self) -> None:
        """Makes it."""
        name, inner = self._name, f"{self._name}"[:14] + "i"
        here, there = (f"10.{self._octet}.0.{number}" for number in (1, 2))
        for command in (
            f"ip netns add {name}",
            f"ip link add {name} type veth peer name {inner} netns {name}",
            f"ip address add {here}/30 dev {name}",
            f"ip link set {name} up",
            f"ip route add {self.pool} via {there}",
            f"{' '.join(self.inside)} ip address add {there}/30 dev {inner}",
            f"{' '.join(self.inside)} ip link set {inner} up",
            f"{' '.join(self.inside)} ip link set lo up",
            f"{' '.join(self.inside)} iptables -t nat -A POSTROUTING -d {self.pool} -j MASQUERADE",
        ):
            subprocess.run(command.split(), check=True)

    def remove(self) -> None:
        """Removes it, as far as it was made."""
        subprocess.run(["ip", "link", "delete", self._name], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "delete", self._name], check=False, capture_output=True)


class PrivateEngine:
    """An engine, running or not.

    Attributes:
        address: What DOCKER_HOST is to be.
    """

    def __init__(self, folder: Path, network: _Network) -> None:
        self._folder = folder
        self._network = network
        self._socket = folder / "docker.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self.address = f"unix://{self._socket}"

    def start(self) -> None:
        """Starts it; returns when it answers."""
        folder = self._folder
        command = [*self._network.inside, "dockerd", "--data-root", folder / "data", "--exec-root", folder / "exec"]
        command += ["--host", self.address, "--pidfile", folder / "pid", "--config-file", folder / "none.json"]
        command += ["--bridge=none", "--iptables=false", "--default-address-pool", f"base={self._network.pool},size=24"]
        (folder / "none.json").write_text("{}")
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log)
        instances.wait_for(self._answers, within_s=60)

    def end(self, how: signal.Signals) -> None:
        """Ends it; what SIGKILL leaves running are its containers, and none of its own processes."""
        assert self._process is not None
        family = psutil.Process(self._process.pid).children(recursive=True)
        self._process.send_signal(how)
        self._process.wait(60)
        psutil.wait_procs(family, timeout=20)

    def clear(self) -> None:
        """Removes its containers and networks, and ends it; where a test left it dead it is started for that."""
        assert self._process is not None
        if self._process.poll() is not None:
            self.start()
        if left := self.ask("container", "ls", "--all", "--quiet").split():
            self.ask("container", "rm", "--force", *left)
        self.ask("network", "prune", "--force")
        self.end(signal.SIGTERM)

    def ask(self, *command: str) -> str:
        """What `docker ...` says of it."""
        asked = ["docker", "--host", self.address, *command]
        return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text()[-2000:]
        with contextlib.suppress(subprocess.CalledProcessError):
            return bool(self.ask("version", "--format", "{{.Server.Version}}"))
        return False


@contextlib.contextmanager
def running() -> Iterator[PrivateEngine]:
    """An engine for the length of a `with` block; all that it has is gone afterwards."""
    # A path that is short enough for sockets.
    folder = Path(tempfile.mkdtemp(prefix="awm-engine-"))
    network = _Network()
    engine = PrivateEngine(folder, network)
    try:
        network.create()
        engine.start()
        try:
            yield engine
        finally:
            engine.clear()
    finally:
        network.remove()
        for part in psutil.disk_partitions(all=True):
            if Path(part.mountpoint).is_relative_to(folder):  # an engine that was killed leaves its own behind
                subprocess.run(["umount", "--lazy", part.mountpoint], check=False)
        shutil.rmtree(folder)
