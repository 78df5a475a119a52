"""What an instance writes down: calls in flight, the call log, and what a reply came to."""

import errno
import os
import sqlite3
from pathlib import Path
from typing import Any

import disks
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from awm_runtime.contract import problems, verdicts
from awm_runtime.server import asgi, inflight, outcomes, storage, traces

ID = "ep_" + "f" * 32


def _record(number: int = 1, **changes: Any) -> traces.Record:
    fields: dict[str, Any] = {"at": "", "tool": "t", "arguments": {}, "result": "", "is_error": False}
    fields |= {"blame": None, "code": None, "status": 200, "ms": 1.0}
    return traces.Record(n=number, **(fields | changes))


# Calls in flight


def test_a_mark_is_seen_by_the_keeper_until_it_is_cleared(tmp_path: Path) -> None:
    ours, keepers = inflight.InFlightTable(tmp_path / "table"), inflight.InFlightTable(tmp_path / "table")
    slot = ours.mark(ID, 7, 123)
    assert slot is not None
    assert keepers.entries() == [inflight.Entry(ID, 7, 123)]
    ours.clear(slot)
    assert keepers.entries() == []


def test_a_mark_that_was_never_cleared_is_found_by_the_next_process_and_can_be_taken_back(tmp_path: Path) -> None:
    killed = inflight.InFlightTable(tmp_path / "table")
    killed.mark(ID, 7, 123)
    killed.close()
    following = inflight.InFlightTable(tmp_path / "table")
    left = following.entries()
    following.mark("ep_of_now", 1, 456)
    following.take_back(left)
    assert (left, following.entries()) == ([inflight.Entry(ID, 7, 123)], [inflight.Entry("ep_of_now", 1, 456)])


@pytest.mark.parametrize(
    ("tool", "kept"),
    [("add_item", "add_item"), ("x" * 100, "x" * 64), ("x" + "é" * 50, "x" + "é" * 31), ("\ud800", "?")],
)
def test_a_mark_names_its_tool_as_far_as_it_fits(tmp_path: Path, tool: str, kept: str) -> None:
    table = inflight.InFlightTable(tmp_path / "table")
    table.mark(ID, 7, 123, tool)
    assert table.entries() == [inflight.Entry(ID, 7, 123, kept)]


def test_the_event_loops_beat_has_a_slot_of_its_own_until_it_rests(tmp_path: Path) -> None:
    table = inflight.InFlightTable(tmp_path / "table")
    table.beat(100)
    table.mark(ID, 7, 123)
    table.beat(200)
    assert table.entries() == [inflight.Entry(inflight.EVENT_LOOP, 0, 200), inflight.Entry(ID, 7, 123)]
    table.rest()
    assert table.entries() == [inflight.Entry(ID, 7, 123)]


def test_a_full_table_takes_no_more_until_a_slot_is_free(tmp_path: Path) -> None:
    table = inflight.InFlightTable(tmp_path / "table")
    slots = [table.mark(ID, number, 1) for number in range(inflight.SLOTS)]
    assert table.mark(ID, 999, 1) is None
    assert slots[3] is not None
    table.clear(slots[3])
    assert table.mark(ID, 1000, 1) == slots[3]


# The call log


def test_a_log_is_summed_up_by_whose_fault_errors_were(tmp_path: Path) -> None:
    log = tmp_path / "0.jsonl"
    kinds: list[tuple[problems.Blame | None, problems.Code | None]] = [
        (None, None),
        ("agent", problems.Code.UNKNOWN_TOOL),
        ("agent", problems.Code.INVALID_ARGUMENTS),
        ("agent", problems.Code.REFUSED),
        ("environment", problems.Code.INTERNAL),
        ("infrastructure", problems.Code.TIMEOUT),
    ]
    for number, (blame, code) in enumerate(kinds, start=1):
        traces.append(log, _record(number, blame=blame, code=code, is_error=blame is not None).line())
    total, spoiled = traces.tally(log)
    assert (total.calls, total.masking, total.log_bytes, spoiled) == (6, [5, 6], log.stat().st_size, None)
    assert total.errors == verdicts.ErrorCounts(malformed=2, refused=1, environment=1, infrastructure=1)


def test_the_line_that_a_kill_cut_off_is_removed(tmp_path: Path) -> None:
    log = tmp_path / "0.jsonl"
    traces.append(log, _record(1).line())
    with log.open("ab") as file:
        file.write(_record(2).line()[:-5])
    total, spoiled = traces.tally(log)
    assert (total.calls, spoiled) == (1, None)
    traces.mend(log)
    traces.append(log, _record(2).line())
    assert [orjson.loads(line)["n"] for line in log.read_bytes().splitlines()] == [1, 2]


