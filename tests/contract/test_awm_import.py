"""Imports through real processes: the probe loads the code, the judge runs the verifiers."""

import json
from pathlib import Path

import pytest

from awm_generator import checking
from awm_generator.awm_files import exporting, importing, probing, rows
from awm_runtime.bundle import database, model, reading

ROOT = Path(__file__).resolve().parents[2]
APP = """
import os
from fastapi import FastAPI
from sqlalchemy import create_engine, text

engine = create_engine(os.environ["DATABASE_PATH"])
app = FastAPI()
visits = {}

@app.get("/pets", operation_id="list_pets")
async def list_pets():
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(text("SELECT * FROM pets")).mappings()]
"""
VERIFIER = (
    "def verify_task_completion(initial_db_path, final_db_path, final_answer=None):\n    return {{'result': {!r}}}\n"
)


def scenario(
    name: str, code: str, ddl: str = "CREATE TABLE pets (id INTEGER PRIMARY KEY, name TEXT);"
) -> dict[str, list]:
    verifiers = {
        0: VERIFIER.format("others"),
        1: VERIFIER.format("complete"),
        2: "def verify_task_completion(a, b): 1 / 0",
    }
    inserts = ["INSERT INTO pets VALUES (1, 'Milo');", "INSERT INTO pests VALUES (1);"]
    return {
        "gen_scenario": [{"name": name, "description": "Pets."}],
        "gen_tasks": [{"scenario": name, "tasks": ["Adopt Milo on 2026-03-05.", "Feed him.", "Walk him.", None]}],
        "gen_db": [{"scenario": name, "db_schema": {"tables": [{"name": "pets", "ddl": ddl, "indexes": []}]}}],
        "gen_sample": [
            {"scenario": name, "sample_data": {"tables": [{"table_name": "pets", "insert_statements": inserts}]}}
        ],
        "gen_envs": [{"scenario": name, "full_code": code}],
        "gen_verifier": [
            {"scenario": name, "task_idx": number, "verification": {"code": source}}
            for number, source in verifiers.items()
        ],
    }


