"""A run that is killed in every stage, and goes on each time: the same files, and no reply asked for twice."""

from pathlib import Path

import doubles
import generating

SEEDS = "Larch Street Library\nClinic\nMarket Stall\n"
ALL = (
    "all",
    "--input",
    "seeds.txt",
    "--output_dir",
    "out",
    "--target_count",
    "3",
    "--num_tasks",
    "2",
    "--gate_level",
    "none",
)
STAGES = ("classify", "task", "db", "sample", "spec", "env", "verifier_code", "oracle")


def prepared(folder: Path) -> Path:
    folder.mkdir()
    (folder / "seeds.txt").write_text(SEEDS)
    return folder


def test_killed_in_each_stage_a_run_ends_with_the_same_files_and_asks_nothing_twice(tmp_path: Path) -> None:
    whole, killed = prepared(tmp_path / "whole"), prepared(tmp_path / "killed")
    with doubles.running() as double:
        done = generating.gen(whole, *ALL, double=double)
        assert done.returncode == 0, done.stderr
        asked = double.stats()["replies"]
    with doubles.running() as double:
        for stage in STAGES:
            double.cue("slow", job=stage, delay_s=200, skip=0 if stage == "classify" else 1)
            generating.killed(killed, *ALL, double=double)
        done = generating.gen(killed, *ALL, double=double)
        assert done.returncode == 0, done.stderr
        counted = double.stats()
    assert counted["faults"] == {"slow": len(STAGES)}
    assert counted["answered_again"] == 0
    assert counted["replies"] == asked
    assert generating.files(killed / "out") == generating.files(whole / "out")
    assert len(generating.files(whole / "out")) == 8 + 3


def test_growth_goes_on_after_a_kill(tmp_path: Path) -> None:
    whole, killed = prepared(tmp_path / "whole"), prepared(tmp_path / "killed")
    grow = ("scenario", "--input_path", "seeds.txt", "--output_path", "out/gen_scenario.jsonl", "--target_count", "40")
    rounds = ("--num_parallel_requests", "2", "--scenarios_per_request", "5")
    with doubles.running() as double:
        assert generating.gen(whole, *grow, *rounds, double=double).returncode == 0
        asked = double.stats()["replies"]
    with doubles.running() as double:
        for skipped in (1, 2):
            double.cue("slow", job="grow", delay_s=200, skip=skipped)
            generating.killed(killed, *grow, *rounds, double=double)
        done = generating.gen(killed, *grow, *rounds, double=double)
        assert done.returncode == 0, done.stderr
        counted = double.stats()
    assert (counted["answered_again"], counted["replies"]) == (0, asked)
    assert generating.files(killed / "out") == generating.files(whole / "out")
