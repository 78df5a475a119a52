"""The examples keep the standard that generated scenarios are asked for: whole, solvable, judged right, never a 5xx."""

import asyncio
import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from awm_fleet import examples
from awm_generator import checking, oracles
from awm_runtime.bundle import database, model, reading
from awm_runtime.determinism import context
from awm_runtime.server import asgi, engines, loading, outcomes, probe, storage, tools
from awm_runtime.verification import sandbox

pytestmark = pytest.mark.usefixtures("as_an_instance")

RESULT_BYTES = 1 << 20
DATABASE_BYTES = 1 << 26

Calls = list[tuple[str, dict[str, Any]]]


class Play:
    """One example with an episode that can be started over."""

    def __init__(self, bundle: model.Bundle, folder: Path) -> None:
        self.bundle = bundle
        self.seed, self.final = folder / "seed.db", folder / "final.db"
        on_or_off = bundle.scenario.foreign_keys
        database.build(bundle.schema_sql, bundle.seed_sql, bundle.clock, self.seed, on_or_off)
        scratch = Path(shutil.copy(self.seed, folder / "scratch.db"))
        self._loaded = loading.load(
            bundle.environment, scratch_database=scratch, clock=bundle.clock, foreign_keys=on_or_off == "on"
        )
        self._app = asgi.StartedApp(self._loaded.app, self._loaded.state)
        self._connections = storage.EpisodeConnections(self.final, foreign_keys=True, max_bytes=DATABASE_BYTES)
        self.start_over()

    @property
    def tools(self) -> dict[str, tools.Tool]:
        return self._loaded.toolset.tools

    def start_over(self) -> None:
        self._connections.close()
        shutil.copy(self.seed, self.final)
        self._numbers = itertools.count(1)

    def snapshot(self) -> Path:
        """A copy of the episode's database, which is complete between two calls."""
        return Path(shutil.copy(self.final, self.final.with_name("snapshot.db")))

    def call(self, tool: str, arguments: dict[str, Any]) -> outcomes.Outcome:
        running = context.CallContext(self.bundle.clock, 7, next(self._numbers), connections=self._connections)
        with context.entered(running):
            try:
                request = tools.request_for(self.tools[tool], arguments)
                reply = asyncio.run(asgi.request(self._app, request))
            finally:
                engines.release_leaks()
        return outcomes.of_reply(reply, RESULT_BYTES)

    def reply(self, tool: str, arguments: dict[str, Any]) -> Any:
        """The reply of a call that fits its schema and is not refused."""
        assert self.tools[tool].problem_with(arguments) is None
        outcome = self.call(tool, arguments)
        assert not outcome.is_error, f"{tool} {arguments}: {outcome.text}"
        return json.loads(outcome.text)

    def solve(self, task: model.Task) -> str | None:
        """Replays a task's oracle on a fresh episode and gives its answer."""
        assert task.oracle is not None
        self.start_over()
        return oracles.replay(task.oracle, self.reply).answer

    def close(self) -> None:
        self._connections.close()
        self._loaded.shutdown()


@pytest.fixture(scope="module")
def judge() -> Iterator[sandbox.LocalJudge]:
    with sandbox.local_judge() as running:
        yield running


@pytest.fixture(scope="module")
def plays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Play]]:
    made = {name: Play(reading.read(examples.path(name)), tmp_path_factory.mktemp(name)) for name in examples.names()}
    yield made
    for play in made.values():
        play.close()


def judged(judge: sandbox.LocalJudge, play: Play, task: str, answer: str | None) -> dict[str, Any]:
    source = play.bundle.verifiers[task, "code"]
    final = play.snapshot()
    reply = judge.run(sandbox.JudgeRequest(source=source, mode="code", initial=play.seed, final=final, answer=answer))
    assert reply.result is not None, f"{reply.failure}: {reply.detail}"
    return reply.result


