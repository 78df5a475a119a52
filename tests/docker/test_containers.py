"""Scenarios in real containers: what is in them, what they may do, how they end."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import base_images
import bundles
import httpx
import instances
import pytest

from awm_fleet.testing import ScenarioContainer
from awm_generator.images import assembly, layers, outputs, references, sources

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = """
import socket
import subprocess

from fastapi import FastAPI

app = FastAPI()


def tried(action):
    try:
        return f"DONE: {action()}"
    except Exception as exc:
        return type(exc).__name__


@app.get("/connect", operation_id="connect")
def connect(host: str, port: int):
    return tried(lambda: socket.create_connection((host, port), timeout=3))


@app.get("/look", operation_id="look")
def look(path: str):
    return tried(lambda: open(path, "rb").read(4096).decode(errors="replace"))


@app.get("/write", operation_id="write")
def write(path: str):
    return tried(lambda: open(path, "w").write("x"))


@app.get("/run", operation_id="run")
def run(program: str):
    return tried(lambda: subprocess.run([program], timeout=5))


@app.get("/variables", operation_id="variables")
def variables():
    return dict(os.environ)


@app.get("/become", operation_id="become")
def become():
    return tried(lambda: os.setuid(0))
"""

HASHES = """
import hashlib, pathlib
for path in pathlib.Path("{folder}").glob("{pattern}"):
    print(hashlib.sha256(path.read_bytes()).hexdigest())
"""
ORPHAN = """
import os
end, other = os.pipe()
if os.fork() == 0:
    if (orphan := os.fork()) == 0:
        os.close(other)
        os.read(end, 1)  # until the first of us is gone too
        os._exit(0)
    print(orphan, flush=True)
    os._exit(0)
os.wait()
"""
PROCESSES = "import os; print(*filter(str.isdigit, os.listdir('/proc')))"


def run(*command: object) -> str:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True, timeout=60).stdout


def inside(container: ScenarioContainer, program: str) -> str:
    """What a Python program prints in a container."""
    return run("docker", "exec", container.get_wrapped_container().id, "/opt/awm/bin/python", "-c", program)


@pytest.fixture(scope="module")
def library(library_image: str) -> Iterator[ScenarioContainer]:
    with ScenarioContainer(library_image) as running:
        yield running


@pytest.fixture(scope="module")
def hostile(runtime_base: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScenarioContainer]:
    folder = tmp_path_factory.mktemp("bundles")
    with ScenarioContainer(bundles.make(folder / "hostile", HOSTILE), base=runtime_base) as running:
        yield running
    subprocess.run(["docker", "image", "rm", "-f", "awm/hostile:1"], capture_output=True, check=True)


def test_an_episode_in_a_container_is_played_and_judged_in_confinement(library: ScenarioContainer) -> None:
    episode = library.open_episode(task="next-due")
    loans = episode.call("list_my_loans").data()["items"]
    verdict = episode.verify(f"{loans[0]['title']}, due back by {loans[0]['due_on']}")
    assert (verdict.outcome, verdict.reward) == ("completed", 1.0)
    assert "cannot confine" not in "".join(part.decode() for part in library.get_logs())


def test_the_control_plane_asks_for_its_token(library: ScenarioContainer) -> None:
    answer = httpx.post(f"{library.control_url}/v1/episodes", json={"episodes": [{}]}, trust_env=False)
    assert answer.status_code == 401


def test_the_seed_of_the_image_is_used_and_not_built(library: ScenarioContainer) -> None:
    seeds = inside(library, HASHES.format(folder="/awm/seeds", pattern="*.db")).split()
    used = inside(library, HASHES.format(folder="/state", pattern="*/seed.db")).split()
    assert len(seeds) == 1
    assert used == seeds


def test_a_user_without_rights_a_read_only_root_and_a_health_check_without_a_shell(library: ScenarioContainer) -> None:
    container = library.get_wrapped_container()
    said = json.loads(run("docker", "inspect", container.id))[0]
    assert said["Config"]["User"] == "10001:10001"
    assert said["HostConfig"]["ReadonlyRootfs"]
    assert said["Config"]["Healthcheck"]["Test"][0] == "CMD"
    assert list(said["Config"]["Volumes"]) == ["/state"]
    run("docker", "exec", container.id, *said["Config"]["Healthcheck"]["Test"][1:])


def test_sigterm_ends_the_first_process_in_order(library_image: str) -> None:
    with ScenarioContainer(library_image) as running:
        container = running.get_wrapped_container()
        container.stop(timeout=8)
        container.reload()
        assert container.attrs["State"]["ExitCode"] == 0


def test_the_first_process_takes_note_of_orphans(library: ScenarioContainer) -> None:
    """A process whose parent is gone becomes the first process's; it must not stay behind as a zombie."""
    orphans = {inside(library, ORPHAN).strip() for _ in range(5)}
    assert len(orphans) == 5
    instances.wait_for(lambda: orphans.isdisjoint(inside(library, PROCESSES).split()))
    assert "1" in inside(library, PROCESSES).split()


