"""A Docker engine of a test's own, which may be killed: beside the machine's, with nothing shared but the kernel."""

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

NEEDS = ("dockerd", "containerd", "ip")
_POOL = "10.213.0.0/16"
_BRIDGE = ("awmtest0", "10.212.0.1/24")


def unfit() -> str:
    """Why there can be none here; empty where there can be one."""
    absent = [each for each in NEEDS if shutil.which(each) is None]
    if absent:
        return f"no {' and no '.join(absent)} on the PATH"
    return "" if os.geteuid() == 0 else "a Docker engine is started by root alone"


class PrivateEngine:
    """An engine, running or not.

    Attributes:
        address: What DOCKER_HOST is to be.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = folder / "docker.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self.address = f"unix://{self._socket}"

    def start(self) -> None:
        """Starts it; returns when it answers."""
        folder = self._folder
        command = ["dockerd", "--data-root", folder / "data", "--exec-root", folder / "exec", "--host", self.address]
        command += ["--pidfile", folder / "pid", "--bridge", _BRIDGE[0], "--iptables=false", "--ip-forward=false"]
        command += ["--default-address-pool", f"base={_POOL},size=24", "--config-file", folder / "none.json"]
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
    name, address = _BRIDGE
    # Made beforehand: an engine that is told to have no bridge removes the one of the machine's engine.
    subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True)
    # A path that is short enough for sockets.
    folder = Path(tempfile.mkdtemp(prefix="awm-engine-"))
    engine = PrivateEngine(folder)
    try:
        subprocess.run(["ip", "address", "add", address, "dev", name], check=True)
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
        engine.start()
        try:
            yield engine
        finally:
            engine.clear()
    finally:
        subprocess.run(["ip", "link", "delete", name], check=True)
        for part in psutil.disk_partitions(all=True):
            if Path(part.mountpoint).is_relative_to(folder):  # an engine that was killed leaves its own behind
                subprocess.run(["umount", "--lazy", part.mountpoint], check=False)
        shutil.rmtree(folder)
