"""What `make test` says on a machine without Docker, and where AWM_REQUIRE insists on it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize(
    ("variables", "reason"),
    [(NO_ENGINE, "no Docker engine answers: .*/nowhere/docker.sock"), (NO_PROGRAM, "no docker on the PATH")],
)
def test_each_test_that_needs_an_engine_is_skipped_with_the_reason(variables: dict[str, str], reason: str) -> None:
    ended = started(variables)
    said, _ = ended.communicate(timeout=120)
    assert ended.returncode == 0, said
    skipped = [line for line in said.splitlines() if line.startswith("SKIPPED")]
    assert {line.split()[2].partition("/")[2].partition("/")[0] for line in skipped} == {"docker", "contract"}
    assert all(re.search(reason, line) for line in skipped), said
    assert re.search(r"= \d+ skipped(, \d+ deselected)? in ", said), said


def test_a_missing_engine_is_a_failure_where_docker_is_required() -> None:
    ended = started({**NO_ENGINE, "AWM_REQUIRE": "docker"})
    said, _ = ended.communicate(timeout=120)
    assert ended.returncode == 1
    assert "AWM_REQUIRE names docker, but: no Docker engine answers" in said
    assert not re.search(r"\d+ (passed|skipped)", said.splitlines()[-1]), said
