"""Real gates over real processes: each defect that is planted in an example is found, and the clean ones are gold."""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import planted
import planted_runtime
import planted_semantic
import planted_static
import pytest

from awm_fleet import examples
from awm_generator.awm_files import probing
from awm_generator.gates import registry, running
from awm_runtime.bundle import model, reading, writing

ALL = (*planted_static.PLANTS, *planted_runtime.PLANTS, *planted_semantic.PLANTS)


@pytest.fixture(scope="module")
def worker() -> Iterator[running.Worker]:
    made = running.Worker()
    yield made
    made.close()


def grown(plant: planted.Plant, folder: Path) -> Path:
    """The library with a defect in it, as a bundle in `folder`."""
    bundle = reading.read(examples.path("library"))
    if plant.task is not None:
        tasks = tuple(task for task in bundle.tasks if task.id == plant.task)
        verifiers = {key: source for key, source in bundle.verifiers.items() if key[0] == plant.task}
        bundle = dataclasses.replace(bundle, tasks=tasks, verifiers=verifiers)
    bundle = writing.write(plant.change(bundle), folder / "library")
    return with_its_tools(bundle).root if plant.tools else bundle.root


def with_its_tools(bundle: model.Bundle) -> model.Bundle:
    probe = probing.probe(bundle.root)
    assert probe.ok, probe.error
    return writing.write(dataclasses.replace(bundle, tools=probe.tools), bundle.root)


@pytest.mark.parametrize("plant", ALL, ids=lambda plant: plant.name)
def test_a_planted_defect_is_found_by_its_gate_and_no_other(
    plant: planted.Plant, worker: running.Worker, tmp_path: Path
) -> None:
    report = worker.gate(grown(plant, tmp_path), plant.level)
    found = {defect.gate for defect in report.defects}
    assert plant.gate in found, report.defects
    assert found <= {plant.gate, *plant.related}, [each for each in report.defects if each.gate != plant.gate]


def test_evidence_that_shows_what_was_done_is_silver(worker: running.Worker, tmp_path: Path) -> None:
    shows = "return {'same': open(initial_db_path, 'rb').read() == open(final_db_path, 'rb').read()}"
    plant = planted.Plant("", "", planted.with_evidence("soil-cancel", shows), task="soil-cancel")
    report = worker.gate(grown(plant, tmp_path), "semantic")
    assert report.tier == "silver"  # a verdict is what gold takes
    assert [(each.gate, each.detail) for each in report.defects] == [
        ("semantic.oracle", "no code mode verifier judges it")
    ]


def test_a_verb_that_may_be_a_deed_is_only_told(worker: running.Worker, tmp_path: Path) -> None:
    route = planted_static.route("post", "/api/parcels/fetch", "fetch_parcels")
    report = worker.gate(grown(planted.Plant("", "", planted.with_code(route), tools=True), tmp_path), "static")
    assert [(each.gate, each.severity) for each in report.defects] == [("static.verbs", "warn")]


def test_every_gate_finds_a_planted_defect() -> None:
    # What ends the process is planted in the tests of containment.
    assert {gate.id for gate in registry.GATES} - {plant.gate for plant in ALL} == {"runtime.survives"}
    assert len(ALL) >= 30


@pytest.mark.parametrize("name", examples.names())
def test_a_clean_example_is_gold_and_nothing_is_found(name: str, worker: running.Worker, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(examples.path(name), tmp_path / name))
    report = worker.gate(folder, "semantic")
    assert (report.tier, report.reasons, report.defects) == ("gold", (), ())
    assert set(report.states.values()) == {"passed"}
    assert worker.gate(folder, "semantic") == report  # nothing of it is left to chance
    assert report.facts["mutants_caught"] == report.facts["mutants"] >= 50
