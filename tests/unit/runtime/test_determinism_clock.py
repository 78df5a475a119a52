from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awm_runtime.determinism import clock


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-15T09:00:00Z", datetime(2026, 1, 15, 9, tzinfo=UTC)),
        ("2026-01-15T09:00:00.25Z", datetime(2026, 1, 15, 9, 0, 0, 250_000, tzinfo=UTC)),
        ("2026-01-15T01:30:00+02:30", datetime(2026, 1, 14, 23, tzinfo=UTC)),
    ],
)
def test_a_moment_is_read_into_utc(text: str, moment: datetime) -> None:
    parsed = clock.parse(text)
    assert parsed == moment
    assert parsed.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-01-15",
        "2026-01-15T09:00:00",
        "2026-01-15 09:00:00Z",
        "2026-02-30T09:00:00Z",
        "2026-01-15T09:00:00+02:30:15",
        "2026-01-15T25:00:00Z",
        "0001-01-01T00:00:00+05:00",
        "2026-01-15T09:00:00Z\n",
        "٢٠٢٦-01-15T09:00:00Z",
    ],
)
def test_anything_else_is_refused_with_an_example_of_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="write it like 2026-01-15T09:00:00Z"):
        clock.parse(text)


def test_whole_seconds_are_written_without_a_fraction() -> None:
    assert clock.render(datetime(2026, 1, 15, 9, tzinfo=UTC)) == "2026-01-15T09:00:00Z"
    assert clock.render(datetime(2026, 1, 15, 9, 0, 0, 7, tzinfo=UTC)) == "2026-01-15T09:00:00.000007Z"
    assert clock.render(datetime(2026, 1, 15, 9, tzinfo=timezone(timedelta(hours=2)))) == "2026-01-15T07:00:00Z"


def test_a_time_without_a_zone_is_not_written() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        clock.render(datetime(2026, 1, 15, 9))  # noqa: DTZ001 - that is the point


@given(st.datetimes(timezones=st.just(UTC)))
def test_what_is_written_is_read_back(moment: datetime) -> None:
    assert clock.parse(clock.render(moment)) == moment
