"""Scenarios that a real pipeline made, and our own examples: imported, served, called, judged."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from instances import Running, running

from awm_fleet import examples
from awm_generator import oracles
from awm_generator.awm_files import importing, rows
from awm_runtime.bundle import model, reading
from awm_runtime.contract import verdicts

COMPLETE_ON_UNTOUCHED = {
    ("surveymonkey_apply", "9"),
    ("samsara_fleet_asset_maintenance_management", "2"),
    ("samsara_fleet_asset_maintenance_management", "8"),
}
SAMPLES = (
    "surveymonkey_apply",
    "etsy_digital_downloads",
    "rover",
    "samsara_fleet_asset_maintenance_management",
)


@pytest.fixture(scope="module")
def imported(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, model.Bundle]:
    out = tmp_path_factory.mktemp("imported")
    done = importing.run(importing.select(rows.load(sample), []), out)
    return {each.name: each.bundle for each in done if each.bundle is not None}


@pytest.fixture(params=SAMPLES, scope="module")
def served(
    request: pytest.FixtureRequest, imported: dict[str, model.Bundle], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[model.Bundle, Running]]:
    bundle = imported[request.param]
    with running(bundle.root, tmp_path_factory.mktemp("state")) as instance:
        yield bundle, instance


@pytest.fixture(params=examples.names(), scope="module")
def example(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[model.Bundle, Running]]:
    bundle = reading.read(examples.path(request.param))
    with running(bundle.root, tmp_path_factory.mktemp("state")) as instance:
        yield bundle, instance


def test_every_tool_is_listed_and_readers_without_arguments_answer(served: tuple[model.Bundle, Running]) -> None:
    bundle, instance = served
    episode = instance.open()

    listed = instance.tools(episode.mcp_url).tools()

    assert [tool["name"] for tool in listed] == [tool["name"] for tool in bundle.tools]
    readers = [
        tool["name"]
        for tool in listed
        if tool["annotations"]["readOnlyHint"] and not tool["inputSchema"].get("required")
    ]
    assert {name: instance.call(episode, name).is_error for name in readers} == dict.fromkeys(readers, False)
    assert instance.control.get(episode.id).errors == verdicts.ErrorCounts()


def test_every_task_has_a_verdict_on_the_untouched_episode(served: tuple[model.Bundle, Running]) -> None:
    bundle, instance = served
    judged = {}
    for task in bundle.tasks:
        judged[task.id] = instance.control.verify(instance.open(task=task.id).id).outcome

    assert len(judged) == 10
    name = bundle.scenario.name
    named = {finding.subject for finding in bundle.report.findings if finding.kind == "complete_on_untouched"}
    assert {task for task, outcome in judged.items() if outcome == "completed"} == named
    assert named == {task for scenario, task in COMPLETE_ON_UNTOUCHED if scenario == name}
    assert set(judged.values()) <= {"completed", "failed"}


def test_every_oracle_of_an_example_completes_and_no_untouched_episode_does(
    example: tuple[model.Bundle, Running],
) -> None:
    bundle, instance = example
    played, untouched = {}, {}
    for task in bundle.tasks:
        assert task.oracle is not None
        episode = instance.open(task=task.id)
        untouched[task.id] = instance.control.verify(episode.id).outcome

        def call(tool: str, arguments: dict[str, Any], url: str = episode.mcp_url) -> Any:
            return instance.tools(url).call(tool, arguments).data()

        answer = oracles.replay(task.oracle, call).answer
        played[task.id] = instance.control.verify(episode.id, verdicts.VerifyRequest(answer=answer)).outcome

    assert played == dict.fromkeys(played, "completed")
    assert "completed" not in untouched.values()
    assert len(played) == len(bundle.tasks) >= 8
