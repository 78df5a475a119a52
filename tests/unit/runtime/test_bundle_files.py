import dataclasses
import json
import tempfile
from pathlib import Path

import pytest
import strategies
from hypothesis import given, settings

from awm_runtime import errors
from awm_runtime.bundle import digest, model, reading, writing
from awm_runtime.determinism import clock


def small(root: Path) -> model.Bundle:
    return model.Bundle(
        root=root,
        scenario=model.Scenario(
            name="pets",
            title="Pets",
            clock=clock.parse("2026-01-15T09:00:00Z"),
            provenance=model.Provenance(source="test"),
        ),
        tasks=(model.Task(id="0", instruction="Adopt Milo."),),
        schema_sql="CREATE TABLE pets (id INTEGER PRIMARY KEY);\n",
        seed_sql="",
        environment="app = None\n",
        spec={},
        tools=({"name": "adopt", "inputSchema": {}},),
        verifiers={("0", "code"): "def verify_task_completion(a, b, c=None): ...\n"},
    )


@given(strategies.bundles())
@settings(max_examples=50)
def test_a_bundle_that_is_written_reads_as_it_was(bundle: model.Bundle) -> None:
    with tempfile.TemporaryDirectory() as folder:
        written = writing.write(bundle, Path(folder, "there"))
        assert reading.read(Path(folder, "there")) == written
        assert written.scenario.digest == digest.digest(bundle) == digest.digest(Path(folder, "there"))


def test_the_digest_does_not_change_with_derived_fields_report_and_originals(tmp_path: Path) -> None:
    bundle = small(tmp_path)
    counted = bundle.scenario.model_copy(
        update={"tier": "gold", "counts": model.Counts(tables=1, rows=2, tools=3, tasks=4), "digest": "sha256:0"}
    )
    report = model.Report(findings=(model.Finding(kind="a", stage="b", detail="c"),))
    gated = dataclasses.replace(bundle, scenario=counted, report=report, source={"gen_db.jsonl": "{}"})
    assert digest.digest(gated) == digest.digest(bundle)


def test_the_digest_does_not_change_when_json_is_laid_out_anew(tmp_path: Path) -> None:
    written = writing.write(small(tmp_path), tmp_path / "pets")
    for name in ("scenario.json", "tools.json", "spec.json"):
        content = json.loads((tmp_path / "pets" / name).read_text())
        (tmp_path / "pets" / name).write_text(json.dumps(content, sort_keys=True))
    assert digest.digest(tmp_path / "pets") == written.scenario.digest


@pytest.mark.parametrize(
    "change",
    [
        {"schema_sql": "CREATE TABLE pets (id INTEGER PRIMARY KEY);"},
        {"seed_sql": "INSERT INTO pets VALUES (1);"},
        {"environment": "app = 1\n"},
        {"spec": {"api_groups": []}},
        {"tools": ()},
        {"tasks": (model.Task(id="0", instruction="Adopt Rex."),)},
        {"verifiers": {}},
        {"verifiers": {("0", "sql"): "def verify_task_completion(a, b, c=None): ...\n"}},
    ],
)
def test_the_digest_changes_with_every_part_of_the_identity(tmp_path: Path, change: dict[str, object]) -> None:
    bundle = small(tmp_path)
    assert digest.digest(dataclasses.replace(bundle, **change)) != digest.digest(bundle)


def test_a_tool_list_has_the_same_hash_whatever_the_order_of_its_keys() -> None:
    one, other = {"name": "a", "inputSchema": {"x": 1, "y": 2}}, {"inputSchema": {"y": 2, "x": 1}, "name": "a"}
    assert digest.tools_hash([one]) == digest.tools_hash([other])
    assert digest.tools_hash([one]) != digest.tools_hash([one, other])


def test_writing_replaces_the_whole_bundle_that_was_there(tmp_path: Path) -> None:
    bundle = small(tmp_path)
    writing.write(bundle, tmp_path / "pets")
    writing.write(dataclasses.replace(bundle, verifiers={}), tmp_path / "pets")
    assert not (tmp_path / "pets" / "verifiers").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["pets"]


