"""What the contract tests talk to: a real instance that serves the conformance scenario, and a router before it."""

import runpy
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import fleets
import pytest

from awm_runtime.bundle import model, writing
from awm_runtime.server import launching, tools

ENVIRONMENT = Path(__file__).parent / "conformance" / "environment.py"


@dataclass(frozen=True)
class Reached:
    """MCP URLs of a server: of its default episode, and of one that nobody opened."""

    default: str
    unknown: str


@pytest.fixture(scope="session")
def conformance_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The conformance scenario."""
    folder = tmp_path_factory.mktemp("conformance")
    bundle = model.Bundle(
        root=folder / "conformance",
        scenario=model.Scenario(
            name="conformance",
            title="Conformance",
            description="Tools for MCP's conformance suite.",
            clock=datetime(2026, 1, 1, 9, tzinfo=UTC),
            provenance=model.Provenance(source="tests"),
        ),
        tasks=(),
        schema_sql="CREATE TABLE unused (id INTEGER PRIMARY KEY);\n",
        seed_sql="",
        environment=ENVIRONMENT.read_text(),
        spec={},
        tools=tuple(tools.from_app(runpy.run_path(str(ENVIRONMENT))["app"]).served),
    )
    writing.write(bundle, bundle.root)
    return bundle.root


@pytest.fixture(scope="session", params=["direct", "routed"])
def mcp_server(
    request: pytest.FixtureRequest, conformance_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Reached]:
    """The scenario as its instance serves it, and the same through a router, which wakes it."""
    state = tmp_path_factory.mktemp(request.param)
    if request.param == "direct":
        with launching.launched(conformance_bundle, state) as instance:
            url = instance.address.agent_url
            yield Reached(f"{url}/mcp", f"{url}/e/unheard-of/mcp")
        return
    catalogue = fleets.catalogue([conformance_bundle], tmp_path_factory.mktemp("catalogue"))
    with (
        fleets.instances({"conformance": conformance_bundle}, state) as running,
        fleets.router(running.directory, catalogue) as router,
    ):
        yield Reached(f"{router.url}/s/conformance/mcp", f"{router.url}/e/unheard-of/mcp")