ALL_TASKS = [
    pytest.param(name, task.id, id=f"{name}-{task.id}")
    for name in examples.names()
    for task in reading.read(examples.path(name)).tasks
]

NEAR_MISSES: list[tuple[str, str, Calls, str | None]] = [
    ("library", "next-due", [], "Maps of the Night Sky, by 7 March"),
    ("library", "next-due", [], "Maps of the Night Sky, and before that Bread Without Hurry by 5 March"),
    ("library", "next-due", [("renew_loan", {"loan_id": 1})], "Bread Without Hurry, by 2026-03-05"),
    ("library", "rain-hold", [("place_hold", {"title_id": 15, "pickup_branch_id": 2})], None),
    ("library", "rain-hold", [("place_hold", {"title_id": 15}), ("pay_fine", {"fine_id": 1})], None),
    ("library", "soil-cancel", [("cancel_hold", {"hold_id": 1})], None),
    ("library", "renew-week", [("renew_loan", {"loan_id": 1})], "Maps of the Night Sky"),
    (
        "library",
        "renew-week",
        [("renew_loan", {"loan_id": 1}), ("renew_loan", {"loan_id": 3})],
        "Bread Without Hurry, Slow Trains North and Maps of the Night Sky",
    ),
    ("library", "two-fines", [("pay_fine", {"fine_id": 1}), ("pay_fine", {"fine_id": 5})], "0.90"),
    ("library", "two-fines", [("pay_fine", {"fine_id": number}) for number in (1, 2, 5)], "4.50"),
    ("library", "story-hour", [("register_for_event", {"event_id": 2, "seats": 2})], None),
    ("library", "story-hour", [("register_for_event", {"event_id": 3})], None),
    ("library", "sourdough-swap", [("register_for_event", {"event_id": 9})], None),
    ("library", "train-listening", [("create_reading_list", {"name": "Train listening"})], None),
    ("library", "mill-quay", [("cancel_hold", {"hold_id": 5})], None),
    ("library", "third-renewal", [], "Done, it is renewed until 14 April."),
    (
        "library",
        "third-renewal",
        [("return_loan", {"loan_id": 4}), ("check_out_copy", {"barcode": "B-0016"})],
        "It could not be renewed again because of the limit, so I borrowed it anew.",
    ),
    ("clinic", "next-visit", [], "On 9 March at 09:00 with Dr Yusuf Hale"),
    ("clinic", "new-phone", [("update_patient_contact", {"patient_id": 4, "phone": "555-0177"})], None),
    ("clinic", "next-visit", [], "At 13:30 on 5 March with Dr Hale or Dr Caro"),
    ("clinic", "busiest", [], "Dr Yusuf Hale, 90 minutes"),
    ("clinic", "busiest", [], "Bram Visser with 135 minutes, ahead of Dr Yusuf Hale"),
    ("clinic", "friday-off", [("cancel_appointment", {"appointment_id": 16, "wanted_by": "patient"})], None),
    (
        "clinic",
        "thursday-instead",
        [("reschedule_appointment", {"appointment_id": 20, "starts_at": "2026-03-05T09:45:00Z"})],
        None,
    ),
    ("clinic", "settle-up", [("record_payment", {"invoice_id": 1, "method": "card"})], "45.00"),
    ("clinic", "settle-up", [("record_payment", {"invoice_id": n, "method": "cash"}) for n in (1, 2)], "70.00"),
    ("clinic", "expired-referral", [], "It is booked for Friday at 11:00."),
    (
        "clinic",
        "expired-referral",
        [
            (
                "add_referral",
                {
                    "patient_id": 6,
                    "specialty": "imaging",
                    "issued_by": "Dr Yusuf Hale",
                    "expires_on": "2026-12-31",
                    "visits": 1,
                },
            )
        ],
        "The referral had expired and it could not be booked.",
    ),
    (
        "clinic",
        "rao-ill",
        [("reschedule_appointment", {"appointment_id": 17, "starts_at": "2026-03-06T09:00:00Z"})],
        None,
    ),
    (
        "clinic",
        "new-patient",
        [("create_patient", {"name": "Malik Osei", "born_on": "1988-07-19", "phone": "555-0190"})],
        None,
    ),
    (
        "clinic",
        "next-in-line",
        [
            ("cancel_appointment", {"appointment_id": 13, "wanted_by": "patient"}),
            (
                "book_appointment",
                {
                    "patient_id": 6,
                    "service_id": 1,
                    "practitioner_id": 1,
                    "starts_at": "2026-03-03T11:00:00Z",
                    "waitlist_entry_id": 2,
                },
            ),
        ],
        None,
    ),
]

