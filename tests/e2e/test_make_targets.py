"""`make up` and `make down` in a checkout of stand-ins, so that nothing is installed."""

import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

AWM = """#!/bin/sh
if [ "$1" = down ]; then echo "down: $*"; exit 0; fi
trap 'echo stopped; exit 0' INT TERM
echo "up: $*"
while :; do sleep 0.05; done
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The Makefile and its script beside an `awm` that only waits, with everything set up already."""
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci", ignore=shutil.ignore_patterns("__pycache__"))
    members = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["uv"]["workspace"]["members"]
    for name in ("Makefile", "uv.lock", "pyproject.toml", *(f"{member}/pyproject.toml" for member in members)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    awm = tmp_path / ".venv" / "bin" / "awm"
    awm.parent.mkdir(parents=True)
    awm.write_text(AWM)
    awm.chmod(0o755)
    (tmp_path / ".venv" / ".synced").touch()
    return tmp_path


@pytest.fixture
def up(checkout: Path) -> Iterator["subprocess.Popen[str]"]:
    command = ["make", "up", f"PYTHON={sys.executable}", "PORT=1234"]
    with subprocess.Popen(
        command, cwd=checkout, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up: up --port 1234\n"
        yield process
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def down(checkout: Path) -> str:
    command = ["make", "-s", "down", f"PYTHON={sys.executable}"]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True, timeout=60).stdout


def test_ctrl_c_ends_make_up_without_a_word_from_make(up: "subprocess.Popen[str]") -> None:
    os.killpg(up.pid, signal.SIGINT)
    assert up.communicate(timeout=60) == ("stopped\n", "")


def test_make_down_is_awm_down(checkout: Path) -> None:
    assert down(checkout) == "down: down\n"


def test_make_down_installs_nothing(checkout: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    assert down(checkout).startswith("nothing runs here")
    assert not (checkout / ".venv").exists()


def test_make_setup_does_nothing_the_second_time(checkout: Path) -> None:
    again = subprocess.run(["make", "setup"], cwd=checkout, capture_output=True, text=True, check=True, timeout=60)
    assert "syncing" not in again.stdout
