"""The page about imports names every kind of finding, and no other."""

import ast
import re
from pathlib import Path
from typing import get_args

from awm_runtime.server import tools

ROOT = Path(__file__).resolve().parents[3]
SOURCES = ROOT / "generator" / "src" / "awm_generator" / "awm_files"
MAKERS = {"_finding", "_row_finding"}


def kinds_in(path: Path) -> set[str]:
    """The kinds of the findings and mends that a module makes, as its text says them."""
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    named = [keyword.value for call in calls for keyword in call.keywords if keyword.arg == "kind"]
    placed = [call.args[0] for call in calls if isinstance(call.func, ast.Name) and call.func.id in MAKERS]
    mends = [call.args[1] for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Mend"]
    given = [value.value for value in (*named, *placed, *mends) if isinstance(value, ast.Constant)]
    return {value for value in given if isinstance(value, str)}


def test_the_page_about_imports_names_every_kind_of_finding() -> None:
    page = (ROOT / "docs" / "importing.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| ([^|]*) \| (?:mended|dropped|resolved|noted)", page, re.MULTILINE)
    listed = {kind for cell in cells for kind in re.findall(r"`(\w+)`", cell)}
    made = {kind for path in SOURCES.glob("*.py") for kind in kinds_in(path)}
    assert listed == made | set(get_args(tools.FindingKind))
