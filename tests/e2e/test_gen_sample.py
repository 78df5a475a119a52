"""Files of the public pipeline feed each of our stages, and a scenario of theirs gets its next generation."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import doubles
import generating
import pytest

from awm_generator.awm_files import importing, rows
from awm_generator.gates import running
from awm_runtime.bundle import reading


@pytest.fixture(scope="module")
def double(sample: Path) -> Iterator[doubles.Double]:
    with doubles.running(sample) as running:
        yield running


UNGATED = ("--gate_level", "none")
"""Half of the sample's operations answer trivial probes with 5xx: gates would send their code back."""

STAGES = {
    "task": ("--input", "sample/gen_scenario.jsonl"),
    "db": ("--input", "sample/gen_tasks.jsonl", "--error_threshold", "0.1"),
    "sample": ("--input_task", "sample/gen_tasks.jsonl", "--input_db", "sample/gen_db.jsonl"),
    "spec": ("--input_task", "sample/gen_tasks.jsonl", "--input_db", "sample/gen_db.jsonl"),
    "env": ("--input_spec", "sample/gen_spec.jsonl", "--input_db", "sample/gen_db.jsonl", *UNGATED),
    "verifier": ("--input_task", "sample/gen_tasks.jsonl", "--mode", "code", "--allowed_scenarios", "Rover"),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_works_from_files_of_the_public_pipeline(
    stage: str, double: doubles.Double, sample: Path, tmp_path: Path
) -> None:
    (tmp_path / "sample").symlink_to(sample)
    if stage == "verifier":  # it works on the databases that the stages before have made
        generating.gen(tmp_path, "db", *STAGES["db"], double=double)
        threshold = ("--error_threshold", "1", "--max_retry", "0")
        generating.gen(tmp_path, "sample", *STAGES["sample"], *threshold, double=double)
    done = generating.gen(tmp_path, stage, *STAGES[stage], "--max_retry", "1", "--json", double=double)
    assert done.returncode in (0, 3), done.stderr
    [summary] = json.loads(done.stdout)["stages"]
    # Their seeds read the clock or break keys, which ours may not: those are said to be so, and quarantined.
    left_out = json.loads(done.stdout)["quarantined"]
    assert summary["done"] + len(left_out) == (1 if stage == "verifier" else 4)
    assert all(each["reason"] for each in left_out)
    if stage != "sample":
        assert summary["done"] >= 1


ORACLES = {
    0: [
        {
            "tool": "create_pet",
            "arguments": {
                "name": "Milo",
                "species": "dog",
                "breed": "Golden Retriever",
                "sex": "male",
                "age_years": 3,
                "behavior_notes": "friendly with dogs, nervous around fireworks",
                "emergency_contact_name": "Sara Kim",
                "emergency_contact_phone": "+1-415-555-0139",
            },
            "save": "pet",
        },
        *(
            {
                "tool": "create_pet_vaccination",
                "arguments": {"pet_id": {"$from": "pet.id"}, "vaccine_type": vaccine, "administered_on": day},
            }
            for vaccine, day in (("rabies", "2025-01-10"), ("dhpp", "2024-11-02"))
        ),
    ],
    3: [
        {
            "tool": "send_message",
            "arguments": {
                "thread_code": "MSG-70001",
                "body": "Can you confirm you\u2019re comfortable administering an oral flea tablet after the walk "
                "if I leave it on the counter?",
            },
        }
    ],
}
"""Calls that solve two of Rover's tasks."""


def test_tasks_of_the_sample_are_proven_by_the_oracle_stage(
    double: doubles.Double, sample: Path, tmp_path: Path
) -> None:
    (tmp_path / "outputs").mkdir()
    for file in sample.glob("gen_*.jsonl"):
        (tmp_path / "outputs" / file.name).symlink_to(file)
    for number, calls in ORACLES.items():
        text = json.dumps({"calls": calls, "answer": None})
        double.cue("reply", job="oracle", scenario="Rover", number=number, times=1, text=text)
    words = ("--input_verifier", str(sample / "gen_verifier.jsonl"), "--allowed_scenarios", "Rover", *UNGATED)
    done = generating.gen(tmp_path, "oracle", *words, "--max_retry", "0", double=double)
    assert done.returncode == 3, done.stderr  # no script has calls for the other tasks
    found = rows.load(tmp_path / "outputs")["rover"]
    solved = found.row(rows.OracleRow)
    assert solved is not None
    assert [each.task_idx for each in solved.oracles] == [0, 3]
    imported = importing.import_one(found, tmp_path / "bundles").bundle
    assert imported is not None
    gated = {each.name: each for each in running.run([imported.root])}["rover"].report
    assert gated is not None
    unproven = {defect.subject for defect in gated.of("semantic.oracle")}
    assert unproven == {task.id for task in imported.tasks} - {"0", "3"}


def test_regenerating_rover_from_its_code_runs_the_later_stages_only(
    double: doubles.Double, sample: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "outputs"
    shutil.copytree(sample, folder)
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    asked = double.stats()["jobs"]
    words = ("regenerate", "Rover", "--from", "env", "--feedback", "Refuse walks in the past.", "--max_retry", "1")
    done = generating.gen(tmp_path, *words, "--gate_level", "none", double=double)
    assert done.returncode == 0, done.stderr
    now = double.stats()["jobs"]
    new = {job for job, count in now.items() if count > asked.get(job, 0)}
    assert new == {"env", "verifier_code", "oracle"}
    bundle = reading.read(folder / "bundles" / "rover")
    assert bundle.scenario.generation == 2
    assert bundle.scenario.title == "Rover"
    unchanged = ("gen_scenario.jsonl", "gen_tasks.jsonl", "gen_db.jsonl", "gen_sample.jsonl", "gen_spec.jsonl")
    assert {name: (folder / name).read_bytes() for name in unchanged} == {name: before[name] for name in unchanged}
    written = [json.loads(line) for line in (folder / "gen_envs.jsonl").read_text().splitlines()]
    assert len(written) == 4
    assert not (folder / ".awm" / "next" / "rover").exists()


def test_a_generation_that_does_not_hold_leaves_the_old_one(sample: Path, tmp_path: Path) -> None:
    folder = tmp_path / "outputs"
    shutil.copytree(sample, folder)
    folder.chmod(0o755)
    before = (folder / "gen_envs.jsonl").read_bytes()
    with doubles.running(sample) as double:
        double.cue("reply", job="env", times=50, text="```python\nraise SystemExit(1)\n```")
        done = generating.gen(tmp_path, "regenerate", "Rover", "--from", "env", "--max_retry", "1", double=double)
    assert done.returncode == 1
    assert "the env stage made nothing that holds" in done.stderr
    assert "the old generation stays" in done.stderr
    assert (folder / "gen_envs.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("regenerate", "Nobody", "--from", "env"), "no row of nobody, from which the env stage works"),
        (("regenerate", "Rover", "--from", "end"), "no stage 'end'; there are task, db"),
    ],
)
def test_what_cannot_be_regenerated_is_said(
    words: tuple[str, ...], said: str, double: doubles.Double, sample: Path, tmp_path: Path
) -> None:
    shutil.copytree(sample, tmp_path / "outputs")
    (tmp_path / "outputs").chmod(0o755)
    done = generating.gen(tmp_path, *words, double=double)
    assert done.returncode in (1, 2)
    assert said in done.stderr
