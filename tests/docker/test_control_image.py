"""`awm-control`: what the controller and the router need, and no more."""

import importlib.metadata
import subprocess
from collections.abc import Callable
from typing import NoReturn

import pytest

IMPORT_ALL = """
import importlib, pkgutil
import awm_registry, awm_fleet.backends.kubernetes, awm_fleet.cli.controller, awm_fleet.cli.environments
for package in (awm_registry, awm_fleet.backends.kubernetes):
    for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(each.name)
print("all there")
"""


@pytest.fixture(scope="module")
def image(runtime_base: str, missing: Callable[[str, str], NoReturn]) -> str:
    """The image, which is made with the runtime's base."""
    name = f"awm-control:{importlib.metadata.version('awm-fleet')}"
    if subprocess.run(["docker", "image", "inspect", name], capture_output=True, check=False).returncode:
        missing("docker", f"the engine has no {name}; `make images` makes it")
    return name


def run(image: str, *command: str, options: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
    asked = ["docker", "run", "--rm", "--network=none", "--read-only", "--cap-drop=ALL", *options, image, *command]
    return subprocess.run(asked, capture_output=True, text=True, timeout=120, check=False)


def test_the_controller_and_the_router_can_be_imported(image: str) -> None:
    done = run(image, "-P", "-c", IMPORT_ALL, options=("--entrypoint=/opt/awm/bin/python",))
    assert done.stdout == "all there\n", done.stderr
    assert "Run the controller of a fleet on Kubernetes" in run(image, "controller", "--help").stdout


def test_a_command_that_is_not_for_it_says_so(image: str) -> None:
    done = run(image, "gen", "all")
    assert (done.returncode, done.stderr) == (1, "error: `awm gen` cannot run here: awm_generator is not installed\n")