@pytest.mark.parametrize(
    "junk",
    [
        b"junk",
        b"[]",
        b"7",
        b"{}",
        b'{"n": "2", "class": null, "code": null}',
        b'{"n": 2, "class": "nobody", "code": null}',
        b'{"n": 2, "class": ["agent"], "code": null}',
        b"\xff",
    ],
)
def test_a_spoiled_line_is_named_and_removed_and_the_others_count(tmp_path: Path, junk: bytes) -> None:
    log = tmp_path / "0.jsonl"
    lines = [_record(1).line(), junk + b"\n", _record(3, blame="agent", code=problems.Code.REFUSED).line()]
    log.write_bytes(b"".join(lines))
    total, spoiled = traces.tally(log)
    assert (total.calls, total.errors, spoiled) == (3, verdicts.ErrorCounts(refused=1), 2)
    with disks.full(at_bytes=log.stat().st_size):
        traces.mend(log)
    assert log.read_bytes() == lines[0] + lines[2]
    assert traces.tally(log) == (total, None)


def test_a_log_that_was_never_begun_is_empty(tmp_path: Path) -> None:
    traces.mend(tmp_path / "0.jsonl")
    assert traces.tally(tmp_path / "0.jsonl") == (traces.Tally(), None)


def test_arguments_that_are_too_long_to_keep_give_way_to_a_note() -> None:
    kept, cut = (_record(arguments={"text": "x" * size}).line() for size in (500_000, 600_000))
    assert orjson.loads(kept)["arguments"] == {"text": "x" * 500_000}
    assert len(cut) < 1000
    assert orjson.loads(cut)["arguments"]["cut"].endswith(" bytes")


def test_a_line_for_which_there_is_no_room_is_not_written_in_part(tmp_path: Path) -> None:
    log = tmp_path / "0.jsonl"
    traces.append(log, _record(1).line())
    before = log.read_bytes()
    with disks.full(at_bytes=len(before) + 10), pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        traces.append(log, _record(2).line())
    assert log.read_bytes() == before


# What a reply came to


def _outcome(status: int, document: Any, limit: int = 10_000) -> outcomes.Outcome:
    return outcomes.of_reply(asgi.AppReply(status, orjson.dumps(document)), limit)


@pytest.mark.parametrize("document", ["no", {"detail": "no"}, {"message": "no"}, {"error": "no"}])
def test_the_words_of_a_refusal_are_taken_from_where_scenarios_put_them(document: Any) -> None:
    outcome = _outcome(409, document)
    assert (outcome.text, outcome.code) == ("Refused (409): no", problems.Code.REFUSED)


def test_the_frameworks_complaints_name_the_argument_and_are_few() -> None:
    detail = [{"loc": ["body", "items", n, "name"], "msg": f"complaint {n}"} for n in range(5)]
    outcome = _outcome(422, {"detail": detail})
    assert outcome.text.startswith("Invalid arguments: items.0.name: complaint 0; items.1.name: complaint 1;")
    assert outcome.text.endswith("(and 2 more)")
    assert outcome.code is problems.Code.INVALID_ARGUMENTS


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["detail", "loc", "msg", "x"]), inner),
    max_leaves=8,
)


@given(st.integers(200, 599), json_values, st.integers(1, 50))
def test_any_answer_of_an_app_is_classified_by_its_status(status: int, document: Any, limit: int) -> None:
    outcome = _outcome(status, document, limit)
    assert outcome.blame == (None if status < 400 else "agent" if status < 500 else "environment")
    assert outcome.status == status


@given(st.text(max_size=40), st.integers(1, 20))
def test_a_cut_text_is_a_beginning_of_the_whole(text: str, limit: int) -> None:
    body = text.encode()
    cut = outcomes.cut(body, limit)
    kept, note, _ = cut.partition("\n[cut: ")
    if len(body) <= limit:
        assert cut == text
    else:
        assert text.startswith(kept)
        assert len(kept.encode()) <= limit
        assert note


@pytest.mark.parametrize(
    ("failure", "full"),
    [
        (OSError(errno.ENOSPC, "x"), True),
        (OSError(errno.EFBIG, "x"), True),
        (OSError(errno.EACCES, "x"), False),
        (sqlite3.OperationalError("x"), False),
        (None, False),
    ],
)
def test_a_full_disk_is_told_from_other_failures(failure: BaseException | None, full: bool) -> None:
    assert outcomes.is_disk_full(failure) is full
    if failure is not None:
        wrapped = RuntimeError()
        wrapped.__cause__ = failure
        assert outcomes.is_disk_full(wrapped) is full


def test_a_database_beyond_its_limit_counts_as_a_full_disk(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "x.db").executescript("CREATE TABLE t (x)").connection.close()
    connection = storage.connect(tmp_path / "x.db", foreign_keys=True, max_bytes=32 * 1024)
    with pytest.raises(sqlite3.OperationalError) as caught:
        connection.execute("INSERT INTO t VALUES (zeroblob(100000))")
    connection.close()
    assert outcomes.is_disk_full(caught.value)
