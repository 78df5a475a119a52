"""What tests with a real engine share: an image registry, skopeo, the command, and images of a few bundles."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import image_registries
import pytest

os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")  # its image would be pulled; tests end what they start


@pytest.fixture(scope="session", autouse=True)
def _engine(docker_engine: None) -> None:
    """Everything here needs one."""


@pytest.fixture(scope="session")
def awm() -> Callable[..., Any]:
    """Runs `awm ARGUMENTS... --json` and returns what it prints."""

    def run(*arguments: object, status: int = 0) -> Any:
        command = [sys.executable, "-m", "awm_fleet", *map(str, arguments), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == status, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="session")
def image_registry(missing: Callable[[str, str], NoReturn], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """HOST:PORT of a real image registry."""
    program = image_registries.command()
    if program is None:
        missing("docker-registry", "no docker-registry on the PATH")
    with image_registries.running(program, tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture(scope="session")
def skopeo(missing: Callable[[str, str], NoReturn]) -> Callable[..., Any]:
    """Has skopeo, which shares no code with us, inspect an image."""
    if shutil.which("skopeo") is None:
        missing("skopeo", "no skopeo on the PATH")

    def inspect(reference: str, *options: str) -> Any:
        command = ["skopeo", "inspect", *options, reference]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    return inspect


@contextlib.contextmanager
def removed_after(*images: str) -> Iterator[None]:
    """Removes images of the engine at the end."""
    try:
        yield
    finally:
        subprocess.run(["docker", "image", "rm", "-f", *images], capture_output=True, check=False)


@pytest.fixture(scope="session")
def library_image(awm: Callable[..., Any], runtime_base: str) -> Iterator[str]:
    """The example's image at the engine."""
    name = f"awm-tests-{os.getpid()}"
    [built] = awm("image", "build", "library", "--base", runtime_base, "--output", f"docker:{name}")["images"]
    image = built["image"].removeprefix("docker:")
    with removed_after(image):
        yield image
