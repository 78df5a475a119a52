"""The pytest plugin: `@pytest.mark.scenario("library")` says which, the fixture `scenario` serves it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from awm_fleet.testing.containers import ScenarioContainer


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options and settings of pytest."""
    group = parser.getgroup("awm", "AWM Fleet")
    group.addoption("--awm-base", help="The runtime's base image, for scenarios that are given as bundles.")
    parser.addini("awm_base", "The same as --awm-base.")


def pytest_configure(config: pytest.Config) -> None:
    """Makes the mark known."""
    config.addinivalue_line("markers", "scenario(image_or_bundle): what the fixture `scenario` serves")


@pytest.fixture(scope="session")
def scenario_containers(request: pytest.FixtureRequest) -> Iterator[Callable[[str], "ScenarioContainer"]]:
    """Starts containers on demand, each scenario once; they end with the tests."""
    from awm_fleet.testing import containers  # testcontainers takes a second that other runs need not spend

    base = request.config.getoption("--awm-base") or request.config.getini("awm_base") or containers.DEFAULT_BASE
    started: dict[str, ScenarioContainer] = {}
    with ExitStack() as running:

        def get(image_or_bundle: str) -> "ScenarioContainer":
            if image_or_bundle not in started:
                made = containers.ScenarioContainer(image_or_bundle, base=str(base))
                started[image_or_bundle] = running.enter_context(made)
            return started[image_or_bundle]

        yield get


@pytest.fixture
def scenario(
    request: pytest.FixtureRequest, scenario_containers: Callable[[str], "ScenarioContainer"]
) -> "ScenarioContainer":
    """The scenario of the test's mark; tests share its container, and open episodes of their own."""
    mark = request.node.get_closest_marker("scenario")
    if mark is None or len(mark.args) != 1:
        raise pytest.UsageError('name the scenario: @pytest.mark.scenario("IMAGE, BUNDLE OR EXAMPLE")')
    return scenario_containers(str(mark.args[0]))
