"""A real image registry for tests: Debian's docker-registry, on this machine's loopback."""

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import instances

_CONFIG = """
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


def command() -> str | None:
    """The registry's program; None where there is none."""
    return next(filter(None, map(shutil.which, ("docker-registry", "registry"))), None)


@contextlib.contextmanager
def running(program: str, folder: Path) -> Iterator[str]:
    """HOST:PORT of a registry that serves for the length of a `with` block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "config.yml").write_text(_CONFIG.format(folder=folder / "data", port=port))
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen([program, "serve", folder / "config.yml"], stdout=log, stderr=log) as server,
    ):
        try:
            with httpx.Client(trust_env=False) as client:
                instances.wait_for(lambda: client.get(f"http://127.0.0.1:{port}/v2/").status_code == 200)
            yield f"127.0.0.1:{port}"
        finally:
            server.terminate()
