"""The page about generating names what there is."""

import re
import shlex
from pathlib import Path

import typer

from awm_fleet.cli import main
from awm_generator import prompts
from awm_generator.stages import paths

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "generating.md").read_text(encoding="utf-8")
AWM = re.compile(r"^(?:awm (?:gen|dev) .*)$", re.MULTILINE)


def test_every_command_of_the_page_can_be_parsed() -> None:
    lines = [line for block in re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL) for line in AWM.findall(block)]
    assert len(lines) >= 7
    root = typer.main.get_command(main.app)
    for line in lines:
        _, *words = shlex.split(line, comments=True)
        context = root.make_context("awm", words, resilient_parsing=False)
        with context:
            group = context.command
            while hasattr(group, "resolve_command"):
                _, command, rest = group.resolve_command(context, words)
                words = rest
                if not hasattr(command, "resolve_command"):
                    command.make_context(command.name or "", list(rest), parent=context)
                group = command


def test_the_page_names_every_stage_and_every_file() -> None:
    for stage, file in paths.FILES.items():
        assert f"| {stage} | `awm gen {stage}` |" in PAGE
        assert f"`{file}`" in PAGE


def test_the_page_names_every_prompt() -> None:
    table = PAGE[PAGE.index("| prompt | asks for |") : PAGE.index("## A model server")]
    named = set(re.findall(r"`(\w+)`", table))
    assert named == {path.stem for path in Path(prompts.__file__).parent.glob("*.md")}
