import logging
import re
from collections.abc import Iterator

import pytest

from awm_runtime.server import logs


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    levels = {logger: logger.level for logger in (logging.getLogger(), logs.activity)}
    yield
    for logger, level in levels.items():
        logger.setLevel(level)


def logged(capsys: pytest.CaptureFixture[str], *, watched: bool) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.getLogger(), "handlers", [])  # pytest's own, which come after the fixtures
        logs.to_standard_error(watched=watched)
        logs.activity.info("call %s ok", "get_me")
        logging.getLogger("awm.instance").info("ready")
        logging.getLogger("awm.audit").info('{"status": 201}', extra={logs.BRIEF: "opened"})
        logging.getLogger("awm.keeper").warning("it came back")
    return capsys.readouterr().err.splitlines()


def test_a_person_sees_short_lines_of_all_that_happens(capsys: pytest.CaptureFixture[str]) -> None:
    lines = logged(capsys, watched=True)
    expected = ["call get_me ok", "ready", "opened", "WARNING it came back"]
    assert [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in lines] == expected


def test_a_collector_gets_date_level_and_source_and_no_line_per_call(capsys: pytest.CaptureFixture[str]) -> None:
    lines = logged(capsys, watched=False)
    assert len(lines) == 3
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO awm\.instance: ready", lines[0])
    assert lines[1].endswith(' INFO awm.audit: {"status": 201}')
    assert lines[2].endswith(" WARNING awm.keeper: it came back")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("get_me", "get_me"),
        ("x\n12:00:00 call", r"'x\n12:00:00 call'"),
        ("a" * 101, "a" * 100 + "..."),
        ("\x1b[2J", r"'\x1b[2J'"),
    ],
)
def test_a_name_that_an_agent_chose_stays_on_its_line(name: str, shown: str) -> None:
    assert logs.shown(name) == shown