DETOURS: list[tuple[str, str, Calls, str | None]] = [
    (
        "library",
        "renew-week",
        [("renew_loan", {"loan_id": 3}), ("renew_loan", {"loan_id": 1})],
        "Renewals went through for Bread Without Hurry and Slow Trains North; bring back Maps of the Night Sky.",
    ),
    (
        "library",
        "train-listening",
        [
            ("create_reading_list", {"name": "Train listening"}),
            ("add_to_reading_list", {"list_id": 4, "title_id": 16}),
            ("remove_from_reading_list", {"list_id": 4, "entry_id": 7}),
            *[("add_to_reading_list", {"list_id": 4, "title_id": title, "note": ""}) for title in (17, 5, 4, 2)],
        ],
        None,
    ),
    (
        "library",
        "rain-hold",
        [
            ("place_hold", {"title_id": 15, "pickup_branch_id": 2}),
            ("change_hold_pickup", {"hold_id": 11, "pickup_branch_id": 1}),
        ],
        None,
    ),
    ("library", "two-fines", [("pay_fine", {"fine_id": number}) for number in (2, 1)], "You still owe €4,50."),
    (
        "clinic",
        "settle-up",
        [
            ("record_payment", {"invoice_id": n, "amount_cents": cents, "method": "card"})
            for n, cents in ((2, 2500), (1, 4500))
        ],
        "She paid 7,000 cents.",
    ),
    (
        "clinic",
        "rao-ill",
        [
            ("reschedule_appointment", {"appointment_id": visit, "starts_at": f"2026-03-06T{time}"})
            for visit, time in ((19, "11:00:00+00:00"), (18, "10:00:00"), (32, "10:30:00+01:00"), (17, "09:00:00Z"))
        ],
        None,
    ),
    (
        "clinic",
        "new-patient",
        [
            ("create_patient", {"name": " Malik Osei", "born_on": "1988-07-19", "phone": "555-0190", "email": ""}),
            (
                "add_referral",
                {
                    "patient_id": 15,
                    "specialty": "physiotherapy",
                    "issued_by": "Dr Odile Faure",
                    "expires_on": "2026-06-30",
                    "visits": 6,
                },
            ),
            (
                "book_appointment",
                {"patient_id": 15, "service_id": 5, "practitioner_id": 4, "starts_at": "2026-03-06T13:00:00Z"},
            ),
        ],
        None,
    ),
]

