from datetime import UTC, datetime

import pytest

from awm_generator.awm_files import dates, module_state, rows, verifiers, wall_clock

CODE = "def verify_task_completion(initial_db_path, final_db_path, final_answer=None):\n    return {}\n"
SQL = "def verify_task(initial_db_path, final_db_path):\n    return {}\n"


def at(year: int, month: int, day: int) -> datetime:
    return datetime(year, month, day, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("tasks", "seed", "clock"),
    [
        (["on 2026-03-05", "to 2026-03-16 from 2026-03-14"], ["'2020-01-01'"], at(2026, 3, 14)),
        (["from 2026-03-05 to 2026-03-08"], [], at(2026, 3, 5)),
        (["by Oct 15, 2026 at the latest"], [], at(2026, 10, 15)),
        (["on March 3rd 2026"], [], at(2026, 3, 3)),
        (["soon"], ["VALUES ('2025-12-05 14:22:00')"], at(2025, 12, 5)),
        (["on 2026-02-30, number 12026-01-019, in 3026-01-01"], [], at(2026, 1, 1)),
        ([], [], at(2026, 1, 1)),
    ],
)
def test_the_clock_of_an_import_is_the_median_date_at_nine(tasks: list[str], seed: list[str], clock: datetime) -> None:
    assert dates.clock(tasks, seed) == clock


@pytest.mark.parametrize(
    "body",
    [
        "count = 0\ndef f():\n    global count\n    count += 1",
        "cache = {}\ndef f(key):\n    cache[key] = 1",
        "cache = {}\ndef f(key):\n    del cache[key]",
        "cache: dict = dict()\nasync def f():\n    cache.setdefault('a', []).append(1)",
        "import itertools\nids = itertools.count(1)\ndef f():\n    return next(ids)",
        "class Store:\n    total = 0\ndef f():\n    Store.total += 1",
        "seen = []\nadd = lambda item: seen.append(item)",
    ],
)
def test_state_that_outlives_a_call_is_found(body: str) -> None:
    assert module_state.mutations(body)


@pytest.mark.parametrize(
    "body",
    [
        "limits = {'a': 1}\ndef f():\n    return limits['a']",
        "cache = {}\ncache['a'] = 1",
        "rows = []\ndef f():\n    rows = []\n    rows.append(1)\n    return rows",
        "rows = []\ndef f(rows):\n    rows.append(1)",
        "Session = sessionmaker()\ndef f():\n    session = Session()\n    session.add(1)\n    session.name = 'a'",
        "not python (",
    ],
)
def test_state_of_one_call_is_not_taken_for_the_modules(body: str) -> None:
    assert module_state.mutations(body) == ()


def test_where_module_state_changes_is_said() -> None:
    assert module_state.mutations("cache = {}\ndef f():\n    cache['a'] = 1\n    cache.clear()\n") == (
        "line 3: cache[...] is set",
        "line 4: cache.clear()",
    )


def test_seed_rows_that_read_the_clock_are_found() -> None:
    seed = "INSERT INTO a VALUES (datetime('now', '-3 days'));\nINSERT INTO b VALUES ('now and then');\n"
    (finding,) = wall_clock.in_seed(seed)
    assert (finding.kind, finding.detail[:25]) == ("wall_clock_in_seed", "1 insert(s) into 1 table(")
    assert wall_clock.in_seed("INSERT INTO b VALUES ('2026-01-01');") == []


def test_code_that_reads_the_clock_is_found() -> None:
    (finding,) = wall_clock.in_code(
        "created = Column(default=datetime.utcnow)\nat = datetime.datetime.now()\nb = func.now()"
    )
    assert finding.detail.startswith("3 line(s) read the clock (1, 2, 3)")
    assert wall_clock.in_code("queue.time()\nrow.now\n") == []


@pytest.mark.parametrize(
    ("source", "mode"),
    [
        (CODE, "code"),
        (SQL, "sql"),
        (f"{SQL}{CODE}", "code"),
        (f"async {CODE}", None),
        ("def verify(a, b): ...", None),
        ("class A:\n    def verify_task(self): ...", None),
        ("def verify_task(:", None),
        ("\0", None),
        ("(" * 10_000, None),
    ],
)
def test_the_mode_of_a_verifier_is_told_by_its_function(source: str, mode: str | None) -> None:
    assert verifiers.mode(source) == mode


def row(task: int, code: str | None) -> rows.VerifierRow:
    return rows.VerifierRow.model_validate({"scenario": "x", "task_idx": task, "verification": {"code": code}})


def test_of_several_verifiers_the_last_usable_one_counts() -> None:
    found = [row(0, CODE), row(0, f"{CODE}# new"), row(0, SQL), row(0, "nonsense ("), row(0, None)]
    sources, findings = verifiers.chosen(found, ["0"])
    assert sources == {("0", "code"): f"{CODE}# new", ("0", "sql"): SQL}
    assert [(finding.kind, finding.action) for finding in findings] == [
        ("duplicate_verifier", "resolved"),
        ("unusable_verifier", "dropped"),
        ("unusable_verifier", "dropped"),
    ]


def test_tasks_and_verifiers_that_miss_each_other_are_named() -> None:
    sources, findings = verifiers.chosen([row(7, CODE), row(-1, CODE)], ["0", "10", "2"])
    assert sources == {}
    assert [(finding.kind, finding.subject) for finding in findings] == [
        ("verifier_without_task", "7"),
        ("verifier_without_task", "-1"),
        ("task_without_verifier", "0"),
        ("task_without_verifier", "2"),
        ("task_without_verifier", "10"),
    ]
