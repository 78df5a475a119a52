import json
from pathlib import Path

import pytest

from awm_generator.awm_files import importing, rows
from awm_runtime import errors

ENV = {"scenario": "Pet Shop", "full_code": "app = None"}
DB = {"scenario": "pet_shop", "db_schema": {"tables": []}}


def write(folder: Path, **files: list[dict[str, object]] | str) -> Path:
    for name, content in ({"gen_envs": [ENV], "gen_db": [DB]} | files).items():
        text = content if isinstance(content, str) else "".join(f"{json.dumps(row)}\n" for row in content)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return folder


def test_rows_are_joined_on_the_normalised_name(tmp_path: Path) -> None:
    tasks = [{"scenario": "PET  SHOP!", "tasks": ["Feed Milo."]}]
    verifier = [{"scenario": "pet_shop", "task_idx": 0, "verification": {"code": ""}}]
    found = rows.load(write(tmp_path, gen_tasks=tasks, gen_verifier=verifier))
    originals = found["pet_shop"]
    assert list(found) == ["pet_shop"]
    assert originals.title == "Pet Shop"
    assert originals.row(rows.TasksRow).tasks == ("Feed Milo.",)
    assert len(originals.verifiers) == 1


def test_the_last_of_several_rows_counts_and_the_file_is_remembered(tmp_path: Path) -> None:
    found = rows.load(write(tmp_path, gen_envs=[ENV, ENV | {"full_code": "app = 2"}]))
    assert found["pet_shop"].row(rows.EnvRow).full_code == "app = 2"
    assert found["pet_shop"].repeated == ["gen_envs.jsonl"]


def test_a_line_separator_within_a_text_ends_no_line(tmp_path: Path) -> None:
    text = json.dumps(ENV | {"full_code": "a\u2028b"}, ensure_ascii=False) + "\n\n"
    assert rows.load(write(tmp_path, gen_envs=text))["pet_shop"].row(rows.EnvRow).full_code == "a\u2028b"


@pytest.mark.parametrize("file", rows.REQUIRED)
def test_a_missing_file_is_named(tmp_path: Path, file: str) -> None:
    (write(tmp_path) / file).unlink()
    with pytest.raises(errors.BundleError, match=rf"{file}: missing"):
        rows.load(tmp_path)


def test_files_may_be_few_and_have_other_names(tmp_path: Path) -> None:
    schemas = (write(tmp_path) / "gen_db.jsonl").rename(tmp_path / "schemas.jsonl")
    assert list(rows.join({"gen_db.jsonl": schemas})) == ["pet_shop"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.BundleError, match="no such folder"):
        rows.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"scenario": "x", "full', r"gen_envs\.jsonl:2: broken JSON: .* \(column 19\)"),
        ('{"full_code": ""}', r"gen_envs\.jsonl:2: scenario: missing"),
        ('{"scenario": 1, "full_code": ""}', r"gen_envs\.jsonl:2: scenario: missing, or no text"),
        ("[]", r"gen_envs\.jsonl:2: the row: "),
        ('{"scenario": "!", "full_code": ""}', r"gen_envs\.jsonl:2: scenario: '!' has no letter"),
        ('{"scenario": "x", "full_code": "", "a": "\\ud800"}', r"gen_envs\.jsonl:2: holds half of a surrogate"),
        ("[" * 100_000, r"gen_envs\.jsonl:2: JSON nested too deeply"),
    ],
)
def test_a_broken_line_is_named_with_file_and_line(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(errors.BundleError, match=message):
        rows.load(write(tmp_path, gen_envs=f"{json.dumps(ENV)}\n{line}\n"))


def test_bytes_that_are_no_text_are_named_with_file_and_line(tmp_path: Path) -> None:
    (write(tmp_path) / "gen_envs.jsonl").write_bytes(b'\n{"a": "\xff"}\n')
    with pytest.raises(errors.BundleError, match=r"gen_envs\.jsonl:2: not UTF-8 text"):
        rows.load(tmp_path)


def test_scenarios_are_selected_in_any_spelling(tmp_path: Path) -> None:
    other = [ENV, ENV | {"scenario": "Zoo"}]
    found = rows.load(write(tmp_path, gen_envs=other))
    assert [originals.name for originals in importing.select(found, [])] == ["pet_shop", "zoo"]
    assert [originals.name for originals in importing.select(found, ["Pet Shop"])] == ["pet_shop"]


def test_an_unknown_scenario_is_answered_with_close_names(tmp_path: Path) -> None:
    with pytest.raises(errors.BundleError, match=r"no scenario 'petshop'; did you mean pet_shop\?"):
        importing.select(rows.load(write(tmp_path)), ["petshop"])
    with pytest.raises(errors.BundleError, match="no scenario 'qqq'; there are: pet_shop"):
        importing.select(rows.load(write(tmp_path)), ["qqq"])


def test_rows_about_nothing_are_not_selected(tmp_path: Path) -> None:
    found = rows.load(write(tmp_path, gen_scenario=[{"name": "Ghost", "description": ""}]))
    assert not found["ghost"].exists
    assert [originals.name for originals in importing.select(found, [])] == ["pet_shop"]
