"""Runs the tutorial: every block of its commands in one shell, as a reader would paste them."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import local_fleets
import pytest

from awm_fleet import examples

TUTORIAL = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
NEXT_BLOCK = "=== next block ==="


def blocks(kind: str) -> list[str]:
    return [found["text"] for found in BLOCK.finditer(TUTORIAL.read_text(encoding="utf-8")) if found["kind"] == kind]


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory, missing: Callable[[str, str], NoReturn]) -> dict[str, str]:
    """What each block of commands prints, by its text; the first one only says where the fleet is."""
    if shutil.which("curl") is None:
        missing("curl", "no curl on the PATH")
    folder = tmp_path_factory.mktemp("tutorial")
    (folder / ".venv").symlink_to(sys.prefix)
    [program] = blocks("python")
    (folder / "solve.py").write_text(program, encoding="utf-8")
    addresses, *commands = blocks("console")
    assert re.fullmatch(r"export FLEET=\S+\n", addresses)
    with local_fleets.running([examples.path(name) for name in examples.names()], folder / "state") as fleet:
        told = {"FLEET": fleet.url}
        script = f"echo '{NEXT_BLOCK}'\n".join(commands)
        played = subprocess.run(
            ["bash", "-e", "-u", "-o", "pipefail", "-c", script],
            cwd=folder,
            env=os.environ | told,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert played.returncode == 0, played.stdout + played.stderr
    return dict(zip(commands, played.stdout.split(f"{NEXT_BLOCK}\n"), strict=True))


def output_of(printed: dict[str, str], part: str) -> str:
    """What the one block that holds `part` printed."""
    [text] = [output for command, output in printed.items() if part in command]
    return text


def documents(text: str) -> list[Any]:
    """The JSON documents in a text, one after another."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text.rstrip()):
        document, at = decoder.raw_decode(text, at)
        found.append(document)
        at += len(text[at:]) - len(text[at:].lstrip())
    return found


def test_the_tutorial_opens_an_episode_of_the_task(printed: dict[str, str]) -> None:
    [opened] = documents(output_of(printed, "opened.json"))
    assert opened["episodes"][0]["task"] == "rain-hold"


def test_the_client_prints_what_the_tutorial_shows(printed: dict[str, str]) -> None:
    shown = next(text for text in blocks("text") if text.startswith("tools:"))
    parts = [re.escape(part.strip()) for part in re.split(r"\.\.\.|\n", shown)]
    assert re.match(r"[^\n]*\s*".join(parts), output_of(printed, "solve.py"))


def test_one_row_was_added_and_the_trace_has_every_call(printed: dict[str, str]) -> None:
    changes, *calls = documents(output_of(printed, "/trace"))
    assert {table: len(change["added"]) for table, change in changes.items()} == {"holds": 1}
    assert [call["tool"] for call in calls] == ["place_hold", "search_titles", "place_hold"]


def test_the_task_is_completed(printed: dict[str, str]) -> None:
    [verdict] = documents(output_of(printed, "/verify"))
    assert (verdict["outcome"], verdict["reward"], verdict["errors"]["refused"]) == ("completed", 1, 1)


def test_a_fork_goes_on_and_a_reset_has_no_changes(printed: dict[str, str]) -> None:
    forked, reset, changes = documents(output_of(printed, "/reset"))
    assert (forked["episodes"][0]["calls"], reset["calls"], changes) == (3, 0, {})
