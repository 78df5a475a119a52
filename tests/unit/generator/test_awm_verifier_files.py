import json
from pathlib import Path
from typing import Any

import pytest

from awm_generator.awm_files import verifiers
from awm_runtime import errors

CODE = "def verify_task_completion(initial_db_path, final_db_path, final_answer=None): return {}  # %s\n"
SQL = "def verify_task(initial_db_path, final_db_path): return {}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    def row(scenario: str, task: int, code: str | None) -> dict[str, Any]:
        return {"scenario": scenario, "task_idx": task, "task": "", "verification": {"code": code}}

    written = tmp_path / "gen_verifier.jsonl"
    rows = [
        row("Pet Shop", 0, CODE % "first"),
        row("pet_shop", 0, CODE % "second"),
        row("pet_shop", 0, "broken ("),
        row("pet_shop", 1, SQL),
        row("Zoo", 4, None),
    ]
    written.write_text("".join(f"{json.dumps(each)}\n" for each in rows))
    return written


def test_the_last_usable_verifier_counts_under_any_spelling_of_the_name(file: Path) -> None:
    assert verifiers.in_file(file, "PET-SHOP", 0, "code") == CODE % "second"
    assert verifiers.in_file(file, "Pet Shop", 1, "sql") == SQL


@pytest.mark.parametrize(
    ("scenario", "task", "says"),
    [
        ("pet_shp", 0, "no verifiers for the scenario 'pet_shp'; did you mean pet_shop?"),
        ("qqq", 0, "no verifiers for the scenario 'qqq'; it has: pet_shop, zoo"),
        ("Pet Shop", 1, "no code mode verifier for task 1 of 'Pet Shop'; it has one in sql mode"),
        ("Pet Shop", 7, "no code mode verifier for task 7 of 'Pet Shop'; tasks with one: 0"),
        ("Zoo", 4, "no code mode verifier for task 4 of 'Zoo'; tasks with one: none"),
    ],
)
def test_what_a_file_lacks_is_said_with_what_it_has(file: Path, scenario: str, task: int, says: str) -> None:
    with pytest.raises(errors.BundleError) as caught:
        verifiers.in_file(file, scenario, task, "code")
    assert str(caught.value) == f"{file}: {says}"


def test_a_broken_line_is_named_with_its_number(file: Path) -> None:
    with file.open("a") as appended:
        appended.write('{"scenario": "Zoo", "task_idx"')
    with pytest.raises(errors.BundleError, match=r"gen_verifier\.jsonl:6: broken JSON"):
        verifiers.in_file(file, "Zoo", 4, "code")
