"""`make up` and `make down` in a checkout of stand-ins, so that nothing is installed."""

import contextlib
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
EXAMPLES = "fleet/src/awm_fleet/examples"

AWM = """#!/bin/sh
if [ "$1" = down ]; then echo "down: $*"; exit 0; fi
if [ "$1" = gen ]; then
    echo "gen: $*"
    [ ! -e cannot_generate ] || exit 1
    while [ "$1" != --output_dir ]; do shift; done
    mkdir -p "$2/bundles"; touch "$2/gen_envs.jsonl"; exit 0
fi
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


@contextlib.contextmanager
def making_up(checkout: Path) -> Iterator[tuple[list[str], "subprocess.Popen[str]"]]:
    """`make up`: what it says until it serves, and the process."""
    command = ["make", "up", f"PYTHON={sys.executable}", "PORT=1234"]
    with subprocess.Popen(
        command, cwd=checkout, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        while lines[-1] and not lines[-1].startswith("up: up "):
            lines.append(process.stdout.readline())
        try:
            yield lines, process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def down(checkout: Path) -> str:
    command = ["make", "-s", "down", f"PYTHON={sys.executable}"]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True, timeout=60).stdout


def test_the_first_make_up_generates_scenarios_and_the_second_one_finds_them(checkout: Path) -> None:
    with making_up(checkout) as (lines, _):
        said, generated, served = lines
    assert said.startswith("up: generating 20 scenarios into .awm/generated/20-")
    assert "gen all --provider builtin --target_count 20 --seed 7 --output_dir .awm/generated/20-" in generated
    folder = generated.split()[-1]
    assert served == f"up: up --port 1234 --bundles {EXAMPLES} --bundles {folder}/bundles\n"
    with making_up(checkout) as (again, _):
        assert again == [served]


def test_scenarios_of_another_state_of_the_generator_are_made_anew(checkout: Path) -> None:
    with making_up(checkout) as (first, _):
        pass
    blueprints = checkout / "generator" / "src" / "awm_generator" / "builtin"
    blueprints.mkdir(parents=True)
    (blueprints / "bakery.yaml").write_text("blueprint: bakery")
    with making_up(checkout) as (second, _):
        assert len(second) == 3
    assert first[-1] != second[-1]
    assert len(list((checkout / ".awm" / "generated").iterdir())) == 1


def test_examples_are_served_where_nothing_can_be_generated(checkout: Path) -> None:
    (checkout / "cannot_generate").touch()
    with making_up(checkout) as (lines, process):
        assert lines[-1] == f"up: up --port 1234 --bundles {EXAMPLES}\n"
        os.killpg(process.pid, signal.SIGINT)
        assert "not all scenarios could be generated" in process.communicate(timeout=60)[1]


def test_ctrl_c_ends_make_up_without_a_word_from_make(checkout: Path) -> None:
    with making_up(checkout) as (_, process):
        os.killpg(process.pid, signal.SIGINT)
        assert process.communicate(timeout=60) == ("stopped\n", "")


def test_make_down_is_awm_down(checkout: Path) -> None:
    assert down(checkout) == "down: down\n"


def test_make_down_installs_nothing(checkout: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    assert down(checkout).startswith("nothing runs here")
    assert not (checkout / ".venv").exists()


def test_make_setup_does_nothing_the_second_time(checkout: Path) -> None:
    again = subprocess.run(["make", "setup"], cwd=checkout, capture_output=True, text=True, check=True, timeout=60)
    assert "syncing" not in again.stdout
