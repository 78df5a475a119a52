"""A small blueprint for tests: the one of the documentation page."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[4] / "docs" / "blueprints.md"


@pytest.fixture(scope="session")
def page_blueprint() -> str:
    """The YAML of the page's tutorial, put together from its steps."""
    return "".join(re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL))


@pytest.fixture
def blueprint_file(page_blueprint: str, tmp_path: Path) -> Path:
    path = tmp_path / "tool_library.yaml"
    path.write_text(page_blueprint, "utf-8")
    return path
