import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awm_runtime.determinism import context, sql

CLOCK = datetime(2026, 1, 15, 9, tzinfo=UTC)
VERSION = sqlite3.sqlite_version_info


@pytest.fixture
def frozen() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        sql.install(connection)
        with context.entered(context.CallContext(CLOCK, seed=1, number=3)):
            yield connection


def value(connection: sqlite3.Connection, expression: str, *arguments: object) -> object:
    return connection.execute(f"SELECT {expression}", arguments).fetchone()[0]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("CURRENT_TIMESTAMP", "2026-01-15 09:00:03"),
        ("CURRENT_DATE", "2026-01-15"),
        ("CURRENT_TIME", "09:00:03"),
        ("datetime()", "2026-01-15 09:00:03"),
        ("datetime('now')", "2026-01-15 09:00:03"),
        ("datetime('NOW')", "2026-01-15 09:00:03"),
        ("datetime(x'6e6f77')", "2026-01-15 09:00:03"),
        ("datetime('now' || char(0) || 'x', '+1 day')", "2026-01-16 09:00:03"),
        ("datetime('now', '-3 days')", "2026-01-12 09:00:03"),
        ("datetime('now', 'start of month', '+1 month', '-1 day')", "2026-01-31 00:00:00"),
        ("datetime('now', 'localtime')", "2026-01-15 09:00:03"),
        ("datetime('now', 'UTC')", "2026-01-15 09:00:03"),
        ("date()", "2026-01-15"),
        ("date('now')", "2026-01-15"),
        ("date('now', '+20 days')", "2026-02-04"),
        ("time('now')", "09:00:03"),
        ("time('now', '+1 hour')", "10:00:03"),
        ("julianday('now')", 2461055.875034722),
        ("julianday()", 2461055.875034722),
        ("strftime('%s')", "1768467603"),
        ("strftime('%Y-%m %f', 'now', '+1 day')", "2026-01 03.000"),
        ("strftime()", None),
    ],
)
def test_the_present_in_sql_is_the_calls(frozen: sqlite3.Connection, expression: str, expected: object) -> None:
    assert value(frozen, expression) == expected


@pytest.mark.skipif(VERSION < (3, 38), reason="this SQLite has no unixepoch()")
def test_unixepoch_is_frozen(frozen: sqlite3.Connection) -> None:
    assert value(frozen, "unixepoch()") == value(frozen, "unixepoch('now')") == 1768467603
    assert value(frozen, "unixepoch('now', '-1 minute')") == 1768467543


@pytest.mark.skipif(VERSION < (3, 42), reason="this SQLite has no subsec")
def test_subseconds_are_frozen(frozen: sqlite3.Connection) -> None:
    assert value(frozen, "datetime('now', 'subsec')") == "2026-01-15 09:00:03.000"
    assert value(frozen, "datetime('subsec')") == "2026-01-15 09:00:03.000"
    assert value(frozen, "unixepoch('subsecond')") == 1768467603.0


@pytest.mark.skipif(VERSION < (3, 43), reason="this SQLite has no timediff()")
def test_timediff_is_frozen_on_both_sides(frozen: sqlite3.Connection) -> None:
    assert value(frozen, "timediff('now', '2026-01-14 09:00:03')") == "+0000-00-01 00:00:00.000"
    assert value(frozen, "timediff('2026-01-14 09:00:03', 'now')") == "-0000-00-01 00:00:00.000"


def test_a_reading_moves_the_clock_by_a_microsecond() -> None:
    call = context.CallContext(CLOCK, seed=1, number=0)
    with closing(sqlite3.connect(":memory:")) as connection, context.entered(call):
        sql.install(connection)
        value(connection, "datetime('now')")
        value(connection, "CURRENT_TIMESTAMP")
        assert call.now() == CLOCK + timedelta(microseconds=2)


def test_milliseconds_of_the_clock_reach_sql() -> None:
    call = context.CallContext(CLOCK + timedelta(milliseconds=345), seed=1, number=0)
    with closing(sqlite3.connect(":memory:")) as connection, context.entered(call):
        sql.install(connection)
        assert value(connection, "strftime('%f', 'now')") == "00.345"


def test_local_time_is_utc_whatever_the_zone_of_the_process() -> None:
    program = """
import contextlib, sqlite3
from awm_runtime.determinism import sql
with contextlib.closing(sqlite3.connect(":memory:")) as connection:
    sql.install(connection)
    for modifier in ("localtime", "UTC"):
        print(connection.execute("SELECT datetime('2026-01-15 09:00:00', ?, '+1 hour')", (modifier,)).fetchone()[0])
"""
    environment = {**os.environ, "TZ": "Asia/Tokyo"}
    printed = subprocess.check_output([sys.executable, "-c", program], env=environment, text=True)
    assert printed == "2026-01-15 10:00:00\n2026-01-15 10:00:00\n"


