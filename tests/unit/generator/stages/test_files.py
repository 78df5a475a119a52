"""Row files, journals and locks: nothing torn, nothing lost, nothing of another run."""

import asyncio
import json
from pathlib import Path

import disks
import pytest

from awm_generator import errors
from awm_generator.awm_files import rows
from awm_generator.stages import appending, journals, outcomes, row_files, running
from awm_runtime import errors as runtime_errors

FILE = "gen_tasks.jsonl"


def row(name: str, *tasks: str) -> rows.TasksRow:
    return rows.TasksRow(scenario=name, tasks=tasks)


def test_rows_are_found_by_scenario_again(tmp_path: Path) -> None:
    path = tmp_path / FILE
    file = row_files.opened(path, FILE)
    file.append([row("Rover", "a"), row("Etsy (Digital)", "ü")])
    file.append([row("rover", "b")])
    for each in (file, row_files.RowFile(path, rows.TasksRow)):
        assert list(each) == ["rover", "etsy_digital"]
        assert [found.tasks for found in each.of("rover") if isinstance(found, rows.TasksRow)] == [("a",), ("b",)]
        assert "etsy_digital" in each
        assert each.of("nobody") == []


def test_a_torn_last_line_goes_and_a_whole_one_stays(tmp_path: Path) -> None:
    path = tmp_path / FILE
    whole = row_files.line(row("Rover", "a"))
    path.write_text(whole + whole.replace("Rover", "Etsy")[:20])
    assert list(row_files.opened(path, FILE)) == ["rover"]
    assert path.read_text() == whole
    path.write_text(whole.rstrip("\n"))  # as other programs leave it
    file = row_files.opened(path, FILE)
    file.append([row("Etsy")])
    assert list(row_files.RowFile(path, rows.TasksRow)) == ["rover", "etsy"]


def test_rows_are_replaced_in_their_place(tmp_path: Path) -> None:
    path = tmp_path / FILE
    file = row_files.opened(path, FILE)
    file.append([row("A", "1"), row("B", "2"), row("A", "3"), row("C", "4")])
    file.replace("a", [row("A", "new")])
    file.replace("d", [row("D", "last")])
    assert [json.loads(line)["tasks"] for line in path.read_text().splitlines()] == [["new"], ["2"], ["4"], ["last"]]
    assert list(file) == ["a", "b", "c", "d"]
    [again] = file.of("c")
    assert again == row("C", "4")


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_text('{"scenario": "A", "tasks": []}\n{"scenario": \n{"scenario": "B", "tasks": []}\n')
    with pytest.raises(runtime_errors.BundleError, match=r"gen_tasks\.jsonl:2: broken JSON"):
        row_files.RowFile(path, rows.TasksRow)


def test_a_full_disk_keeps_what_was_there(tmp_path: Path) -> None:
    with disks.full(at_bytes=400):
        path = tmp_path / FILE
        appending.append(path, "short\n")
        with pytest.raises(errors.GenerationError, match=r"cannot be written: .*run the same command again"):
            appending.append(path, "x" * 4000 + "\n")
    assert path.read_text() == "short\n"


def test_a_missing_or_empty_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.GenerationError, match=r"gen_tasks\.jsonl: no such file; --input names"):
        row_files.needed(tmp_path / FILE, FILE, "--input")
    (tmp_path / FILE).write_text("\n")
    with pytest.raises(errors.GenerationError, match="no rows"):
        row_files.needed(tmp_path / FILE, FILE, "--input")


def test_a_journal_is_read_again_with_a_torn_line(tmp_path: Path) -> None:
    journal = journals.Memory(tmp_path).journal(tmp_path / FILE)
    casualty = outcomes.Casualty("task 3", "no verifier", "long")
    journal.add(journals.Entry("rover", "sha256:1", casualties=(casualty,)))
    journal.add(journals.Entry("etsy", "sha256:2", "does not load", "Traceback"))
    [path] = (tmp_path / ".awm").glob("*.journal")
    with path.open("a") as file:
        file.write('{"scenario": "torn')
    again = journals.Memory(tmp_path).journal(tmp_path / FILE)
    assert again.entries == journal.entries
    again.add(journals.Entry("third", "sha256:3"))
    assert list(journals.Memory(tmp_path).journal(tmp_path / FILE).entries) == ["rover", "etsy", "third"]


def test_a_folder_is_locked_for_others_and_free_afterwards(tmp_path: Path) -> None:
    memory = journals.Memory(tmp_path)
    with memory.locked(), pytest.raises(errors.FolderInUse, match=r"another run works on this folder \(process \d+\)"):
        memory.locked().__enter__()
    with memory.locked():
        pass


def target(folder: Path) -> running.RowTarget:
    path = folder / FILE
    return running.RowTarget(row_files.opened(path, FILE), journals.Memory(folder).journal(path))


def test_rows_are_written_in_the_order_of_the_work_however_long_each_takes(tmp_path: Path) -> None:
    most = 0
    inside = 0

    def work(number: int) -> running.Work:
        async def make() -> outcomes.Outcome:
            nonlocal most, inside
            inside += 1
            most = max(most, inside)
            await asyncio.sleep((7 - number % 7) * 0.002)
            inside -= 1
            if number == 5:
                raise outcomes.Quarantined("does not hold", detail="five")
            return outcomes.Outcome((row(f"s{number}"),))

        return running.Work(f"s{number}", f"hash {number}", make)

    works = [work(number) for number in range(20)]
    summary = asyncio.run(running.run("task", works, target(tmp_path), running.Unwatched(), window=4))
    assert (summary.done, summary.left_out, most) == (19, 1, 4)
    names = [json.loads(line)["scenario"] for line in (tmp_path / FILE).read_text().splitlines()]
    assert names == [f"s{number}" for number in range(20) if number != 5]
    again = asyncio.run(running.run("task", works, target(tmp_path), running.Unwatched(), window=4))
    assert (again.done, again.earlier, again.left_out) == (0, 20, 1)


def test_a_failure_that_stops_all_keeps_what_is_done(tmp_path: Path) -> None:
    def work(number: int, error: Exception | None) -> running.Work:
        async def make() -> outcomes.Outcome:
            if error is not None:
                raise error
            return outcomes.Outcome((row(f"s{number}"),))

        return running.Work(f"s{number}", "", make)

    works = [work(number, errors.ModelRefused("no quota") if number == 3 else None) for number in range(9)]
    with pytest.raises(errors.ModelRefused, match="no quota"):
        asyncio.run(running.run("task", works, target(tmp_path), running.Unwatched(), window=2))
    assert len((tmp_path / FILE).read_text().splitlines()) == 3


def test_a_row_of_another_pipeline_counts_and_one_of_another_input_does_not(tmp_path: Path) -> None:
    async def never() -> outcomes.Outcome:
        raise AssertionError

    (tmp_path / FILE).write_text(row_files.line(row("A")))
    foreign = running.Work("a", "whatever", never)
    summary = asyncio.run(running.run("task", [foreign], target(tmp_path), running.Unwatched(), window=1))
    assert summary.earlier == 1
    target(tmp_path).journal.add(journals.Entry("a", "one hash"))
    with pytest.raises(errors.GenerationError, match="made from other input than is given now"):
        asyncio.run(running.run("task", [foreign], target(tmp_path), running.Unwatched(), window=1))
