"""First replies that are broken: each is caught, said to the model, and mended on the next; or quarantined."""

import dataclasses
import json
from collections.abc import Awaitable
from typing import Any

import pytest

from awm_generator.awm_files import rows
from awm_generator.stages import databases, environments, outcomes, proving, specs, tasks, trials, verifiers


def code_of(scenario: Any) -> str:
    row = scenario.originals.row(rows.EnvRow)
    return str(row.full_code)


def tables(*ddl: str) -> str:
    return json.dumps({"tables": [{"name": f"t{n}", "ddl": text, "indexes": []} for n, text in enumerate(ddl)]})


def inserts(table: str, *statements: str) -> str:
    return json.dumps({"tables": [{"table_name": table, "reasoning": "", "insert_statements": list(statements)}]})


def python(source: str) -> str:
    return f"```python\n{source}\n```"


async def _schema(scenario: Any, ran: trials.Trials) -> Any:
    file = scenario.folder / "clinic.db"
    return await databases.schema(scenario.tasks, scenario.session("db"), ran, tolerance=0, file=file)


async def _sample(scenario: Any, ran: trials.Trials) -> Any:
    file = scenario.folder / "clinic.db"
    return await databases.sample(
        scenario.tasks, scenario.schema, scenario.session("sample"), ran, tolerance=0, file=file
    )


async def _spec(scenario: Any, _: trials.Trials) -> Any:
    return await specs.generate(scenario.tasks, scenario.schema, scenario.session("spec"))


async def _env(scenario: Any, ran: trials.Trials, level: proving.Level = "none", max_retry: int = 2) -> Any:
    spec, gates = scenario.originals.row(rows.SpecRow), scenario.gates(ran, level)
    session = scenario.session("env", max_retry=max_retry)
    file = scenario.folder / "clinic.db"
    return await environments.generate(spec, scenario.schema, session, ran, gates=gates, file=file)


_REFUSING = 'raise refuse(404, f"There is no {what} with id {key}.")'


def crashing(code: str) -> str:
    """The clinic's code with a handler that answers what is not there with a 500; it loads as it did."""
    return code.replace(_REFUSING, 'raise RuntimeError("unforeseen")')


async def _verifier(scenario: Any, ran: trials.Trials) -> Any:
    file = scenario.folder / "clinic.db"
    sample = scenario.originals.row(rows.SampleRow)
    databases.built(scenario.schema, sample, databases.clock(scenario.tasks), file)
    facts = verifiers.Facts.of(file)
    task = str(scenario.tasks.tasks[0])
    return await verifiers.one("Clinic", 0, task, scenario.session("verifier"), ran, mode="code", facts=facts)


async def _tasks(scenario: Any, _: trials.Trials) -> Any:
    row = rows.ScenarioRow.model_validate({"name": "Clinic", "description": "A clinic."})
    return await tasks.generate(row, scenario.session("task"), count=3)


_CRASHING = 'def verify_task_completion(i, f, a=None):\n    raise KeyError("no such row")'
_GENEROUS = 'def verify_task_completion(i, f, a=None):\n    return {"result": "complete"}'
_MALFORMED = "def verify_task_completion(i, f, a=None):\n    return 7"
_NO_FUNCTION = "def check(i, f):\n    return {}"

BROKEN = [
    pytest.param(_tasks, "no json", "is no JSON", id="no JSON"),
    pytest.param(_tasks, '{"tasks": 3}', "tasks: Input should be", id="another shape"),
    pytest.param(_tasks, '{"tasks": ["Do a thing for me now."]}', "1 tasks, and 3 are wanted", id="too few tasks"),
    pytest.param(
        _tasks,
        json.dumps({"tasks": ["Book a visit for Ada."] * 3}),
        "task 1 is the same as task 0",
        id="the same task twice",
    ),
    pytest.param(_schema, tables("CREATE TABLE t0 (id INTEGER PRIMARY KEY"), "incomplete input", id="bad DDL"),
    pytest.param(_schema, tables("CREATE TABLE t0 (a)", "PRAGMA user_version = 3"), "not authorized", id="a PRAGMA"),
    pytest.param(
        _schema, tables("CREATE TABLE t0 (a REFERENCES t1 (b))", "CREATE TABLE t1 (b)"), "leads to no", id="a bad key"
    ),
    pytest.param(_schema, '{"tables": []}', "no table", id="no table"),
    pytest.param(_sample, inserts("x", "INSERT INTO x VALUES (1)"), "no such table: x", id="failing insert"),
    pytest.param(
        _sample, inserts("services", "DELETE FROM services"), "Only INSERT statements", id="another statement"
    ),
    pytest.param(
        _sample,
        inserts("services", "INSERT INTO services (name) VALUES (datetime('now'))"),
        "same on every day",
        id="a seed that reads the clock",
    ),
    pytest.param(_spec, '{"api_groups": []}', "no endpoint", id="an empty specification"),
    pytest.param(_env, python("def broken(:\n    pass"), "SyntaxError", id="syntax error"),
    pytest.param(_env, python("raise RuntimeError('boom')"), "boom", id="crash at import"),
    pytest.param(
        _env,
        python("from fastapi import FastAPI\napp = FastAPI()"),
        "missing endpoint: no route",
        id="missing endpoint",
    ),
    pytest.param(
        _env, python("import subprocess"), "import of subprocess is not allowed", id="an import that is not allowed"
    ),
    pytest.param(_env, python("eval('1')"), "line 1: eval() is not allowed", id="code out of text"),
    pytest.param(_env, "", "holds no code", id="no code"),
    pytest.param(_verifier, python(_CRASHING), "KeyError: 'no such row'", id="crashing verifier"),
    pytest.param(_verifier, python(_GENEROUS), "doing nothing is rewarded", id="wrong verdict"),
    pytest.param(_verifier, python(_MALFORMED), "malformed", id="malformed result"),
    pytest.param(_verifier, python(_NO_FUNCTION), "verify_task_completion", id="no function"),
]


