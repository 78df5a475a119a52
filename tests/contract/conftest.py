"""What the contract tests share: a served instance, a cache for their peers, and what a missing peer means."""

import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest

CONFORMANCE = pathlib.Path(__file__).parent / "conformance"

Missing = Callable[[str, str], NoReturn]


@pytest.fixture(scope="session")
def missing() -> Missing:
    """Ends a test whose peer is not there: skips on a laptop, fails where AWM_REQUIRE names the peer."""

    def end(peer: str, reason: str) -> NoReturn:
        if peer in os.environ.get("AWM_REQUIRE", "").split(","):
            pytest.fail(f"{peer} is required here: {reason}")
        pytest.skip(reason)

    return end


@pytest.fixture(scope="session")
def cache_folder() -> pathlib.Path:
    """Where foreign clients and suites are installed, once for all checkouts of a user."""
    home = os.environ.get("XDG_CACHE_HOME")
    folder = (pathlib.Path(home) if home else pathlib.Path.home() / ".cache") / "awm-fleet"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def mcp_server() -> Iterator[str]:
    """The address of a real server process that serves the conformance scenario."""
    command = [sys.executable, str(CONFORMANCE / "serve.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            assert address, "the server ended before it listened"
            yield address
        finally:
            process.terminate()
