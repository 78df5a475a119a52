"""Scenarios of the built-in generator as their users have them: gold, files out and in, a fleet, uvicorn, the page."""

import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable
from concurrent import futures
from pathlib import Path

import local_fleets
import played_fleets
import pytest

from awm_generator.builtin import reading as blueprints
from awm_runtime.bundle import database, digest, reading

ROOT = Path(__file__).resolve().parents[2]
AWM = Path(sys.executable).with_name("awm")
WAIT_S = 60

pytestmark = pytest.mark.timeout(1200)  # sixty scenarios through all gates

FAMILIES = tuple(blueprints.shipped_blueprints())
MADE = 60
SERVED = 20
PLAYED = 10
AT_A_TIME = 3
VERSIONS = [f"3.{minor}" for minor in (11, 12, 13) if minor != sys.version_info.minor]
MAKING = """
import sys
from pathlib import Path
from awm_generator.builtin import running
names, out = set(sys.argv[3:]), Path(sys.argv[2])
for order in running.plan(running.blueprints(), int(sys.argv[1]), 7):
    if order.name in names:
        running.make(order, out)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with sixty scenarios, spread over all shipped blueprints."""
    out = tmp_path_factory.mktemp("made")
    command = [AWM, "gen", "all", "--provider", "builtin", "--target_count", str(MADE), "--seed", "7", "--json"]
    subprocess.run([*command, "--output_dir", out], check=True, capture_output=True)
    return out


def test_sixty_over_all_blueprints_are_gold(made: Path) -> None:
    families = Counter(_family(path) for path in (made / "bundles").iterdir())
    assert (set(families), families.total()) == (set(FAMILIES), MADE)
    done = subprocess.run([AWM, "gate", made / "bundles", "--json"], capture_output=True, text=True, check=False)
    gated = json.loads(done.stdout)["bundles"]
    assert len(gated) == MADE
    assert [each for each in gated if each["tier"] != "gold"] == []


def test_some_are_solved_through_a_fleet_that_serves_them_all(made: Path, tmp_path: Path) -> None:
    some = random.Random(7).sample(sorted((made / "bundles").iterdir()), PLAYED)
    with local_fleets.running([made / "bundles"], tmp_path / "state") as fleet:
        assert len(fleet.status()["scenarios"]) == MADE
        played = list(played_fleets.play(fleet, [reading.read(path) for path in some]))
    assert len(played) == 10 * PLAYED
    assert [each for each in played if each.outcome != "completed"] == []


def test_the_files_of_a_run_come_in_again_with_the_same_digests(made: Path, tmp_path: Path) -> None:
    subprocess.run([AWM, "bundle", "import", made, "--out", tmp_path, "--json"], check=True, capture_output=True)
    for path in sorted((made / "bundles").iterdir()):
        assert digest.digest(tmp_path / path.name) == digest.digest(path)


def test_twenty_that_are_exported_come_in_again_with_the_same_digests(made: Path, tmp_path: Path) -> None:
    paths = sorted((made / "bundles").iterdir())[:SERVED]
    for path in paths:
        shutil.copytree(path, tmp_path / "bundles" / path.name)
    for command in (
        ["export", tmp_path / "bundles", "--out", tmp_path / "files"],
        ["import", tmp_path / "files", "--out", tmp_path / "again"],
    ):
        subprocess.run([AWM, "bundle", *command, "--json"], check=True, capture_output=True)
    again = {path.name: digest.digest(path) for path in (tmp_path / "again").iterdir()}
    assert again == {path.name: digest.digest(path) for path in paths}


def test_twenty_answer_over_http_without_our_runtime(made: Path, tmp_path: Path) -> None:
    paths = sorted((made / "bundles").iterdir())[:SERVED]
    with futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        users = dict(zip(paths, pool.map(lambda path: _user_of_plain_server(path, tmp_path), paths), strict=True))
    assert len(users) == SERVED
    assert set(users.values()) == {1}


def _user_of_plain_server(path: Path, folder: Path) -> int:
    """The id of the signed-in user, as the scenario's own code says it under plain uvicorn."""
    bundle = reading.read(path)
    seed = folder / f"{path.name}.db"
    assert not database.build(bundle.schema_sql, bundle.seed_sql, bundle.clock, seed, "on").failures
    port = _free_port()
    variables = {
        "DATABASE_PATH": f"sqlite:///{seed}",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "PATH": os.environ["PATH"],
        "AWM_TEST_RUN": os.environ["AWM_TEST_RUN"],
    }
    server = subprocess.Popen(
        [sys.executable, path / "environment.py"], env=variables, stderr=subprocess.PIPE, text=True
    )
    try:
        assert server.stderr is not None
        assert any("Uvicorn running" in line for line in server.stderr)
        me = next(endpoint for endpoint in _endpoints(bundle.spec) if endpoint["path"].endswith("/me"))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{me['path']}", timeout=WAIT_S) as reply:
            return int(json.load(reply)["id"])
    finally:
        server.terminate()
        server.communicate(timeout=WAIT_S)


def test_the_page_leads_to_gold_scenarios(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "blueprints.md").read_text("utf-8")
    file = tmp_path / "tool_library.yaml"
    file.write_text("".join(re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)), "utf-8")
    checked = subprocess.run([AWM, "gen", "check", file], capture_output=True, text=True, check=True)
    assert "ok, 5 entities" in checked.stdout
    out = tmp_path / "out"
    command = [
        AWM,
        "gen",
        "all",
        "--provider",
        "builtin",
        "--blueprint",
        file,
        "--target_count",
        "2",
        "--output_dir",
        out,
    ]
    subprocess.run(command, check=True, capture_output=True)
    gated = subprocess.run([AWM, "gate", out / "bundles", "--json"], capture_output=True, text=True, check=False)
    assert [bundle["tier"] for bundle in json.loads(gated.stdout)["bundles"]] == ["gold", "gold"]


@pytest.mark.parametrize("version", VERSIONS)
def test_another_python_makes_the_same_bundles(
    version: str, made: Path, tmp_path: Path, other_python: Callable[[str], Path]
) -> None:
    paths = sorted((made / "bundles").iterdir())[::3]
    command = [other_python(version), "-c", MAKING, str(MADE), tmp_path, *(path.name for path in paths)]
    subprocess.run(command, check=True, capture_output=True)
    for path in paths:
        assert digest.digest(tmp_path / path.name) == digest.digest(path)


def _family(path: Path) -> str:
    return re.split("[:+]", reading.read(path).scenario.provenance.source)[1]


def _endpoints(spec: object) -> list[dict[str, str]]:
    assert isinstance(spec, dict)
    return [endpoint for group in spec["api_groups"] for endpoint in group["endpoints"]]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