@pytest.mark.parametrize(("stage", "reply", "said"), BROKEN)
def test_a_broken_first_reply_is_mended_on_the_next(stage: Any, reply: str, said: str, scenario: Any) -> None:
    scenario.first = [reply]
    assert scenario.run(lambda ran: stage(scenario, ran)) is not None
    assert len(scenario.model.requests) == 2
    assert said in scenario.problems[0]
    assert len(scenario.problems[0]) < 3200  # a summary, not a log


@pytest.mark.parametrize(("stage", "reply", "said"), BROKEN)
def test_a_reply_that_stays_broken_is_quarantined(stage: Any, reply: str, said: str, scenario: Any) -> None:
    scenario.first = [reply] * 9
    with pytest.raises(outcomes.Quarantined, match="3 replies did not hold") as caught:
        scenario.run(lambda ran: stage(scenario, ran))
    assert len(scenario.model.requests) == 3
    assert said in caught.value.detail
    assert [request.salt for request in scenario.model.requests] == ["", " try 2", " try 3"]  # none out of the cache


def test_code_that_fails_a_runtime_gate_is_mended_with_the_counterexample(scenario: Any) -> None:
    code = code_of(scenario)
    assert crashing(code) != code
    scenario.first = [python(crashing(code))]
    row = scenario.run(lambda ran: _env(scenario, ran, "semantic"))
    assert row.full_code == code.strip() + "\n"
    [problem] = scenario.problems
    for part in ("runtime.server-errors: ", "request: ", "reply: 500", "raised: ", "unforeseen", "To mend it"):
        assert part in problem
    assert 800 <= len(problem) <= 2400  # 200 to 500 tokens, and what frames them


def test_code_that_goes_on_failing_a_runtime_gate_is_quarantined(scenario: Any) -> None:
    scenario.first = [python(crashing(code_of(scenario)))] * 9
    with pytest.raises(outcomes.Quarantined, match="2 replies did not hold"):
        scenario.run(lambda ran: _env(scenario, ran, "runtime", max_retry=1))


@pytest.mark.parametrize("level", ["none", "static"])
def test_a_run_that_leaves_runtime_gates_out_keeps_such_code(level: proving.Level, scenario: Any) -> None:
    code = crashing(code_of(scenario))
    scenario.first = [python(code)]
    assert scenario.run(lambda ran: _env(scenario, ran, level)).full_code == code.strip() + "\n"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        pytest.param("while True:\n    pass", "does not load", id="loops"),
        pytest.param(
            "import os\nfor _ in range(3):\n    os.fork()\nwhile True:\n    pass", "os.fork is not allowed", id="forks"
        ),
        pytest.param("x = []\nwhile True:\n    x.append(bytearray(1 << 24))", "does not load", id="fills memory"),
        pytest.param(
            "import os\nwhile True:\n    open('/tmp/awm-must-not-be', 'ab').write(b'x' * 1000000)",
            "open() is not allowed",
            id="writes",
        ),
    ],
)
def test_code_that_does_harm_is_contained_and_reported(source: str, said: str, scenario: Any) -> None:
    scenario.first = [python(source)]
    row = scenario.run(lambda ran: _env(scenario, ran), code_deadline_s=4)
    assert row.full_code == code_of(scenario).strip() + "\n"
    assert said in scenario.problems[0]


def test_what_may_fail_is_left_out_where_the_threshold_says_so(scenario: Any) -> None:
    scenario.first = [tables("CREATE TABLE t0 (a)", "CREATE TABLE t1 (a", "CREATE TABLE t2 (a)")]
    file = scenario.folder / "clinic.db"
    row = scenario.run(
        lambda ran: databases.schema(scenario.tasks, scenario.session("db"), ran, tolerance=0.4, file=file)
    )
    assert [table["name"] for table in row.db_schema.tables] == ["t0", "t2"]
    assert len(scenario.model.requests) == 1


def test_feedback_is_in_the_question(scenario: Any) -> None:
    session = dataclasses.replace(scenario.session("spec"), feedback="Call them visits.", salt="generation 2")
    scenario.run(lambda _: _with(specs.generate(scenario.tasks, scenario.schema, session)))
    [request] = scenario.model.requests
    assert request.messages[-1].content.endswith("Call them visits.")
    assert request.salt == "generation 2"


async def _with(work: Awaitable[Any]) -> Any:
    return await work
