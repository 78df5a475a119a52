"""The gates over real scenarios: their counts are those of an independent plain-HTTP client, one by one."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from awm_generator.awm_files import importing, rows
from awm_generator.gates import cards, running

HERE = Path(__file__).parent
NAMES = ("etsy_digital_downloads", "rover", "samsara_fleet_asset_maintenance_management", "surveymonkey_apply")


@pytest.fixture(scope="module")
def gated(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, running.Gated]:
    folder = tmp_path_factory.mktemp("sample")
    for done in importing.run(importing.select(rows.load(sample), []), folder):
        assert done.bundle is not None, done.reason
    return {each.name: each for each in running.run(sorted(folder.iterdir()))}


def plainly(script: str, *arguments: Path) -> Any:
    """What a script says that shares nothing with the gates but the Python that it runs on."""
    command = [sys.executable, HERE / script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", NAMES)
def test_the_operations_with_5xx_are_those_that_plain_http_finds(gated: dict[str, running.Gated], name: str) -> None:
    folder, report = gated[name].path, gated[name].report
    assert report is not None
    said = plainly("plain_probes.py", folder / "environment.py", folder / "schema.sql", folder / "seed.sql")
    assert sorted(report.facts["endpoints_with_5xx"]) == said["failing"]
    assert said["failing"]
    assert said["probes"] >= 4.5 * report.facts["tools"]


@pytest.mark.parametrize("name", NAMES)
def test_the_verifiers_that_reward_nothing_are_those_that_plain_python_finds(
    gated: dict[str, running.Gated], name: str
) -> None:
    report = gated[name].report
    assert report is not None
    assert sorted(report.facts["verifiers_that_reward_nothing"]) == plainly("plain_verifiers.py", gated[name].path)


def test_each_scenario_has_a_card_that_names_what_fails(gated: dict[str, running.Gated]) -> None:
    for each in gated.values():
        assert each.scenario is not None
        assert each.report is not None
        card = cards.card(each.scenario, each.report)
        assert card.startswith(f"# {each.scenario.title}: bronze\n")
        assert all(f"### {gate}" in card for gate in each.report.failed)
        assert f"{each.report.facts['endpoints_with_5xx'][0]}" in card
