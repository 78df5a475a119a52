"""`awm demo`: a task's oracle, played against an instance of its own."""

import dataclasses
import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from awm_fleet import examples
from awm_fleet.cli import main
from awm_runtime.bundle import model, reading, writing


def demo(*arguments: object) -> object:
    """Runs it and returns its exit status."""
    with pytest.raises(SystemExit) as stop:
        main.main(["demo", *map(str, arguments)])
    return stop.value.code


@pytest.fixture
def altered(tmp_path: Path) -> Path:
    """The library with one task whose oracle does nothing, and another without an oracle."""
    library = reading.read(examples.path("library"))
    idle, bare = library.tasks[0], library.tasks[1]
    tasks = (
        idle.model_copy(update={"oracle": model.Oracle(calls=())}),
        bare.model_copy(update={"oracle": None}),
    )
    kept = {key: source for key, source in library.verifiers.items() if key[0] in {idle.id, bare.id}}
    return writing.write(dataclasses.replace(library, tasks=tasks, verifiers=kept), tmp_path / "library").root


def test_each_call_the_changed_rows_and_the_verdict_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo("library", "--task", "rain-hold") == 0
    shown = capsys.readouterr().out
    task = next(task for task in reading.read(examples.path("library")).tasks if task.id == "rain-hold")
    assert task.instruction in shown
    assert "-> place_hold(title_id=15" in shown
    assert '"title_id":15' in shown
    assert "Rows that changed" in shown
    assert "holds" in shown
    assert shown.endswith("verdict: completed, reward 1\n")


def test_one_document_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo("clinic", "--json") == 0
    played = json.loads(capsys.readouterr().out)
    first = reading.read(examples.path("clinic")).tasks[0]
    assert (played["scenario"], played["task"], played["verdict"]["outcome"]) == ("clinic", first.id, "completed")
    assert first.oracle is not None
    assert [call["tool"] for call in played["calls"]] == [call.tool for call in first.oracle.calls]
    assert played["diff"]


def test_a_task_that_is_not_completed_is_a_failure(altered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(altered) == 1
    shown = capsys.readouterr().out
    assert "No row changed." in shown
    assert "FAIL " in shown
    assert "verdict: failed, reward 0\n" in shown


def test_a_task_without_an_oracle_is_refused_with_those_that_have_one(
    altered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = reading.read(altered)
    assert demo(altered, "--task", bundle.tasks[1].id) == 1
    assert capsys.readouterr().err == (
        f"error: library: task '{bundle.tasks[1].id}' has no oracle; tasks to play: {bundle.tasks[0].id}\n"
    )


def test_ctrl_c_ends_it_without_a_word_and_leaves_nothing() -> None:
    command = [Path(sys.executable).with_name("awm"), "demo", "library"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Larch Street Library")
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "")
    assert family
    assert not [child for child in family if child.is_running()]


def test_an_oracle_that_cannot_go_on_says_where_and_shows_the_log(
    altered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = reading.read(altered)
    calls = [{"tool": "get_me", "save": "me"}, {"tool": "get_title", "arguments": {"title_id": {"$from": "me.title"}}}]
    task = bundle.tasks[0].model_copy(update={"oracle": model.Oracle.model_validate({"calls": calls})})
    writing.write(dataclasses.replace(bundle, tasks=(task, *bundle.tasks[1:])), altered)
    assert demo(altered) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: the oracle cannot go on: call 2 (get_title): 'me.title' finds nothing")
    assert "library is ready: 24 tools" in said
