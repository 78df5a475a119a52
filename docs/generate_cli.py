"""Writes `docs/cli.md`, the reference of the `awm` command, from the command's own help texts.

`.venv/bin/python docs/generate_cli.py`
"""

import html
import re
from pathlib import Path

import typer
from typer import cli

from awm_fleet.cli import main

PAGE = Path(__file__).with_name("cli.md")
EXAMPLES = re.compile(r"^Examples:\n(?P<lines>(?:\n\$ .*\n)+)", re.MULTILINE)
HEAD = """<!-- Made by docs/generate_cli.py from the help texts; do not edit. -->

# `awm`

Every flag can be spelled with underscores or with dashes. Exit codes: 0 done; 1 failed; 2 wrong usage; 3 done in part,
and what was left out is named on standard error. `--json` prints one JSON document on standard output and nothing else
there.
"""


def page() -> str:
    """The page as it should be."""
    command = main.whole()
    written = cli.get_docs_for_click(obj=command, ctx=typer.Context(command, info_name="awm"), name="awm")
    text = html.unescape(written).removeprefix("# `awm`\n")
    text = EXAMPLES.sub(_as_block, text)
    return HEAD + "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def _as_block(found: re.Match[str]) -> str:
    lines = [line for line in found["lines"].splitlines() if line]
    return "\n".join(("**Examples**:", "", "```console", *lines, "```", ""))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
