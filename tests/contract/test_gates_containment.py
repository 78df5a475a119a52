"""Code that loops, forks, fills memory or disk, or lies is contained, reported, and the next bundle is examined."""

import mmap
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import bundles
import instances
import psutil
import pytest

from awm_fleet import examples
from awm_generator.gates import examination, running, worker
from awm_runtime.bundle import model, reading, statements
from awm_runtime.verification import sandbox

APP = """
from fastapi import FastAPI
from sqlalchemy import create_engine, text

engine = create_engine("sqlite:///x.db")
app = FastAPI()

@app.get("/items", operation_id="list_items")
def list_items():
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(text("SELECT * FROM items")).mappings()]
"""
HANDLER = '@app.get("/odd", operation_id="get_odd")\ndef get_odd():\n    {}\n'
TOOLS = tuple(
    {
        "name": name,
        "description": name.replace("_", " ").title(),
        "inputSchema": {"type": "object", "properties": {}, "additionalProperties": False},
        "annotations": {"readOnlyHint": True, "openWorldHint": False},
    }
    for name in ("list_items", "get_odd")
)
ESCAPE = "import uvicorn\n"  # what it has imported itself is there for whoever looks
HANG = "import re\n\n" + APP + HANDLER.format('re.fullmatch("(a+)+", "a" * 60 + "!")')


@pytest.fixture(scope="module")
def judge() -> Iterator[sandbox.LocalJudge]:
    with sandbox.local_judge() as running_judge:
        yield running_judge


def bundle(folder: Path, code: str, **scenario: object) -> model.Bundle:
    return reading.read(bundles.make(folder, code, tools=TOOLS, **scenario))


def defects(report: object) -> dict[str, str]:
    return {each.gate: f"{each.subject}: {each.detail}" for each in report.defects}  # type: ignore[attr-defined]


