"""Scenario code that does not load is told apart and never takes the caller with it. Each probe is a real process."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import psutil
import pytest

from awm_runtime import errors
from awm_runtime.server import probe

GOOD = """
import os
from fastapi import FastAPI
from sqlalchemy import create_engine, text

print("noise on standard output")
engine = create_engine(os.environ["DATABASE_PATH"])
app = FastAPI()

@app.on_event("startup")
def seed():
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO items (name) VALUES ('from start-up')"))

@app.get("/items", summary="List items", operation_id="list_items")
def list_items(limit: int = 10) -> list[str]:
    return []

@app.get("/items/{name}", operation_id="get_item")
def get_item(name: str) -> str:
    return name

@app.get("/items/newest", operation_id="newest")
def newest() -> str:
    return ""
"""


def bundle(folder: Path, environment: str) -> Path:
    scenario = {"name": "shop", "title": "Shop", "clock": "2026-01-15T09:00:00Z", "provenance": {"source": "test"}}
    (folder / "scenario.json").write_text(json.dumps(scenario))
    (folder / "schema.sql").write_text("CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT);")
    (folder / "seed.sql").write_text("INSERT INTO items (name) VALUES ('seeded');")
    (folder / "environment.py").write_text(environment)
    return folder


def test_a_scenario_that_loads_gives_its_tools_and_findings(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    status = probe.main(["--bundle", str(bundle(tmp_path, GOOD))])
    printed: dict[str, Any] = json.loads(capfdbinary.readouterr().out)
    assert status == 0
    assert printed["ok"] is True
    assert printed["error"] is None
    assert [tool["name"] for tool in printed["tools"]] == ["list_items", "get_item"]
    assert [(finding["kind"], finding["served"]) for finding in printed["findings"]] == [("shadowed_route", False)]
    assert set(printed["isolation"]) == {"landlock_abi", "seccomp"}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("x = (", "its code is not Python: '(' was never closed (line 1)"),
        ("1 / 0", "its code raised ZeroDivisionError: division by zero (line 1)"),
        ("import nowhere", "its code raised ModuleNotFoundError: No module named 'nowhere' (line 1)"),
        ("import sys\nsys.exit(3)", "its code exits the process"),
        ("import os\nos._exit(0)", "its code ended the process while loading (exit status 0)"),
        ("import os\nos.abort()", "its code was ended by signal SIGABRT while loading"),
        ("x = 1", "it defines no FastAPI app"),
        (
            "import os\nos.write(1, b'noise' * 5000)\nos._exit(4)",
            "its code ended the process while loading (exit status 4)",
        ),
    ],
)
def test_code_that_does_not_load_is_told_apart(tmp_path: Path, code: str, reason: str) -> None:
    result = probe.probe(bundle(tmp_path, code))
    assert not result.ok
    assert result.error is not None
    assert result.error.reason == reason
    assert len(result.error.detail) < 10_000


@pytest.mark.parametrize("code", ["import socket\nsocket.socket()", "import os\nos.fork()", "open('/etc/passwd')"])
def test_code_that_reaches_out_at_import_is_refused(
    tmp_path: Path, code: str, missing: Callable[[str, str], NoReturn]
) -> None:
    result = probe.probe(bundle(tmp_path, code))
    if not (result.isolation.get("seccomp") and result.isolation.get("landlock_abi")):
        missing("landlock", "this kernel has no Landlock or seccomp")
    assert result.error is not None
    assert result.error.reason.startswith("its code raised PermissionError")


def test_code_that_loops_forever_is_ended_at_the_deadline(tmp_path: Path) -> None:
    ignoring = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: pass"
    before = psutil.Process().children(recursive=True)
    result = probe.probe(bundle(tmp_path, ignoring), deadline_s=4)
    assert result.error == probe.ProbeError("its code did not finish loading within 4 s")
    assert psutil.Process().children(recursive=True) == before


def test_a_bundle_without_code_is_a_bundle_error(tmp_path: Path) -> None:
    (bundle(tmp_path, "") / "environment.py").unlink()
    with pytest.raises(errors.BundleError, match=r"environment\.py"):
        probe.probe(tmp_path)