def test_column_defaults_are_frozen(frozen: sqlite3.Connection) -> None:
    frozen.execute(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, at TEXT DEFAULT CURRENT_TIMESTAMP, d DATE DEFAULT CURRENT_DATE,"
        " tm DEFAULT CURRENT_TIME, due DEFAULT (datetime('now', '+1 day')), lot DEFAULT (random()))"
    )
    frozen.execute("INSERT INTO t (id) VALUES (1)")
    *moments, lot = frozen.execute("SELECT at, d, tm, due, lot FROM t").fetchone()
    assert moments == ["2026-01-15 09:00:03", "2026-01-15", "09:00:03", "2026-01-16 09:00:03"]
    with context.entered(context.CallContext(CLOCK, seed=1, number=3)) as again:
        bits = again.entropy.getrandbits(64)
    assert lot == (-(bits >> 1) if bits & 1 else bits >> 1)


def test_indexes_generated_columns_and_checks_take_the_functions(frozen: sqlite3.Connection) -> None:
    frozen.execute(
        "CREATE TABLE t (at TEXT CHECK (date(at) >= '2026-01-01'), day TEXT AS (date(at)) STORED,"
        " month TEXT AS (strftime('%Y-%m', at)))"
    )
    frozen.execute("CREATE INDEX by_day ON t (julianday(at))")
    frozen.execute("INSERT INTO t (at) VALUES (datetime('now'))")
    assert frozen.execute("SELECT day, month FROM t").fetchall() == [("2026-01-15", "2026-01")]
    with pytest.raises(sqlite3.IntegrityError):
        frozen.execute("INSERT INTO t (at) VALUES ('2025-12-31')")


def test_all_rows_of_a_statement_get_the_same_present(frozen: sqlite3.Connection) -> None:
    frozen.execute("CREATE TABLE t (at TEXT)")
    frozen.executemany("INSERT INTO t VALUES (?)", [("",)] * 3000)
    frozen.execute("UPDATE t SET at = strftime('%f', 'now')")
    assert frozen.execute("SELECT DISTINCT at FROM t").fetchall() == [("03.000",)]


@pytest.mark.parametrize("expression", ["CURRENT_TIMESTAMP", "CURRENT_DATE", "datetime('now')", "julianday()"])
def test_a_call_with_constant_arguments_reads_the_clock_once_a_statement(expression: str) -> None:
    running = context.CallContext(CLOCK, seed=1, number=0)
    with closing(sqlite3.connect(":memory:")) as connection, context.entered(running):
        sql.install(connection)
        connection.execute(f"SELECT {expression} FROM (VALUES (1), (2), (3))").fetchall()
    assert running.readings == 1


def test_random_differs_by_row_and_orders_rows(frozen: sqlite3.Connection) -> None:
    frozen.execute("CREATE TABLE t (n INTEGER)")
    frozen.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(50)])
    assert len(set(frozen.execute("SELECT random() FROM t"))) == 50
    assert len(set(frozen.execute("SELECT randomblob(8) FROM t"))) == 50
    shuffled = [n for (n,) in frozen.execute("SELECT n FROM t ORDER BY random()")]
    assert shuffled != sorted(shuffled)
    assert sorted(shuffled) == list(range(50))


def test_random_has_64_bits_of_both_signs_and_an_absolute_value(frozen: sqlite3.Connection) -> None:
    frozen.execute("CREATE TABLE t (n INTEGER)")
    frozen.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(200)])
    numbers = [n for (n,) in frozen.execute("SELECT random() FROM t")]
    assert min(numbers) < -(2**61)
    assert max(numbers) > 2**61
    assert all(-(2**63) < n < 2**63 for n in numbers)


@pytest.mark.parametrize("length", [None, -1, 0, 1, 5, 2.9, "4", "4x", "x", b"3", -3.5])
def test_randomblob_is_as_long_as_sqlites(frozen: sqlite3.Connection, length: object) -> None:
    with closing(sqlite3.connect(":memory:")) as real:
        assert value(frozen, "length(randomblob(?))", length) == value(real, "length(randomblob(?))", length)


def test_a_blob_beyond_sqlites_limit_is_sqlites_error(frozen: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.DataError, match="too big"):
        value(frozen, "randomblob(2000000000)")


def lots(seed: int, number: int) -> object:
    with closing(sqlite3.connect(":memory:")) as connection:
        sql.install(connection)
        with context.entered(context.CallContext(CLOCK, seed=seed, number=number)):
            return connection.execute("SELECT random(), randomblob(16), hex(randomblob(4))").fetchone()