REFUSALS = [
    ("library", "place_hold", {"title_id": 999}, "Refused (404): There is no title with id 999."),
    ("library", "place_hold", {"title_id": 18}, "Refused (409): You already have a hold on The Glass Orchard."),
    ("library", "place_hold", {"title_id": 20}, "on the shelf at Larch Street"),
    ("library", "renew_loan", {"loan_id": 4}, "renewed 2 times, which is the limit"),
    ("library", "renew_loan", {"loan_id": 2}, "Another member is waiting"),
    ("library", "renew_loan", {"loan_id": 6}, "Refused (404): You have no loan with id 6."),
    ("library", "check_out_copy", {"barcode": "B-0028"}, "it is in repair"),
    ("library", "register_for_event", {"event_id": 1, "seats": 2}, "Only 1 of 12 seats are left."),
    ("library", "cancel_hold", {"hold_id": 9}, "You have no hold with id 9."),
    ("library", "pay_fine", {"fine_id": 3}, "This fine is paid already."),
    ("clinic", "cancel_appointment", {"appointment_id": 1, "wanted_by": "clinic"}, "only booked ones can be cancelled"),
    ("clinic", "check_in_patient", {"appointment_id": 21}, "is on 2026-03-05, not today"),
    (
        "clinic",
        "book_appointment",
        {"patient_id": 6, "service_id": 7, "practitioner_id": 5, "starts_at": "2026-03-06T11:00:00Z"},
        "The patient's referral for imaging expired on 2026-02-20.",
    ),
    (
        "clinic",
        "book_appointment",
        {"patient_id": 13, "service_id": 1, "practitioner_id": 1, "starts_at": "2026-03-04T09:00:00Z"},
        "Jonah Pryce owes 2000 cents past the due date",
    ),
    (
        "clinic",
        "book_appointment",
        {"patient_id": 8, "service_id": 1, "practitioner_id": 1, "starts_at": "2026-03-03T11:15:00Z"},
        "Dr Yusuf Hale has another appointment at that time.",
    ),
    (
        "clinic",
        "book_appointment",
        {"patient_id": 8, "service_id": 1, "practitioner_id": 1, "starts_at": "2026-03-03T12:45:00Z"},
        "does not work from",
    ),
    ("clinic", "record_payment", {"invoice_id": 1, "amount_cents": 9999, "method": "card"}, "Only 4500 cents are open"),
]


def test_there_are_two_examples_and_an_unknown_one_is_an_error() -> None:
    assert examples.names() == ("clinic", "library")
    with pytest.raises(KeyError, match="bakery"):
        examples.path("bakery")


@pytest.mark.parametrize("name", examples.names())
def test_an_example_is_whole(name: str) -> None:
    assert checking.check(examples.path(name)) == ()


@pytest.mark.parametrize("name", examples.names())
def test_an_example_has_the_size_that_is_asked_of_generated_ones(name: str) -> None:
    bundle = reading.read(examples.path(name))
    counts = bundle.scenario.counts
    assert counts is not None
    assert counts.tables >= 8
    assert counts.tools >= 15
    assert counts.tasks >= 8
    assert {task.difficulty for task in bundle.tasks} == {"easy", "medium", "hard"}
    assert {task.split for task in bundle.tasks} == {"train", "test"}
    assert all(task.oracle and (task.id, "code") in bundle.verifiers for task in bundle.tasks)


@pytest.mark.parametrize("name", examples.names())
def test_tools_json_is_what_is_served(name: str) -> None:
    result = probe.probe(examples.path(name))
    assert (result.ok, result.error, result.findings) == (True, None, [])
    assert json.loads((examples.path(name) / "tools.json").read_text()) == result.tools


@pytest.mark.parametrize("name", examples.names())
def test_the_specification_names_each_tool_with_its_arguments_and_tables(name: str) -> None:
    bundle = reading.read(examples.path(name))
    endpoints = [endpoint for group in bundle.spec["api_groups"] for endpoint in group["endpoints"]]
    specified = {endpoint["operation_id"]: set(endpoint["request_params"]) for endpoint in endpoints}
    assert specified == {tool["name"]: set(tool["inputSchema"]["properties"]) for tool in bundle.tools}
    assert all(
        f"CREATE TABLE {table} (" in bundle.schema_sql for each in endpoints for table in each["required_tables"]
    )


@pytest.mark.parametrize(("name", "task"), ALL_TASKS)
def test_an_oracle_completes_its_task(name: str, task: str, plays: dict[str, Play], judge: sandbox.LocalJudge) -> None:
    play = plays[name]
    wanted = play.bundle.task(task)
    assert wanted is not None
    answer = play.solve(wanted)
    result = judged(judge, play, task, answer)
    assert (result["result"], result["score"]) == ("complete", 1.0), result["checks"]
    if wanted.answer is not None:
        assert judged(judge, play, task, wanted.answer)["result"] == "complete"
        assert judged(judge, play, task, None)["result"] == "others"


