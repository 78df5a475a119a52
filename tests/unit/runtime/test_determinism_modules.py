import copy
import datetime
import os
import pickle
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from zoneinfo import ZoneInfo

import frozen
import pytest
from hypothesis import given
from hypothesis import strategies as st

from awm_runtime.determinism import context

NAIVE = frozen.CLOCK.replace(tzinfo=None)
SECOND = datetime.timedelta(seconds=1)
MICROSECOND = datetime.timedelta(microseconds=1)


def value(expression: str, imports: str = "import datetime, time") -> Any:
    return frozen.module(f"{imports}\nresult = {expression}")["result"]


@pytest.fixture(autouse=True)
def running_call() -> Iterator[context.CallContext]:
    with context.entered(frozen.call()) as running:
        yield running


@pytest.mark.parametrize(
    ("imports", "expression"),
    [
        ("import datetime", "datetime.datetime.now()"),
        ("import datetime as dt", "dt.datetime.now()"),
        ("from datetime import datetime", "datetime.now()"),
        ("from datetime import datetime as moment, date, timedelta, timezone", "moment.now()"),
        ("from datetime import *", "datetime.now()"),
        ("import datetime", "datetime.datetime.utcnow()"),
        ("import datetime", "datetime.datetime.today()"),
        ("import datetime", "datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)"),
        ("import datetime", "datetime.datetime.now(tz=datetime.UTC).replace(tzinfo=None)"),
        ("module = __import__('datetime')", "module.datetime.now()"),
        ("import datetime, time", "datetime.datetime.fromtimestamp(time.time(), datetime.UTC).replace(tzinfo=None)"),
        ("from time import *; import datetime", "datetime.datetime(*gmtime()[:6])"),
        ("exec('import datetime')", "datetime.datetime.now()"),
    ],
)
def test_the_present_is_frozen_however_it_is_imported(imports: str, expression: str) -> None:
    assert value(expression, imports) == NAIVE


def test_the_present_in_a_zone_is_the_same_moment() -> None:
    moment = value(
        "datetime.now(ZoneInfo('Asia/Tokyo'))", "from datetime import datetime; from zoneinfo import ZoneInfo"
    )
    assert moment == frozen.CLOCK
    assert moment.tzinfo == ZoneInfo("Asia/Tokyo")
    assert moment.hour == 18


def test_today_is_the_calls_day() -> None:
    assert value("datetime.date.today()") == NAIVE.date()
    assert value("date.today()", "from datetime import date") == NAIVE.date()


def test_the_clock_moves_a_second_a_call_and_a_microsecond_a_reading() -> None:
    namespace = frozen.module("from datetime import datetime\ndef handler(now=datetime.now): return [now(), now()]")
    with context.entered(frozen.call(number=5)):
        assert namespace["handler"]() == [NAIVE + 5 * SECOND, NAIVE + 5 * SECOND + MICROSECOND]
    with context.entered(frozen.call(number=6)):
        assert namespace["handler"]() == [NAIVE + 6 * SECOND, NAIVE + 6 * SECOND + MICROSECOND]


@pytest.mark.parametrize(
    "expression",
    [
        "datetime.now()",
        "datetime.now(timezone.utc)",
        "datetime(2026, 1, 2, 3, 4, 5, 6)",
        "datetime(2026, 1, 2, fold=1, tzinfo=timezone.utc)",
        "datetime.fromtimestamp(0)",
        "datetime.fromtimestamp(0, timezone.utc)",
        "datetime.strptime('2026-01-02', '%Y-%m-%d')",
        "datetime.combine(date(2026, 1, 2), time(3, 4))",
        "datetime.combine(date.today(), time.min)",
        "datetime.fromisoformat('2026-01-02T03:04:05+01:00')",
        "datetime.fromisocalendar(2026, 3, 4)",
        "datetime.fromordinal(700000)",
        "datetime.now() - timedelta(days=3)",
        "datetime.now().replace(hour=1)",
        "datetime.now().astimezone(timezone.utc)",
        "datetime.min",
        "datetime.max",
    ],
)
def test_all_moments_are_plain(expression: str) -> None:
    assert type(value(expression, "from datetime import *")) is datetime.datetime


