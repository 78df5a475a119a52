"""What the README promises of a fresh clone, from `make up` to a verdict and back to nothing."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn

import instances
import mcp
import psutil
import pytest

from awm_registry import client

ROOT = Path(__file__).resolve().parents[2]
PYTHON = f"PYTHON={sys.base_prefix}/bin/python{sys.version_info.major}.{sys.version_info.minor}"
SDK_1_30_CLIENT = Path(__file__).with_name("sdk_1_30_client.py")
TOOL = "create_reading_list"


@pytest.fixture
def clone(tmp_path: Path, missing: Callable[[str, str], NoReturn]) -> Path:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        missing("git", "this is no git checkout, so that it cannot be cloned")
    folder = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    return folder


@pytest.fixture
def variables(tmp_path: Path, uv: Path) -> dict[str, str]:
    """A clean home, and the outer cache of packages so that this takes seconds."""
    asked = subprocess.run([uv, "cache", "dir"], capture_output=True, text=True, check=True)
    (tmp_path / "home").mkdir()
    kept = {name: os.environ[name] for name in ("LANG", "AWM_TEST_RUN") if name in os.environ}
    kept |= {name: value for name, value in os.environ.items() if name.startswith(("UV_", "PIP_", "SSL_"))}
    return kept | {
        "HOME": str(tmp_path / "home"),
        "PATH": f"{uv.parent}:{os.environ['PATH']}",
        "UV_CACHE_DIR": asked.stdout.strip(),
    }


@pytest.fixture
def port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def up(clone: Path, variables: Mapping[str, str], port: int) -> Iterator["subprocess.Popen[str]"]:
    """`make up` in the clone, ready."""
    command = ["make", "up", f"PORT={port}", PYTHON]
    with (
        (clone.parent / "up.log").open("w+") as log,
        subprocess.Popen(command, cwd=clone, env=variables, stdout=log, stderr=log, start_new_session=True) as process,
    ):
        try:
            with client.ToolClient(f"http://127.0.0.1:{port}/s/library/mcp") as tools:
                instances.wait_for(lambda: process.poll() is not None or tools.tools(), within_s=300)
            assert process.poll() is None, (clone.parent / "up.log").read_text()
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


async def call_with_sdk_2(url: str, **arguments: str) -> list[str]:
    async with mcp.Client(url) as tools:
        assert not (await tools.call_tool(TOOL, arguments)).is_error
        return [tool.name for tool in (await tools.list_tools()).tools]


def call_with_sdk_1_30(python: Path, url: str, **arguments: str) -> list[str]:
    command = [python, SDK_1_30_CLIENT, url, TOOL, json.dumps(arguments)]
    played = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    names: list[str] = json.loads(played.stdout)
    return names


def test_a_fresh_clone_serves_every_mcp_client_shows_changes_and_judges(
    clone: Path, variables: Mapping[str, str], port: int, up: "subprocess.Popen[str]", python_with_sdk_1_30: Path
) -> None:
    fleet = f"http://127.0.0.1:{port}"
    with client.SyncFleet(fleet) as trainer, trainer.open("library", task="rain-hold") as episode:
        names = asyncio.run(asyncio.wait_for(call_with_sdk_2(episode.mcp_url, name="With SDK 2"), 60))
        assert TOOL in names
        assert call_with_sdk_1_30(python_with_sdk_1_30, episode.mcp_url, name="With SDK 1.30") == names
        added = episode.diff()["reading_lists"]["added"]
    assert [row["name"] for row in added] == ["With SDK 2", "With SDK 1.30"]
    default = f"{fleet}/s/library/mcp"
    assert asyncio.run(asyncio.wait_for(call_with_sdk_2(default, name="With SDK 2"), 60)) == names
    assert call_with_sdk_1_30(python_with_sdk_1_30, default, name="With SDK 1.30") == names

    demo = subprocess.run(
        ["make", "demo", PYTHON], cwd=clone, env=variables, capture_output=True, text=True, timeout=120
    )
    assert demo.returncode == 0, demo.stderr
    assert "verdict: completed, reward 1" in demo.stdout

    family = psutil.Process(up.pid).children(recursive=True)
    assert len(family) >= 4  # the supervisor, its zygote, a router, the library
    os.killpg(up.pid, signal.SIGINT)
    up.wait(60)
    assert not [process for process in family if process.is_running()]
    log = (clone.parent / "up.log").read_text()
    assert default in log
    assert f"{fleet}/s/clinic/mcp" in log
    assert "22 scenarios at" in log
    assert ".venv/bin/awm status" in log
    assert not list((clone / ".awm" / "fleet").glob("*.sock"))
    assert "Traceback" not in log
    assert "***" not in log  # what make says of a command that ends by a signal or with a status
    assert not list((clone.parent / "home").iterdir())
