"""What the shell offers after a tab, asked as bash asks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

AWM = Path(sys.executable).with_name("awm")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("awm demo ", ["clinic", "library"]),
        ("awm demo li", ["library"]),
        ("awm env start cl", ["clinic"]),
        ("awm env ch", ["check", "check_all"]),
        ("awm env start --envs", ["--envs_load_path"]),
    ],
)
def test_bash_completes_commands_flags_and_examples(typed: str, offered: list[str]) -> None:
    asked = {"_AWM_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split(" ")) - 1)}
    answer = subprocess.run([AWM], env=os.environ | asked, capture_output=True, text=True, timeout=60, check=True)
    assert answer.stdout.split() == offered