@pytest.mark.parametrize(
    "expression",
    [
        "date.today()",
        "date(2026, 1, 2)",
        "date.fromisoformat('2026-01-02')",
        "date.fromtimestamp(0)",
        "date.fromordinal(700000)",
        "date.fromisocalendar(2026, 3, 4)",
        "date.today() + timedelta(days=1)",
        "datetime.now().date()",
        "date.min",
    ],
)
def test_all_days_are_plain(expression: str) -> None:
    assert type(value(expression, "from datetime import *")) is datetime.date


@given(st.datetimes(timezones=st.none() | st.just(datetime.UTC)), st.integers(0, 1))
def test_constructors_give_what_the_real_ones_give(moment: datetime.datetime, fold: int) -> None:
    frozen = value("datetime", "from datetime import datetime")
    moment = moment.replace(fold=fold)
    parts = (moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second, moment.microsecond)
    made = [
        frozen(*parts, tzinfo=moment.tzinfo, fold=fold),
        frozen.combine(moment.date(), moment.timetz()),
        frozen.fromisoformat(moment.isoformat()).replace(fold=fold),
        pickle.loads(pickle.dumps(frozen(*parts, moment.tzinfo, fold=fold))),
    ]
    assert [(type(each), each, each.tzinfo, each.fold) for each in made] == [
        (datetime.datetime, moment, moment.tzinfo, fold)
    ] * 4


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("isinstance(datetime(2026, 1, 1), datetime)", True),
        ("isinstance(datetime(2026, 1, 1), date)", True),
        ("isinstance(date(2026, 1, 1), date)", True),
        ("isinstance(date(2026, 1, 1), datetime)", False),
        ("isinstance('2026', (date, datetime))", False),
        ("issubclass(datetime, date)", True),
        ("issubclass(date, datetime)", False),
        ("issubclass(type(datetime.now()), datetime)", True),
        ("type(datetime.now()) == datetime", True),
        ("type(datetime.now()) in (str, datetime)", True),
        ("{datetime: 1}[type(datetime.now())]", 1),
        ("type(date.today()) == datetime", False),
        ("datetime == None", False),
        ("datetime.resolution", MICROSECOND),
        ("datetime.max.year", 9999),
        ("repr(datetime)", "<class 'datetime.datetime'>"),
        ("repr(date)", "<class 'datetime.date'>"),
        ("datetime.isoformat(datetime(2026, 1, 1))", "2026-01-01T00:00:00"),
        ("timedelta(days=1)", datetime.timedelta(days=1)),
    ],
)
def test_the_classes_are_taken_for_the_real_ones(expression: str, expected: object) -> None:
    assert value(expression, "from datetime import *") == expected


def test_a_plain_moment_of_the_server_passes_the_scenarios_checks() -> None:
    namespace = frozen.module(
        "from datetime import date, datetime\ndef check(x): return isinstance(x, datetime), isinstance(x, date)"
    )
    assert namespace["check"](NAIVE) == (True, True)
    assert namespace["check"](NAIVE.date()) == (False, True)


def test_a_match_statement_and_single_dispatch_know_the_classes() -> None:
    namespace = frozen.module("""
        import functools
        from datetime import date, datetime

        def kind(x):
            match x:
                case datetime(year=year):
                    return ("moment", year)
                case date():
                    return "day"

        @functools.singledispatch
        def shown(x): return "other"

        @shown.register
        def _(x: datetime): return "moment"
    """)
    assert [namespace["kind"](NAIVE), namespace["kind"](NAIVE.date())] == [("moment", 2026), "day"]
    assert [namespace["shown"](NAIVE), namespace["shown"](1)] == ["moment", "other"]