def test_writing_refuses_to_replace_what_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    with pytest.raises(errors.BundleError, match="exists and is not a bundle"):
        writing.write(small(tmp_path), tmp_path / "photos")
    assert (tmp_path / "photos" / "cat.jpg").exists()


def test_a_failed_write_leaves_the_old_bundle_and_nothing_else(tmp_path: Path) -> None:
    bundle = small(tmp_path)
    old = writing.write(bundle, tmp_path / "pets")
    with pytest.raises(UnicodeEncodeError):
        writing.write(dataclasses.replace(bundle, spec={"half": "\ud800"}), tmp_path / "pets")
    assert reading.read(tmp_path / "pets") == old
    assert [path.name for path in tmp_path.iterdir()] == ["pets"]


@pytest.mark.parametrize("name", ["../escape", "a/b", ".hidden", ""])
def test_no_original_can_be_named_out_of_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(errors.BundleError, match="not a plain file name"):
        dataclasses.replace(small(tmp_path), source={name: ""})


def test_no_verifier_can_be_of_a_task_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(errors.BundleError, match=r"no task '\.\./0'"):
        dataclasses.replace(small(tmp_path), verifiers={("../0", "code"): ""})


BROKEN = {
    "no schema": ("schema.sql", None, r"schema\.sql: missing"),
    "no tools": ("tools.json", None, r"tools\.json: missing"),
    "broken JSON": ("scenario.json", '{"format": ', r"scenario\.json: broken JSON.*line 1, column 12"),
    "too deep": ("spec.json", "[" * 100_000, r"spec\.json: JSON nested too deeply"),
    "not an object": ("spec.json", "[]", r"spec\.json: must be a JSON object"),
    "not text": ("environment.py", b"\xff", r"environment\.py: not UTF-8 text \(byte 0\)"),
    "a wrong field": ("scenario.json", '{"format": "awm-bundle/2"}', r"scenario\.json: format: "),
    "a broken task": ("tasks.jsonl", '{"id": "0", "instruction": "x"}\n\n{"id"', r"tasks\.jsonl:3: broken JSON"),
    "an unknown field": ("tasks.jsonl", '{"id": "0", "instruction": "x", "hint": 1}', r"tasks\.jsonl:1: hint: "),
    "a task twice": ("tasks.jsonl", '{"id": "0", "instruction": "x"}\n' * 2, r"tasks\.jsonl:2: id: '0' is"),
    "a task id that is a path": ("tasks.jsonl", '{"id": "../0", "instruction": "x"}', r"tasks\.jsonl:1: id: "),
    "a nameless tool": ("tools.json", "[{}]", r"tools\.json: 0\.name: "),
    "a stray verifier": ("verifiers/readme", "", r"verifiers/readme: verifiers are named"),
    "a verifier of no task": ("verifiers/9.code.py", "", r"verifiers/9\.code\.py: tasks\.jsonl has no task '9'"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_bundle_is_refused_with_file_and_field(tmp_path: Path, what: str) -> None:
    file, content, message = BROKEN[what]
    path = writing.write(small(tmp_path), tmp_path / "pets").root / file
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(errors.BundleError, match=message):
        reading.read(tmp_path / "pets")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.BundleError, match="no such folder"):
        reading.read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", "Rover", "write 'rover'"),
        ("clock", "2026-01-15", "write it like 2026-01-15T09:00:00Z"),
        ("generation", 0, "greater than or equal to 1"),
        ("tier", "platinum", "tier"),
    ],
)
def test_a_wrong_value_in_scenario_json_is_named(tmp_path: Path, field: str, value: object, message: str) -> None:
    path = writing.write(small(tmp_path), tmp_path / "pets").root / "scenario.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(errors.BundleError, match=message):
        reading.read(tmp_path / "pets")


def test_hand_written_bundles_need_no_specification_report_or_verifiers(tmp_path: Path) -> None:
    root = writing.write(dataclasses.replace(small(tmp_path), verifiers={}), tmp_path / "pets").root
    (root / "spec.json").unlink()
    (root / "report.json").unlink()
    bundle = reading.read(root)
    assert (bundle.spec, bundle.report, bundle.verifiers) == ({}, model.Report(), {})
    assert bundle.scenario.digest == digest.digest(bundle)
