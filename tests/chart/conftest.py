"""Helm, of both kinds that are in use."""

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import charts
import pytest
from cluster.testbed import tools


@pytest.fixture(scope="session", params=charts.HELMS)
def helm(request: pytest.FixtureRequest, missing: Callable[[str, str], NoReturn]) -> Path:
    """Helm 3 or 4."""
    programs = tools.built()
    if programs is None:
        missing("chart", "Helm is not built: run `make testbed`")
    found: Path = programs / request.param
    return found
