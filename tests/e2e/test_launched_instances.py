"""An instance that is started beside a program, and the program's end."""

import subprocess
import sys
from pathlib import Path

import instances
import psutil

from awm_fleet import examples

PROGRAM = """
import sys, time
from pathlib import Path
from awm_runtime.server import launching

with launching.launched(Path(sys.argv[1]), Path(sys.argv[2]), dies_with_caller=True) as launched:
    print(launched.process.pid, flush=True)
    time.sleep(600)
"""


def test_an_instance_dies_with_a_caller_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(examples.path("library")), str(tmp_path / "state")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout is not None
        keeper = psutil.Process(int(caller.stdout.readline()))
        family = [keeper, *keeper.children(recursive=True)]
        assert len(family) >= 3
        caller.kill()
    instances.wait_for(lambda: not any(each.is_running() and each.status() != "zombie" for each in family))