def test_a_subclass_of_the_scenario_makes_instances_of_its_own() -> None:
    namespace = frozen.module("""
        from datetime import date, datetime, timezone

        class Stamp(datetime):
            def shown(self): return self.strftime("%d.%m.%Y")

        class Day(date):
            pass

        made = [Stamp(2026, 1, 15), Stamp.now(), Stamp.utcnow(), Stamp.now(timezone.utc)]
        days = [Day(2026, 1, 15), Day.today()]
    """)
    assert [each.shown() for each in namespace["made"]] == ["15.01.2026"] * 4
    assert [type(each) for each in namespace["days"]] == [namespace["Day"]] * 2
    assert namespace["made"][3].tzinfo is datetime.UTC
    assert all(isinstance(each, namespace["Stamp"]) for each in namespace["made"])
    assert not isinstance(NAIVE, namespace["Stamp"])
    assert namespace["Stamp"] != datetime.datetime
    assert issubclass(namespace["Stamp"], namespace["datetime"])


def test_moments_can_be_pickled_copied_and_stored() -> None:
    moment = value("datetime.now()", "from datetime import datetime")
    assert pickle.loads(pickle.dumps(moment)) == copy.deepcopy(moment) == NAIVE
    with closing(sqlite3.connect(":memory:")) as connection:
        stored = connection.execute("SELECT ?", (moment.isoformat(),)).fetchone()[0]
    assert stored == "2026-01-15T09:00:00"


def test_the_classes_themselves_can_be_copied() -> None:
    frozen = value("datetime", "from datetime import datetime")
    assert copy.deepcopy({"type": frozen})["type"] is frozen


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("time.time()", frozen.CLOCK.timestamp()),
        ("time.time_ns()", int(frozen.CLOCK.timestamp()) * 10**9),
        ("time.monotonic()", frozen.CLOCK.timestamp()),
        ("time.monotonic_ns()", int(frozen.CLOCK.timestamp()) * 10**9),
        ("time.perf_counter()", frozen.CLOCK.timestamp()),
        ("time.perf_counter_ns()", int(frozen.CLOCK.timestamp()) * 10**9),
        ("time.process_time()", frozen.CLOCK.timestamp()),
        ("time.thread_time_ns()", int(frozen.CLOCK.timestamp()) * 10**9),
        ("time.clock_gettime(time.CLOCK_REALTIME)", frozen.CLOCK.timestamp()),
        ("time.clock_gettime_ns(time.CLOCK_MONOTONIC)", int(frozen.CLOCK.timestamp()) * 10**9),
        ("time.gmtime()[:6]", (2026, 1, 15, 9, 0, 0)),
        ("time.gmtime(None)[:6]", (2026, 1, 15, 9, 0, 0)),
        ("time.gmtime(0)[:6]", (1970, 1, 1, 0, 0, 0)),
        ("time.mktime(time.localtime())", frozen.CLOCK.timestamp()),
        ("time.localtime(0)", time.localtime(0)),
        ("time.ctime()", time.ctime(frozen.CLOCK.timestamp())),
        ("time.ctime(0)", time.ctime(0)),
        ("time.asctime()", time.ctime(frozen.CLOCK.timestamp())),
        ("time.asctime(time.gmtime(0))", "Thu Jan  1 00:00:00 1970"),
        ("time.strftime('%Y-%m-%d')", "2026-01-15"),
        ("time.strftime('%Y', time.gmtime(0))", "1970"),
        ("time.strptime('2026', '%Y').tm_year", 2026),
    ],
)
def test_the_module_time_is_frozen(expression: str, expected: object) -> None:
    assert value(expression) == expected


def test_every_reading_of_the_module_time_is_later() -> None:
    readings = value("[time.time_ns(), time.perf_counter_ns(), time.monotonic_ns(), time.time_ns()]")
    assert [reading - readings[0] for reading in readings] == [0, 1000, 2000, 3000]


def test_sleeping_stays_real() -> None:
    assert value("time.sleep") is time.sleep


@pytest.mark.parametrize(
    ("imports", "expression", "expected"),
    [
        ("import os", "os.environ", os.environ),
        ("import os", "os.getenv", os.getenv),
        ("import os", "os.path", os.path),
        ("import os.path", "os.path", os.path),
        ("import os.path as p", "p", os.path),
        ("from os import path", "path", os.path),
        ("from os.path import join", "join", os.path.join),
        ("import sqlite3", "sqlite3", sqlite3),
        ("import importlib.util", "importlib.util.find_spec", __import__("importlib.util").util.find_spec),
        ("import xml.dom.minidom", "xml.dom.minidom", __import__("xml.dom.minidom").dom.minidom),
    ],
)
def test_all_else_is_the_real_thing(imports: str, expression: str, expected: object) -> None:
    assert value(expression, imports) is expected