def write(folder: Path, *scenarios: dict[str, list]) -> Path:
    folder.mkdir()
    for file in scenarios[0]:
        lines = [json.dumps(row) for each in scenarios for row in each[file]]
        (folder / f"{file}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def import_all(folder: Path, out: Path) -> dict[str, importing.Imported]:
    return {done.name: done for done in importing.run(importing.select(rows.load(folder), []), out)}


def kinds(bundle: model.Bundle) -> set[tuple[str, str, str]]:
    return {(finding.kind, finding.subject, finding.action) for finding in bundle.report.findings}


def test_an_import_brings_in_what_works_and_names_the_rest(tmp_path: Path) -> None:
    import_all(write(tmp_path / "in", scenario("Pet Shop", APP.replace("visits = {}", ""))), tmp_path / "out")
    bundle = reading.read(tmp_path / "out" / "pet_shop")
    assert (bundle.scenario.title, bundle.scenario.description, bundle.scenario.tier) == ("Pet Shop", "Pets.", "bronze")
    assert (bundle.scenario.foreign_keys, bundle.scenario.isolation) == ("off", "shared")
    assert bundle.scenario.model_dump(mode="json")["clock"] == "2026-03-05T09:00:00Z"
    assert bundle.scenario.counts == model.Counts(tables=1, rows=1, tools=1, tasks=3)
    assert [tool["name"] for tool in bundle.tools] == ["list_pets"]
    assert kinds(bundle) == {
        ("statement_failed", "pets", "dropped"),
        ("unusable_task", "3", "dropped"),
        ("missing_row", "gen_spec.jsonl", "noted"),
        ("complete_on_untouched", "1", "noted"),
        ("verifier_fails", "2", "noted"),
    }
    assert checking.check(bundle.root) == ()


def test_a_verifier_that_can_judge_nothing_is_dropped_and_one_that_raises_is_kept(tmp_path: Path) -> None:
    one = scenario("Shop", APP)
    one["gen_verifier"][0]["verification"]["code"] = "def verify_task_completion(a, b, c=None): return 7"
    one["gen_verifier"].append(
        {"scenario": "Shop", "task_idx": 0, "verification": {"code": "def verify_task(a, b): return {}"}}
    )
    one["gen_verifier"][1]["verification"]["code"] = "def verify_task_completion(a, b, c=None): return None"
    bundle = import_all(write(tmp_path / "in", one), tmp_path / "out")["shop"].bundle
    assert bundle.verifiers.keys() == {("0", "sql"), ("2", "code")}
    assert kinds(bundle) >= {
        ("verifier_fails", "0", "dropped"),
        ("verifier_fails", "1", "dropped"),
        ("verifier_fails", "2", "noted"),
        ("task_without_verifier", "1", "noted"),
    }
    assert ("task_without_verifier", "0", "noted") not in kinds(bundle)
    assert bundle.scenario.tier == "bronze"
    assert checking.check(bundle.root) == ()


def test_code_that_keeps_state_in_its_module_gets_a_process_per_episode(tmp_path: Path) -> None:
    code = APP.replace("    with engine", "    visits['all'] = 1\n    with engine")
    done = import_all(write(tmp_path / "in", scenario("Shop", code)), tmp_path / "out")
    assert done["shop"].bundle.scenario.isolation == "process"
    assert ("module_state", "environment.py", "noted") in kinds(done["shop"].bundle)


def test_a_row_of_another_shape_costs_its_scenario_that_row_only(tmp_path: Path) -> None:
    spoilt, headless = scenario("Shop", APP), scenario("Zoo", APP)
    spoilt["gen_verifier"].append({"scenario": "Shop", "task_idx": "first"})
    headless["gen_envs"] = [{"scenario": "Zoo", "full_code": None}]
    done = import_all(write(tmp_path / "in", spoilt, headless), tmp_path / "out")
    assert ("unusable_row", "gen_verifier.jsonl", "dropped") in kinds(done["shop"].bundle)
    assert done["shop"].bundle.scenario.tier == "bronze"
    assert done["zoo"].quarantined == "gen_envs.jsonl has no usable row for it"
    assert "line 2: full_code: " in done["zoo"].detail


UNSERVED = """
from collections.abc import Callable
from fastapi import Body, File, UploadFile
from pydantic import BaseModel

@app.get("/pets/{name}", operation_id="get_pet")
async def get_pet(name: str): ...

@app.get("/pets/oldest", operation_id="get_oldest")
async def get_oldest(): ...

@app.post("/pictures", operation_id="add_picture")
async def add_picture(picture: UploadFile = File()): ...

@app.post("/chips", operation_id="read_chip")
async def read_chip(chip: bytes = Body(media_type="application/octet-stream")): ...

class Job(BaseModel):
    work: Callable[[], int]

@app.post("/jobs", operation_id="add_job")
async def add_job(job: Job): ...
"""


def import_with(code: str, folder: Path) -> model.Bundle:
    """A scenario whose only defects are in `code`, which follows the app's own."""
    one = scenario("Shop", APP.replace("visits = {}", "") + code)
    one["gen_tasks"][0]["tasks"] = ["Adopt Milo."]
    one["gen_sample"][0]["sample_data"]["tables"][0]["insert_statements"].pop()
    one["gen_verifier"] = one["gen_verifier"][:1]
    return import_all(write(folder / "in", one), folder / "out")["shop"].bundle


def test_operations_that_are_no_tools_cap_the_tier(tmp_path: Path) -> None:
    bundle = import_with(UNSERVED, tmp_path)
    assert kinds(bundle) >= {
        ("shadowed_route", "tools", "dropped"),
        ("file_upload", "tools", "dropped"),
        ("unsupported_body", "tools", "dropped"),
        ("invalid_schema", "tools", "dropped"),
    }
    assert [tool["name"] for tool in bundle.tools] == ["list_pets", "get_pet"]
    assert bundle.scenario.tier == "bronze"


def test_a_tool_that_lost_a_detail_of_its_schema_is_noted_whatever_its_path_says(tmp_path: Path) -> None:
    extra = "{'parameters': [{'name': 'a', 'in': 'query', 'schema': {'pattern': '('}}]}"
    bundle = import_with(f"\napp.get('/not served', openapi_extra={extra})(lambda: None)\n", tmp_path)
    assert ("invalid_schema", "tools", "noted") in kinds(bundle)
    assert bundle.scenario.tier == "silver"


def test_a_mounted_app_was_never_a_tool(tmp_path: Path) -> None:
    bundle = import_with("\napp.mount('/files', FastAPI())\n", tmp_path)
    assert ("mounted_app", "tools", "noted") in kinds(bundle)
    assert bundle.scenario.tier == "silver"


@pytest.mark.parametrize(
    ("code", "ddl", "reason"),
    [
        ("raise RuntimeError('no')", "CREATE TABLE pets (id INTEGER);", "its code does not import"),
        ("import os\nos._exit(0)", "CREATE TABLE pets (id INTEGER);", "its code does not import"),
        (APP, "CREATE pets", "none of its tables can be made"),
    ],
)
def test_a_scenario_that_cannot_be_used_is_quarantined_and_the_others_come_in(
    tmp_path: Path, code: str, ddl: str, reason: str
) -> None:
    folder = write(tmp_path / "in", scenario("Bad", code, ddl), scenario("Good", APP))
    done = import_all(folder, tmp_path / "out")
    assert reason in done["bad"].quarantined
    assert done["good"].bundle is not None
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good"]


def test_code_that_never_finishes_importing_is_ended(tmp_path: Path) -> None:
    root = import_all(write(tmp_path / "in", scenario("Shop", APP)), tmp_path / "out")["shop"].bundle.root
    (root / "environment.py").write_text("while True:\n    pass\n", encoding="utf-8")
    probe = probing.probe(root, deadline_s=2)
    assert not probe.ok
    assert "did not finish loading within 2 s" in probe.error.reason


def test_an_import_of_an_export_has_the_same_digests_and_reports(tmp_path: Path) -> None:
    done = import_all(write(tmp_path / "in", scenario("Shop", APP)), tmp_path / "out")
    exporting.export([done["shop"].bundle], tmp_path / "export")
    again = import_all(tmp_path / "export", tmp_path / "again")
    assert again["shop"].bundle.scenario == done["shop"].bundle.scenario
    assert again["shop"].bundle.report == done["shop"].bundle.report


def test_an_export_that_was_edited_is_imported_anew_and_says_so(tmp_path: Path) -> None:
    done = import_all(write(tmp_path / "in", scenario("Shop", APP)), tmp_path / "out")
    exporting.export([done["shop"].bundle], tmp_path / "export")
    path = tmp_path / "export" / "gen_tasks.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("Feed", "Wash"), encoding="utf-8")
    again = import_all(tmp_path / "export", tmp_path / "again")["shop"].bundle
    assert again.tasks[1].instruction == "Wash him."
    assert ("stale_sidecar", rows.SIDECAR, "noted") in kinds(again)


def test_check_names_what_does_not_fit(tmp_path: Path) -> None:
    root = import_all(write(tmp_path / "in", scenario("Shop", APP)), tmp_path / "out")["shop"].bundle.root
    (root / "seed.sql").write_text("INSERT INTO pests VALUES (1);", encoding="utf-8")
    (root / "tools.json").write_text("[]", encoding="utf-8")
    (root / "verifiers" / "0.code.py").write_text("def verify(): ...", encoding="utf-8")
    (root / "verifiers" / "1.code.py").unlink()
    oracle = {"id": "0", "instruction": "Adopt Milo.", "oracle": {"calls": [{"tool": "adopt"}]}}
    (root / "tasks.jsonl").write_text(
        f'{json.dumps(oracle)}\n{{"id": "1", "instruction": "x"}}\n{{"id": "2", "instruction": "y"}}', encoding="utf-8"
    )
    starts = [slip[:35] for slip in checking.check(root)]
    assert starts == [
        "scenario.json: digest: says sha256:",
        "seed.sql: statement 0 (pests): no s",
        "scenario.json: counts: says tables=",
        "verifiers/0.code.py: is not Python ",
        "tasks.jsonl: task 1: has no verifie",
        "tasks.jsonl: task 0: oracle: call 1",
        "tools.json: the code serves other t",
    ]


@pytest.fixture(scope="module")
def imported(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, model.Bundle]:
    done = import_all(sample, tmp_path_factory.mktemp("sample"))
    return {name: each.bundle for name, each in done.items() if each.bundle}


SAMPLE = {
    "surveymonkey_apply": {("missing_parenthesis", "form_questions", "mended")},
    "etsy_digital_downloads": {("unescaped_apostrophe", "messages", "mended")},
    "rover": set(),
    "samsara_fleet_asset_maintenance_management": {
        ("complete_on_untouched", "2", "noted"),
        ("complete_on_untouched", "8", "noted"),
    },
}


@pytest.mark.parametrize("name", SAMPLE)
def test_the_samples_known_defects_are_named_and_nothing_is_dropped(
    imported: dict[str, model.Bundle], tmp_path: Path, name: str
) -> None:
    bundle = imported[name]
    assert kinds(bundle) >= SAMPLE[name]
    assert "dropped" not in {finding.action for finding in bundle.report.findings}
    assert len([key for key in bundle.verifiers if key[1] == "code"]) == len(bundle.tasks) == 10
    report = database.build(bundle.schema_sql, bundle.seed_sql, bundle.clock, tmp_path / "a.db", "off")
    assert (report.failures, report.violations) == ((), ())
    assert bundle.tools


def test_the_samples_mended_table_has_its_rows_and_indexes(imported: dict[str, model.Bundle], tmp_path: Path) -> None:
    bundle = imported["surveymonkey_apply"]
    report = database.build(bundle.schema_sql, bundle.seed_sql, bundle.clock, tmp_path / "a.db", "off")
    assert report.tables["form_questions"] == 8
    assert bundle.schema_sql.count("INDEX idx_form_questions_") == 2


def test_export_and_import_of_the_sample_keep_every_digest(imported: dict[str, model.Bundle], tmp_path: Path) -> None:
    exporting.export(imported.values(), tmp_path / "export")
    again = import_all(tmp_path / "export", tmp_path / "again")
    assert {name: each.bundle.scenario.digest for name, each in again.items()} == {
        name: bundle.scenario.digest for name, bundle in imported.items()
    }


EXAMPLES = sorted(path.parent for path in ROOT.glob("fleet/src/awm_fleet/examples/*/scenario.json"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_export_and_import_of_an_example_keep_its_digest(path: Path, tmp_path: Path) -> None:
    bundle = reading.read(path)
    exporting.export([bundle], tmp_path / "export")
    (again,) = import_all(tmp_path / "export", tmp_path / "again").values()
    assert again.bundle.scenario.digest == bundle.scenario.digest
    assert again.bundle.tasks == bundle.tasks
