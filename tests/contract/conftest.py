"""What the contract tests talk to: a real instance that serves the conformance scenario."""

import runpy
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from awm_runtime.bundle import model, writing
from awm_runtime.server import launching, tools

ENVIRONMENT = Path(__file__).parent / "conformance" / "environment.py"


@pytest.fixture(scope="session")
def mcp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the instance's agent plane."""
    folder = tmp_path_factory.mktemp("instance")
    bundle = model.Bundle(
        root=folder / "bundle",
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
    with launching.launched(bundle.root, folder / "state") as instance:
        yield instance.address.agent_url
