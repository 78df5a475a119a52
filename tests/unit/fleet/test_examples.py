"""The examples keep the standard that generated scenarios are asked for: whole, with clear refusals, never a 5xx."""

import json
from typing import Any

import orjson
import playing
import pytest
import sqlalchemy

from awm_fleet import examples
from awm_generator import checking
from awm_runtime.bundle import database, reading
from awm_runtime.server import probe

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


@pytest.mark.parametrize("name", examples.names())
def test_reading_costs_a_few_statements_however_long_the_list(name: str, plays: dict[str, playing.Play]) -> None:
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


@pytest.mark.parametrize("name", examples.names())
def test_the_first_task_is_one_to_show(name: str) -> None:
    """`awm demo` plays it: a few calls that change rows, and an answer."""
    first = reading.read(examples.path(name)).tasks[0]
    assert first.oracle is not None
    assert len(first.oracle.calls) >= 3
    assert first.answer is not None


@pytest.mark.parametrize(("name", "tool", "arguments", "reason"), REFUSALS)
def test_a_broken_rule_is_refused_with_its_reason_and_changes_nothing(
    name: str, tool: str, arguments: dict[str, Any], reason: str, plays: dict[str, playing.Play]
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
def test_no_argument_makes_the_environment_fail(name: str, plays: dict[str, playing.Play]) -> None:
    play = plays[name]
    for tool in play.tools.values():
        properties = tool.input_schema["properties"]
        for key, schema in properties.items():
            part = plain(schema)
            for value in part.get("enum", []) + EXTREMES[part["type"]]:
                given = {other: usual(properties[other]) for other in properties} | {key: value}
                arguments = orjson.loads(json.dumps(given))  # as the server reads them: 10**30 is a float
                if tool.problem_with(arguments) is None:  # the server asks the app only then
                    play.start_over()
                    assert play.call(tool.name, arguments).blame != "environment", f"{tool.name} {arguments}"