@pytest.mark.parametrize(
    "imports", ["import os", "import os.path", "import os, os.path as p", "from os import *; import os"]
)
def test_every_way_to_os_leads_to_the_seeded_one(imports: str) -> None:
    with context.entered(frozen.call()):
        first = value("os.urandom(8)", imports)
    with context.entered(frozen.call()):
        assert value("os.urandom(8)", imports) == first


def test_an_import_that_fails_fails_as_usual() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        frozen.module("import no_such_module")
    with pytest.raises(ImportError, match="no_such_name"):
        frozen.module("from datetime import no_such_name")
    with pytest.raises(AttributeError, match="no_such_name"):
        frozen.module("import time; time.no_such_name")


def test_patching_a_frozen_module_does_not_reach_the_server() -> None:
    frozen.module("import time; time.time = lambda: 0.0\nimport os; os.getcwd = None")
    try:
        assert time.time() > 0
        assert os.getcwd is not None
    finally:
        frozen.module("import importlib, time; time.time = time.monotonic\nimport os; os.getcwd = os.getcwdb")


def test_the_servers_own_clock_is_untouched() -> None:
    before = (datetime.datetime, datetime.date, time.time, datetime.datetime.now(datetime.UTC))
    frozen.module("import datetime, time; from datetime import datetime as d; d.now(); time.time()")
    after = (datetime.datetime, datetime.date, time.time, datetime.datetime.now(datetime.UTC))
    assert all(mine is theirs for mine, theirs in zip(before[:3], after[:3], strict=True))
    assert sys.modules["datetime"] is datetime
    assert sys.modules["time"] is time
    assert before[3] <= after[3]
    assert abs(after[3].timestamp() - time.time()) < 3600


def test_a_library_that_a_scenario_imports_keeps_the_real_clock() -> None:
    assert (
        value("module.datetime", "import importlib; module = importlib.import_module('datetime')") is datetime.datetime
    )


def test_outside_a_call_the_clock_is_an_error() -> None:
    namespace = frozen.module("from datetime import datetime, date\nimport time")
    caught: list[BaseException] = []

    def work() -> None:
        for read in (namespace["datetime"].now, namespace["date"].today, namespace["time"].time):
            try:
                read()
            except context.OutsideEpisode as exc:
                caught.append(exc)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(caught) == 3


PROGRAM = """
import builtins, datetime
from awm_runtime.determinism import context, modules
source = '''
import os, random, secrets, time, uuid
from datetime import datetime
values = [
    datetime.now(), time.time(), random.random(), random.sample(range(99), 9), random.Random().random(),
    random.SystemRandom().random(), uuid.uuid4(), uuid.uuid1(), secrets.token_hex(), os.urandom(8),
    random.choice(sorted({"a", "b", "c", "d"})), random.gauss(0, 1),
]
'''
namespace = {"__builtins__": vars(builtins) | {"__import__": modules.scenario_import}}
clock = datetime.datetime(2026, 1, 15, 9, tzinfo=datetime.UTC)
with context.entered(context.CallContext(clock, seed=SEED, number=NUMBER)):
    exec(source, namespace)
print(namespace["values"])
"""


def printed(*, seed: int, number: int, hash_seed: str) -> str:
    program = PROGRAM.replace("SEED", str(seed)).replace("NUMBER", str(number))
    return subprocess.check_output(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": hash_seed}, text=True
    )


def test_a_fresh_process_gives_the_same_values() -> None:
    first = printed(seed=7, number=3, hash_seed="0")
    assert printed(seed=7, number=3, hash_seed="4242") == first
    assert printed(seed=7, number=4, hash_seed="0") != first
    assert printed(seed=8, number=3, hash_seed="0") != first
