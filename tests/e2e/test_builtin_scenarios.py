"""Scenarios of the built-in generator as their users have them: files out and in, plain uvicorn, the page."""

import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from awm_generator.builtin import reading as blueprints
from awm_generator.builtin import running
from awm_runtime.bundle import database, digest, reading

ROOT = Path(__file__).resolve().parents[2]
AWM = Path(sys.executable).with_name("awm")
WAIT_S = 60


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with a scenario of every shipped blueprint."""
    out = tmp_path_factory.mktemp("made")
    count = str(len(blueprints.shipped_blueprints()))
    command = [AWM, "gen", "all", "--provider", "builtin", "--target_count", count, "--seed", "7", "--output_dir", out]
    subprocess.run([*command, "--json"], check=True, capture_output=True)
    return out


def test_the_files_of_a_run_come_in_again_with_the_same_digests(made: Path, tmp_path: Path) -> None:
    subprocess.run([AWM, "bundle", "import", made, "--out", tmp_path, "--json"], check=True, capture_output=True)
    for path in sorted((made / "bundles").iterdir()):
        assert digest.digest(tmp_path / path.name) == digest.digest(path)


def test_the_code_answers_over_http_without_our_runtime(made: Path, tmp_path: Path) -> None:
    for path in sorted((made / "bundles").iterdir()):
        bundle = reading.read(path)
        seed = tmp_path / f"{path.name}.db"
        assert not database.build(bundle.schema_sql, bundle.seed_sql, bundle.clock, seed, "on").failures
        port = _free_port()
        variables = {
            "DATABASE_PATH": f"sqlite:///{seed}",
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "PATH": os.environ["PATH"],
        }
        server = subprocess.Popen(
            [sys.executable, path / "environment.py"], env=variables, stderr=subprocess.PIPE, text=True
        )
        try:
            assert server.stderr is not None
            assert any("Uvicorn running" in line for line in server.stderr)
            me = next(endpoint for endpoint in _endpoints(bundle.spec) if endpoint["path"].endswith("/me"))
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{me['path']}", timeout=WAIT_S) as reply:
                assert json.load(reply)["id"] == 1
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
    count = len(running.blueprints())
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
