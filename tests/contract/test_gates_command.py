"""`awm gate` and `awm bundle import --gate` as a person runs them."""

import json
import shutil
from pathlib import Path
from typing import Any

import bundles
import pytest
from typer import testing

from awm_fleet import examples
from awm_fleet.cli import main
from awm_generator import checking
from awm_generator.gates import reports, running
from awm_runtime.bundle import model, reading, writing

APP = """
from fastapi import FastAPI, HTTPException
from sqlalchemy import create_engine, text

engine = create_engine("sqlite:///x.db")
app = FastAPI()

@app.get("/items/{item_id}", operation_id="get_item")
def get_item(item_id: int):
    with engine.connect() as connection:
        row = connection.execute(text("SELECT * FROM items WHERE id = :id"), {"id": item_id}).mappings().first()
    if row is None:
        raise HTTPException(404, "There is no such item.")
    return dict(row)
"""
TASK = model.Task(id="look", instruction="What is item 1 called?", answer="first")
VERIFIER = "def verify_task_completion(a, b, answer=None):\n    return {'result': 'complete' if answer else 'others'}\n"


def run(*arguments: object) -> testing.Result:
    return testing.CliRunner().invoke(main.app, [str(argument) for argument in arguments])


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A bundle without an oracle."""
    folder = tmp_path / "bundles" / "shop"
    return bundles.make(folder, APP, tasks=[TASK], verifiers={("look", "code"): VERIFIER})


def test_a_bundle_earns_its_tier_and_keeps_its_identity(shop: Path, tmp_path: Path) -> None:
    before = reading.read(shop)
    result = run("gate", shop, "--cards", tmp_path / "cards")
    assert result.exit_code == 0, result.output
    after = reading.read(shop)
    assert after.scenario.tier == "silver"
    assert after.scenario.digest == before.scenario.digest
    assert checking.check(shop) == ()
    report = reports.kept(after, "semantic")
    assert report is not None
    assert report.failed == ["semantic.oracle"]
    assert "semantic.oracle" in result.stdout
    assert "look: it has no oracle" in result.stdout
    assert "semantic.oracle: look: it has no oracle" in run("bundle", "show", shop).stdout
    assert json.loads(run("bundle", "show", shop, "--json").stdout)["gates"]["tier"] == "silver"
    assert (tmp_path / "cards" / "shop.md").read_text(encoding="utf-8").startswith("# Shop: silver\n")


def test_a_gated_bundle_is_not_gated_again_until_something_changes(shop: Path) -> None:
    def tiers_and_reuse(*flags: str) -> list[tuple[str, bool]]:
        document = json.loads(run("gate", shop.parent, "--json", *flags).stdout)
        return [(each["tier"], each["reused"]) for each in document["bundles"]]

    assert tiers_and_reuse("--level", "runtime") == [("bronze", False)]
    assert tiers_and_reuse("--level", "static") == [("bronze", True)]
    assert tiers_and_reuse() == [("silver", False)]
    assert tiers_and_reuse() == [("silver", True)]
    assert tiers_and_reuse("--again") == [("silver", False)]
    (shop / "environment.py").write_text(f"{APP}\n# changed\n", encoding="utf-8")
    assert tiers_and_reuse() == [("silver", False)]


def test_json_has_the_counterexample_and_nothing_else_is_printed(shop: Path) -> None:
    code = APP.replace('raise HTTPException(404, "There is no such item.")', "return row.name")
    (shop / "environment.py").write_text(code, encoding="utf-8")
    document = json.loads(run("gate", shop, "--json").stdout)
    [bundle] = document["bundles"]
    assert bundle["tier"] == "bronze"
    [defect] = [each for each in bundle["report"]["defects"] if each["gate"] == "runtime.server-errors"]
    assert defect["evidence"]["request"] == 'get_item {"item_id": 999999}'
    assert "AttributeError: 'NoneType' object has no attribute 'name' (line 13)" in defect["evidence"]["raised"]
    assert bundle["report"]["facts"]["endpoints_with_5xx"] == ["GET /items/{item_id}"]


def test_a_quarantined_bundle_is_named_and_the_others_go_on(shop: Path) -> None:
    bundles.make(shop.parent / "broken", "import subprocess\n" + APP, tools=reading.read(shop).tools)
    result = run("gate", shop.parent)
    assert result.exit_code == 3
    assert "quarantined: broken: static.code: line 1: import of subprocess is not allowed" in result.stderr
    assert reading.read(shop.parent / "broken").scenario.tier == "quarantined"
    assert reading.read(shop).scenario.tier == "silver"


def test_what_cannot_be_read_is_an_error_that_names_the_file(shop: Path) -> None:
    (shop / "tasks.jsonl").write_text("{", encoding="utf-8")
    result = run("gate", shop)
    assert result.exit_code == 1
    assert "tasks.jsonl:1: broken JSON" in result.stderr


def test_a_folder_without_a_bundle_is_an_error(tmp_path: Path) -> None:
    result = run("gate", tmp_path)
    assert result.exit_code == 1
    assert "holds no bundle" in str(result.exception)


def test_a_report_that_cannot_be_written_is_said_and_shown_all_the_same(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(bundle: model.Bundle, path: Path) -> model.Bundle:
        raise writing.errors.BundleError(f"{path}: cannot be written: Read-only file system")

    monkeypatch.setattr(writing, "write", refuse)
    result = run("gate", shop, "--level", "static")
    assert result.exit_code == 3
    assert "its report could not be written" in result.stderr
    assert "bronze" in result.stdout


def test_a_run_that_was_stopped_goes_on_with_what_is_left(shop: Path) -> None:
    folders = [shop, *(Path(shutil.copytree(shop, shop.with_name(name))) for name in ("shop_2", "shop_3"))]
    begun = running.run(folders, level="static", jobs=1)
    next(begun)
    begun.close()  # type: ignore[attr-defined]
    done = list(running.run(folders, level="static", jobs=1))
    assert done[0].reused
    assert [each.report is not None for each in done] == [True, True, True]
    assert all(each.reused for each in running.run(folders, level="static", jobs=2))


def test_a_worker_that_was_killed_costs_its_bundle_only(shop: Path) -> None:
    worker = running.Worker()
    worker._process.kill()
    with pytest.raises(running.WorkerGone, match="shop ended with -9"):
        worker.gate(shop, "static")
    worker.close()


def files_of(folder: Path) -> Path:
    exported = folder / "files"
    shutil.copytree(examples.path("library"), folder / "bundles" / "library")
    assert run("bundle", "export", folder / "bundles", "--out", exported).exit_code == 0
    return exported


def test_an_import_can_be_gated_at_once(tmp_path: Path) -> None:
    files = files_of(tmp_path)
    result = run("bundle", "import", files, "--out", tmp_path / "out", "--gate", "--json")
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    assert [each["tier"] for each in document["gates"]] == ["gold"]
    assert [each["tier"] for each in document["scenarios"]] == ["gold"]
    assert reading.read(tmp_path / "out" / "library").scenario.tier == "gold"
