"""Ctrl-C in the middle of a run: a word about how to go on, and nothing left running."""

import signal
import subprocess
from pathlib import Path

import doubles
import generating
import instances
import psutil

ALL = ("all", "--input", "seeds.txt", "--target_count", "1", "--num_tasks", "2", "--gate_level", "none")


def test_ctrl_c_ends_a_run_and_its_instances(tmp_path: Path) -> None:
    (tmp_path / "seeds.txt").write_text("Clinic\n")
    with doubles.running() as double:
        double.cue("slow", job="oracle", delay_s=200)
        command = [generating.AWM, "gen", *ALL]
        with subprocess.Popen(
            command, cwd=tmp_path, env=generating.variables(double), stderr=subprocess.PIPE, text=True
        ) as run:
            instances.wait_for(lambda: double.stats()["waiting"] == 1, within_s=120)
            family = psutil.Process(run.pid).children(recursive=True)
            assert family
            run.send_signal(signal.SIGINT)
            _, said = run.communicate(timeout=60)
        assert run.returncode == 1
        assert "stopped; what is done is kept, and the same command goes on from there" in said
        assert "Traceback" not in said
        instances.wait_for(lambda: not any(each.is_running() and each.status() != "zombie" for each in family))
        done = generating.gen(tmp_path, *ALL, double=double)
        assert done.returncode == 0, done.stderr
        assert double.stats()["answered_again"] == 0