def test_an_image_whose_bundle_is_not_what_its_label_says_is_refused_at_start(library_image: str) -> None:
    wrong, some = f"AWM_BUNDLE_DIGEST=sha256:{'0' * 64}", f"AWM_CONTROL_TOKEN_SHA256={'0' * 64}"
    command = ["docker", "run", "--rm", "-e", wrong, "-e", some, library_image]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"and sha256:{'0' * 64} is wanted" in done.stderr


def test_without_a_token_a_container_does_not_start(library_image: str) -> None:
    done = subprocess.run(["docker", "run", "--rm", library_image], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "give the control plane a token (AWM_CONTROL_TOKEN)" in done.stderr


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("connect", {"host": "127.0.0.1", "port": 8002}),
        ("connect", {"host": "192.0.2.1", "port": 80}),
        ("run", {"program": "/opt/awm/bin/python"}),
        ("write", {"path": "/awm/bundle/tasks.jsonl"}),
        ("write", {"path": "/tmp/x"}),
        ("look", {"path": "/awm/bundle/tasks.jsonl"}),
        ("look", {"path": "/proc/1/environ"}),
        ("become", {}),
    ],
)
def test_scenario_code_reaches_nothing_from_a_container(
    hostile: ScenarioContainer, tool: str, arguments: dict[str, Any]
) -> None:
    said = hostile.open_episode().call(tool, **arguments)
    assert "DONE" not in said.text
    assert "Error" in said.text


def test_no_secret_is_in_the_environment_of_scenario_code(hostile: ScenarioContainer) -> None:
    seen = hostile.open_episode().call("variables").data()
    assert not [name for name in seen if "TOKEN" in name or "KEY" in name]
    assert hostile.control_token not in json.dumps(seen)
    inspected = run("docker", "inspect", hostile.get_wrapped_container().id)
    assert hostile.control_token not in inspected


def test_the_page_about_tests_shows_one_that_passes(runtime_base: str, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "testing.md").read_text()
    (tmp_path / "test_page.py").write_text(page.split("```python\n")[1].split("```")[0])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--awm-base", runtime_base, tmp_path]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_a_test_without_a_mark_is_told_to_name_its_scenario(tmp_path: Path) -> None:
    (tmp_path / "test_unmarked.py").write_text("def test_it(scenario):\n    pass\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "name the scenario" in done.stdout


def test_a_base_for_another_machine_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    folder = bundles.make(tmp_path / "plain", "from fastapi import FastAPI\n\napp = FastAPI()\n", tools=())
    layer = layers.build(folder)
    image = assembly.assemble(base_images.make("linux/s390x"), layer)
    with (
        outputs.opened(references.parse("docker:"), sources.Access()) as engine,
        pytest.raises(Exception, match="the base does not fit the Docker engine: it is for linux/s390x"),
    ):
        engine.put([(layer.scenario, layer.generation, image)])