def test_randomness_follows_seed_and_call_number() -> None:
    assert lots(1, 1) == lots(1, 1)
    assert len({lots(1, 1), lots(1, 2), lots(2, 1)}) == 3


def test_without_a_call_the_functions_fail_rather_than_read_the_real_clock() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        sql.install(connection)
        for expression in ("CURRENT_TIMESTAMP", "datetime('now')", "julianday('now', '+1 day')", "random()"):
            with pytest.raises(sqlite3.OperationalError):
                value(connection, expression)
        assert value(connection, "date('2026-01-15', '+1 day')") == "2026-01-16"


def test_one_connection_serves_several_threads_in_turn() -> None:
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as connection:
        sql.install(connection)
        results = []

        def work() -> None:
            with context.entered(context.CallContext(CLOCK, seed=1, number=0)):
                results.append(value(connection, "datetime('now', '+1 day')"))

        for _ in range(3):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        assert results == ["2026-01-16 09:00:00"] * 3


def test_threads_do_not_mix_their_arguments() -> None:
    wrong: list[object] = []

    def work(day: int) -> None:
        with closing(sqlite3.connect(":memory:")) as connection:
            sql.install(connection)
            try:
                results = {value(connection, "date(?, '+1 day')", f"2026-03-{day:02}") for _ in range(300)}
            except sqlite3.Error as exc:
                results = {exc}
            if results != {f"2026-03-{day + 1:02}"}:
                wrong.append(results)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(day,)) for day in range(1, 9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong


def test_other_connections_keep_the_real_clock(frozen: sqlite3.Connection) -> None:
    with closing(sqlite3.connect(":memory:")) as real:
        before = datetime.now(UTC).replace(microsecond=0, tzinfo=None)
        moment = datetime.fromisoformat(str(value(real, "datetime('now')")))
        assert before <= moment <= datetime.now(UTC).replace(tzinfo=None)
    assert value(frozen, "datetime('now')") == "2026-01-15 09:00:03"


TIME_VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-(10**10), 10**10),
    st.floats(allow_nan=False),
    st.floats(0, 5_373_484),
    st.binary(max_size=12),
    st.text(max_size=12),
    st.datetimes().map(str),
    st.dates().map(str),
    st.times().map(str),
    st.datetimes().map(lambda moment: moment.isoformat() + "+02:00"),
).filter(lambda argument: not reads_the_clock(argument))
MODIFIERS = st.one_of(
    st.sampled_from(["start of day", "start of month", "start of year", "unixepoch", "auto", "julianday"]),
    st.sampled_from(["weekday 0", "weekday 9", "subsec", "ceiling", "floor", "now"]),
    st.builds(
        "{:+} {}".format, st.integers(-4000, 4000), st.sampled_from(["days", "month", "years", "hours", "seconds"])
    ),
    st.none(),
    st.integers(-10, 10),
    st.binary(max_size=5),
    st.text(max_size=8),
)


def reads_the_clock(argument: object) -> bool:
    text = argument.decode(errors="replace") if isinstance(argument, bytes) else argument
    return isinstance(text, str) and text.partition("\0")[0].lower() in ("now", "subsec", "subsecond")


@given(
    name=st.sampled_from(["date", "time", "datetime", "julianday"] + ["unixepoch"] * (VERSION >= (3, 38))),
    time_value=TIME_VALUES,
    modifiers=st.lists(MODIFIERS, max_size=3),
)
def test_what_does_not_read_the_clock_is_as_in_plain_sqlite(
    name: str, time_value: object, modifiers: list[object]
) -> None:
    arguments = [time_value, *modifiers]
    marks = ", ".join("?" * len(arguments))
    same_as_plain(f"SELECT {name}({marks}), typeof({name}({marks}))", arguments * 2)


@given(
    pattern=st.one_of(
        st.none(),
        st.integers(),
        st.text("%YmdHMSfjJswW x", max_size=10),
        st.text("%YmdHMSfjJsw", max_size=6).map(str.encode),
    ).filter(lambda pattern: not isinstance(pattern, int) or abs(pattern) < 2**63),
    time_value=TIME_VALUES,
    modifiers=st.lists(MODIFIERS, max_size=2),
)
def test_strftime_is_as_in_plain_sqlite(pattern: object, time_value: object, modifiers: list[object]) -> None:
    arguments = [pattern, time_value, *modifiers]
    same_as_plain(f"SELECT strftime({', '.join('?' * len(arguments))})", arguments)


def same_as_plain(query: str, arguments: list[object]) -> None:
    with closing(sqlite3.connect(":memory:")) as ours, closing(sqlite3.connect(":memory:")) as plain:
        sql.install(ours)
        assert ours.execute(query, arguments).fetchone() == plain.execute(query, arguments).fetchone()
