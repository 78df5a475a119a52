"""What `make test` says on a machine without Docker, and where AWM_REQUIRE insists on it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
NEED_AN_ENGINE = ("tests/docker", "tests/contract/backends")
NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}
NO_PROGRAM = {"PATH": str(Path(sys.executable).parent)}


def started(variables: dict[str, str]) -> "subprocess.Popen[str]":
    """The tests that need an engine, as `make test` runs them."""
    command = [sys.executable, "-m", "pytest", *NEED_AN_ENGINE, "-k", "docker", "-p", "no:cacheprovider"]
    environment = {**os.environ, "AWM_REQUIRE": "", **variables}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def test_without_an_engine_each_test_that_needs_one_is_skipped_with_the_reason(
    missing: Callable[[str, str], NoReturn],
) -> None:
    if shutil.which("docker") is None:
        missing("docker", "no docker on the PATH that could look for an engine")
    are_skipped(NO_ENGINE, "no Docker engine answers: .*/nowhere/docker.sock")


def test_without_the_program_each_test_that_needs_an_engine_is_skipped_with_the_reason() -> None:
    are_skipped(NO_PROGRAM, "no docker on the PATH")


def test_without_docker_they_fail_where_it_is_required() -> None:
    ended = started({**NO_PROGRAM, "AWM_REQUIRE": "docker"})
    said, _ = ended.communicate(timeout=120)
    assert ended.returncode == 1
    assert "AWM_REQUIRE names docker, but: no docker on the PATH" in said
    assert not re.search(r"\d+ (passed|skipped)", said.splitlines()[-1]), said


def are_skipped(variables: dict[str, str], reason: str) -> None:
    ended = started(variables)
    said, _ = ended.communicate(timeout=120)
    assert ended.returncode == 0, said
    skipped = [line for line in said.splitlines() if line.startswith("SKIPPED")]
    assert {line.split()[2].partition("/")[2].partition("/")[0] for line in skipped} == {"docker", "contract"}
    assert all(re.search(reason, line) for line in skipped), said
    assert re.search(r"= \d+ skipped(, \d+ deselected)? in ", said), said