@pytest.mark.parametrize(("name", "task"), ALL_TASKS)
def test_an_untouched_database_earns_nothing(
    name: str, task: str, plays: dict[str, Play], judge: sandbox.LocalJudge
) -> None:
    plays[name].start_over()
    result = judged(judge, plays[name], task, None)
    assert (result["result"], result["score"]) == ("others", 0.0)


@pytest.mark.parametrize(("name", "task"), ALL_TASKS)
def test_a_solution_with_one_change_too_many_earns_nothing(
    name: str, task: str, plays: dict[str, Play], judge: sandbox.LocalJudge
) -> None:
    play = plays[name]
    wanted = play.bundle.task(task)
    assert wanted is not None
    extra: dict[str, Calls] = {
        "library": [("add_to_reading_list", {"list_id": 2, "title_id": 11})],
        "clinic": [("check_in_patient", {"appointment_id": 10})],
    }
    answer = play.solve(wanted)
    for tool, arguments in extra[name]:
        play.reply(tool, arguments)
    result = judged(judge, play, task, answer)
    assert (result["result"], result["score"]) == ("others", 0.0)


@pytest.mark.parametrize(("name", "task", "calls", "answer"), NEAR_MISSES)
def test_a_near_miss_does_not_complete(
    name: str, task: str, calls: Calls, answer: str | None, plays: dict[str, Play], judge: sandbox.LocalJudge
) -> None:
    play = plays[name]
    play.start_over()
    for tool, arguments in calls:
        play.reply(tool, arguments)
    assert judged(judge, play, task, answer)["result"] == "others"


@pytest.mark.parametrize(("name", "task", "calls", "answer"), DETOURS)
def test_another_right_way_completes(
    name: str, task: str, calls: Calls, answer: str | None, plays: dict[str, Play], judge: sandbox.LocalJudge
) -> None:
    play = plays[name]
    play.start_over()
    for tool, arguments in calls:
        play.reply(tool, arguments)
    result = judged(judge, play, task, answer)
    assert result["result"] == "complete", result["checks"]


@pytest.mark.parametrize("name", examples.names())
def test_reading_costs_a_few_statements_however_long_the_list(name: str, plays: dict[str, Play]) -> None:
    play = plays[name]
    play.start_over()
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", note)
    try:
        for tool in play.tools.values():
            if tool.annotations["readOnlyHint"]:
                properties = tool.input_schema["properties"]
                arguments = {key: usual(properties[key]) for key in tool.input_schema.get("required", [])}
                statements.clear()
                play.reply(tool.name, arguments)
                assert 1 <= len(statements) <= 5, (tool.name, statements)
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", note)


def test_part_of_the_changes_earns_part_of_the_score(plays: dict[str, Play], judge: sandbox.LocalJudge) -> None:
    play = plays["clinic"]
    play.start_over()
    play.reply("reschedule_appointment", {"appointment_id": 17, "starts_at": "2026-03-06T09:00:00Z"})
    assert judged(judge, play, "rao-ill", None)["score"] == 0.25


@pytest.mark.parametrize("name", examples.names())
def test_an_sql_verifier_shows_the_change(name: str, plays: dict[str, Play], judge: sandbox.LocalJudge) -> None:
    play = plays[name]
    sources = {task: source for (task, mode), source in play.bundle.verifiers.items() if mode == "sql"}
    assert sources
    for task, source in sources.items():
        solved = play.bundle.task(task)
        assert solved is not None
        play.solve(solved)
        request = sandbox.JudgeRequest(source=source, mode="sql", initial=play.seed, final=play.snapshot())
        evidence = judge.run(request).result
        assert evidence is not None
        assert evidence["before"] != evidence["after"]