def patient(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Makes every phase shorter, for the tests' sake."""
    monkeypatch.setattr(worker, "PHASE_S", dict.fromkeys(worker.PHASE_S, seconds))


def test_a_loop_at_import_is_ended_at_its_deadline(
    tmp_path: Path, judge: sandbox.LocalJudge, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(monkeypatch, 2)
    report = worker.gate(bundle(tmp_path / "shop", "while True:\n    pass\n"), "semantic", judge)
    assert report.tier == "quarantined"
    assert "static.loads" in defects(report)
    assert "load phase was not over after 2 s" in defects(report)["static.loads"]


def test_a_regular_expression_that_holds_the_process_is_named_by_its_tool(
    tmp_path: Path, judge: sandbox.LocalJudge, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(monkeypatch, 4)
    report = worker.gate(bundle(tmp_path / "shop", HANG), "semantic", judge)
    assert report.tier == "quarantined"
    assert defects(report)["runtime.survives"].startswith("get_odd: its runtime phase was not over after 4 s")
    assert report.states["static.sql"] == "passed"  # what was found before is not lost
    assert report.states["semantic.oracle"] == "not run"


def test_code_that_exits_in_a_call_is_named_by_its_tool(tmp_path: Path, judge: sandbox.LocalJudge) -> None:
    code = ESCAPE + APP + HANDLER.format("uvicorn.main.__dict__; uvicorn.server.os._exit(3)")
    report = worker.gate(bundle(tmp_path / "shop", code), "runtime", judge)
    assert report.tier == "quarantined"
    assert "the process ended (exit status 3) in a call of get_odd" in defects(report)["runtime.survives"]


def test_a_bomb_of_processes_stays_one_process(tmp_path: Path, judge: sandbox.LocalJudge) -> None:
    code = ESCAPE + APP + HANDLER.format("return [uvicorn.server.os.fork() for _ in range(8)]")
    report = worker.gate(bundle(tmp_path / "shop", code), "runtime", judge)
    assert defects(report)["runtime.server-errors"] == "get_odd: it answered 500"
    assert "Operation not permitted" in report.of("runtime.server-errors")[0].evidence["raised"]


def test_processes_that_code_leaves_behind_are_ended_with_it(
    tmp_path: Path, judge: sandbox.LocalJudge, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(monkeypatch, 6)
    loop = "[uvicorn.server.os.fork() for _ in range(3)]\n    while True:\n        pass"
    code = ESCAPE + APP + HANDLER.format(loop)
    report = worker.gate(bundle(tmp_path / "shop", code, isolation="process"), "runtime", judge)
    assert report.tier == "quarantined"
    # Killed, but the kernel takes its time.
    instances.wait_for(lambda: not any(_is_forked_from_here(each) for each in psutil.process_iter()))


def _is_forked_from_here(process: psutil.Process) -> bool:
    try:
        forked = process.cmdline() == psutil.Process().cmdline() and process.pid != os.getpid()
        return forked and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_code_that_takes_all_memory_gets_an_error(
    tmp_path: Path, judge: sandbox.LocalJudge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examination, "MEMORY_BYTES", 256 << 20)
    code = APP + HANDLER.format("return len('x' * (1 << 29))")
    with mmap.mmap(-1, 4 << 30):  # what the examiner holds itself does not count
        report = worker.gate(bundle(tmp_path / "shop", code), "runtime", judge)
    assert "MemoryError" in report.of("runtime.server-errors")[0].evidence["raised"]


def test_code_that_fills_the_disk_is_ended(
    tmp_path: Path, judge: sandbox.LocalJudge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "DISK_BYTES", 32 << 20)
    write = 'logging.FileHandler(str(n % 500)).stream.write("x" * (1 << 20))'
    fill = f"n = 0\n    while True:\n        n += 1\n        {write}"
    report = worker.gate(bundle(tmp_path / "shop", f"import logging\n{APP}{HANDLER.format(fill)}"), "runtime", judge)
    assert report.tier == "quarantined"
    assert defects(report)["runtime.survives"] == "get_odd: it wrote more than 32 MiB in a call of get_odd"


def test_a_seed_that_does_not_end_fails_by_its_steps(
    tmp_path: Path, judge: sandbox.LocalJudge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "MAX_TICKS", 10)
    numbers = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c"
    seed = f"INSERT INTO items SELECT n, 'x' FROM ({numbers});"
    report = worker.gate(bundle(tmp_path / "shop", APP, seed=seed), "static", judge)
    assert defects(report) == {"static.sql": "seed.sql: statement 0 (items): took too long"}


def test_a_seed_that_takes_too_long_is_ended_at_its_deadline(
    tmp_path: Path, judge: sandbox.LocalJudge, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(monkeypatch, 2)
    numbers = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n, '' FROM c"
    report = worker.gate(bundle(tmp_path / "shop", APP, seed=f"INSERT INTO items {numbers};"), "static", judge)
    assert defects(report) == {"static.sql": "seed.sql: its build phase was not over after 2 s"}


def test_code_cannot_read_its_bundle(tmp_path: Path, judge: sandbox.LocalJudge) -> None:
    where = str(tmp_path / "shop" / "tasks.jsonl")
    code = ESCAPE + APP + HANDLER.format(f"return uvicorn.server.os.open({where!r}, 0)")
    report = worker.gate(bundle(tmp_path / "shop", code), "runtime", judge)
    assert f"Permission denied: '{where}'" in report.of("runtime.server-errors")[0].evidence["raised"]


def test_what_code_writes_into_the_report_pipe_is_not_believed(tmp_path: Path, judge: sandbox.LocalJudge) -> None:
    forged = b'{"gate": "static.code", "defects": "none"}\nnonsense\n{"trial": {"state": "../../x"}}\n'
    write = f"[uvicorn.server.os.write(n, {forged!r}) for n in range(3, 99)]"
    code = ESCAPE + APP + HANDLER.format(f"try:\n        {write}\n    except OSError:\n        pass\n    return []")
    report = worker.gate(bundle(tmp_path / "shop", code), "runtime", judge)
    assert report.states == {
        **report.states,
        "static.sql": "passed",
        "static.code": "passed",
        "runtime.start": "passed",
    }


def test_code_does_not_gain_time_by_saying_that_it_gets_on(
    tmp_path: Path, judge: sandbox.LocalJudge, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(monkeypatch, 3)
    says = b"".join(b'{"phase": "%s"}\n' % phase for phase in (b"runtime", b"load", b"static"))
    loop = "import time\nwhile True:\n    time.sleep(0.1)\n    for n in range(3, 99):\n        try:\n"
    code = (
        f"{ESCAPE}{loop}            uvicorn.server.os.write(n, {says!r})\n        except OSError:\n            pass\n"
    )
    report = worker.gate(bundle(tmp_path / "shop", code), "runtime", judge)
    assert "runtime phase was not over after 3 s" in defects(report)["runtime.survives"]


def test_the_next_bundle_is_gated_after_a_hostile_one_and_a_broken_one(tmp_path: Path) -> None:
    bundles.make(tmp_path / "exits", ESCAPE + APP + HANDLER.format("uvicorn.server.os._exit(3)"), tools=TOOLS)
    bundles.make(tmp_path / "broken", APP, tools=TOOLS)
    (tmp_path / "broken" / "tools.json").write_text("{", encoding="utf-8")
    clean = Path(shutil.copytree(examples.path("library"), tmp_path / "library"))
    done = list(running.run([tmp_path / "exits", tmp_path / "broken", clean], level="runtime", jobs=1))
    assert [each.report and each.report.tier for each in done] == ["quarantined", None, "bronze"]
    assert "broken JSON" in (done[1].error or "")
