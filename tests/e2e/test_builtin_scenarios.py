"""Scenarios of the built-in generator as their users have them: files out and in, plain uvicorn, the page."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from concurrent import futures
from pathlib import Path
from typing import Any

import pytest

from awm_generator.builtin import reading as blueprints
from awm_runtime.bundle import database, digest, reading

ROOT = Path(__file__).resolve().parents[2]
AWM = Path(sys.executable).with_name("awm")
WAIT_S = 60


FAMILIES = tuple(blueprints.shipped_blueprints())
SERVED = 20
AT_A_TIME = 3


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with a scenario of every shipped blueprint, and twenty at least."""
    out = tmp_path_factory.mktemp("made")
    count = str(max(SERVED, len(FAMILIES)))
    command = [AWM, "gen", "all", "--provider", "builtin", "--target_count", count, "--seed", "7", "--output_dir", out]
    subprocess.run([*command, "--json"], check=True, capture_output=True)
    return out


@pytest.fixture(scope="module")
def gated(made: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What all gates say of a scenario of each blueprint, by blueprint."""
    folder = tmp_path_factory.mktemp("gated")
    names: dict[str, str] = {}
    for path in sorted((made / "bundles").iterdir()):
        family = re.split("[:+]", reading.read(path).scenario.provenance.source)[1]
        if family not in names.values():
            names[path.name] = family
            shutil.copytree(path, folder / path.name)
    done = subprocess.run([AWM, "gate", folder, "--json"], capture_output=True, text=True, check=False)
    return {names[each["name"]]: each for each in json.loads(done.stdout)["bundles"]}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_scenario_of_every_blueprint_is_gold(family: str, gated: dict[str, dict[str, Any]]) -> None:
    assert gated[family]["tier"] == "gold", gated[family]


def test_the_files_of_a_run_come_in_again_with_the_same_digests(made: Path, tmp_path: Path) -> None:
    subprocess.run([AWM, "bundle", "import", made, "--out", tmp_path, "--json"], check=True, capture_output=True)
    for path in sorted((made / "bundles").iterdir()):
        assert digest.digest(tmp_path / path.name) == digest.digest(path)


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


def test_another_python_makes_the_same_bundles(made: Path, tmp_path: Path, python312: Path) -> None:
    command = "import sys\nfrom pathlib import Path\nfrom awm_generator.builtin import running\n"
    command += (
        "for order in running.plan(running.blueprints(), int(sys.argv[1]), 7): running.make(order, Path(sys.argv[2]))"
    )
    count = len(list((made / "bundles").iterdir()))
    subprocess.run([python312, "-c", command, str(count), tmp_path], check=True, capture_output=True)
    for path in sorted((made / "bundles").iterdir()):
        assert digest.digest(tmp_path / path.name) == digest.digest(path)


def _endpoints(spec: object) -> list[dict[str, str]]:
    assert isinstance(spec, dict)
    return [endpoint for group in spec["api_groups"] for endpoint in group["endpoints"]]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