@pytest.mark.parametrize("name", examples.names())
def test_the_first_task_is_one_to_show(name: str) -> None:
    """`awm demo` plays it: a few calls that change rows, and an answer."""
    first = reading.read(examples.path(name)).tasks[0]
    assert first.oracle is not None
    assert len(first.oracle.calls) >= 3
    assert first.answer is not None


@pytest.mark.parametrize(
    ("name", "task", "answer"),
    [
        (
            "library",
            "next-due",
            "Bread Without Hurry has to go back by Thursday, March 5th; Maps of the Night Sky is next.",
        ),
        ("library", "next-due", "Bread Without Hurry, due Mar 5."),
        ("library", "third-renewal", "I couldn't renew it: two renewals are the maximum and it has had both."),
        ("library", "third-renewal", "Sorry, that can't be done: you have used both renewals."),
        ("clinic", "next-visit", "On Thursday 5 March 2026 at 1:30 pm she sees Dr. Caro, and on the 9th Dr. Hale."),
        ("clinic", "next-visit", "Mar 5, 1.30 pm, Dr Caro"),
        ("clinic", "busiest", "**Dr Yusuf Hale** with 135 minutes; Dr Mina Rao comes second."),
        ("clinic", "busiest", "Dr. Hale, with 2 hours and 15 minutes."),
        (
            "clinic",
            "expired-referral",
            "That is not possible, his referral is no longer valid: it ran out in February.",
        ),
        ("clinic", "expired-referral", "Not possible: the referral was only valid until 20 February."),
    ],
)
def test_a_right_answer_counts_however_it_is_put(
    name: str, task: str, answer: str, plays: dict[str, Play], judge: sandbox.LocalJudge
) -> None:
    plays[name].start_over()
    assert judged(judge, plays[name], task, answer)["result"] == "complete"


@pytest.mark.parametrize(("name", "tool", "arguments", "reason"), REFUSALS)
def test_a_broken_rule_is_refused_with_its_reason_and_changes_nothing(
    name: str, tool: str, arguments: dict[str, Any], reason: str, plays: dict[str, Play]
) -> None:
    play = plays[name]
    play.start_over()
    outcome = play.call(tool, arguments)
    assert outcome.text.startswith("Refused (4")
    assert reason in outcome.text
    assert database.changes(play.seed, play.snapshot()) == {}


EXTREMES: dict[str, list[Any]] = {
    "integer": [0, -1, 1, 2**31 - 1, 2**31, 2**63, 10**30],
    "boolean": [True, False],
    "string": [
        "",
        "%_'; --",
        "x" * 5000,
        "\x00",
        "0001-01-01",
        "9999-12-31",
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00+14:00",
    ],
}


def plain(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a value that is there, where none would do too."""
    (part,) = (part for part in schema.get("anyOf", [schema]) if part["type"] != "null")
    return dict(part)


def usual(schema: dict[str, Any]) -> Any:
    """A value that an agent might give."""
    part = plain(schema)
    kinds = {"integer": 1, "boolean": True, "string": "Mara", "date": "2026-03-06", "date-time": "2026-03-06T09:00:00Z"}
    return part["enum"][0] if "enum" in part else kinds[part.get("format", part["type"])]


@pytest.mark.parametrize("name", examples.names())
def test_no_argument_makes_the_environment_fail(name: str, plays: dict[str, Play]) -> None:
    play = plays[name]
    for tool in play.tools.values():
        properties = tool.input_schema["properties"]
        for key, schema in properties.items():
            part = plain(schema)
            for value in part.get("enum", []) + EXTREMES[part["type"]]:
                arguments = {other: usual(properties[other]) for other in properties} | {key: value}
                if tool.problem_with(arguments) is None:  # the server asks the app only then
                    play.start_over()
                    assert play.call(tool.name, arguments).blame != "environment", f"{tool.name} {arguments}"
