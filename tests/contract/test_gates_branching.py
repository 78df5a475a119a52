"""A way that branches off another comes to what it comes to by itself, on the app of an example."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest

from awm_fleet import examples
from awm_runtime.bundle import reading, writing

SCRIPT = Path(__file__).with_name("branched_ways.py")


def ways(bundle: Path, task: str, folder: Path) -> Any:
    folder.mkdir()
    command = [sys.executable, SCRIPT, bundle, task, folder]
    return json.loads(subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout)


@pytest.mark.parametrize("isolation", ["shared", "process"])
def test_a_way_that_branches_off_ends_as_one_from_the_seed(
    isolation: Literal["shared", "process"], tmp_path: Path
) -> None:
    library = reading.read(examples.path("library"))
    scenario = library.scenario.model_copy(update={"isolation": isolation})
    bundle = writing.write(dataclasses.replace(library, scenario=scenario), tmp_path / "library").root
    said = ways(bundle, "rain-hold", tmp_path / "work")
    calls = len(said["alone"]["replies"]) - 1
    assert calls >= 2
    assert said["alone"].pop("taken") == 0
    assert said["branched"].pop("taken") == calls  # what both have in common is not called again
    assert said["branched"] == said["alone"]
    assert said["alone"]["changes"]
