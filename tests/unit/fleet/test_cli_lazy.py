"""Commands that are imported when they are run."""

import subprocess
import sys
from pathlib import Path

import commands
import pytest

from awm_fleet.cli import lazy, main

HEAVY = {"numpy", "kubernetes", "docker", "openai", "sqlalchemy", "fastapi", "cryptography", "httpx"}
NOT_FOR_HELP = HEAVY | {"pydantic", "starlette", "uvicorn", "asyncio"}
RUN = """
import sys
from awm_fleet.cli import main
try:
    main.main(sys.argv[1:])
finally:
    print(*sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("line", "absent"), [("--help", NOT_FOR_HELP), ("up --help", HEAVY), ("down --help", HEAVY), ("status", HEAVY)]
)
def test_who_asks_for_help_or_starts_a_fleet_imports_nothing_of_the_other_commands(
    line: str, absent: set[str], tmp_path: Path
) -> None:
    command = [sys.executable, "-P", "-c", RUN, *line.split()]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    imported = set(ended.stderr.split())
    assert "awm_fleet.cli.main" in imported, ended.stderr
    assert not absent & imported


def test_a_command_whose_package_is_not_installed_says_which_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [each for each in sys.modules if each == "awm_fleet.cli.image" or each.startswith("awm_generator.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "awm_generator", None)
    monkeypatch.delattr("awm_fleet.cli.image", raising=False)
    ended = commands.Awm(capsys)("image", "prune")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == "error: `awm image` cannot run here: awm_generator is not installed\n"


def test_the_help_of_the_command_says_of_each_what_it_says_of_itself() -> None:
    said = {each.name: each.help for each in main.Commands.LATER}
    itself = {name: _first_paragraph(command.help) for name, command in main.whole().commands.items()}
    assert said == itself
    assert not [each for each in main.whole().commands.values() if isinstance(each, lazy.Command)]


def _first_paragraph(text: str | None) -> str:
    return " ".join((text or "").partition("\n\n")[0].split())
