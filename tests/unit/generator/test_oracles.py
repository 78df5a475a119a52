from typing import Any

import pytest

from awm_generator import oracles
from awm_runtime.bundle import model

CANCEL = model.Oracle.model_validate(
    {
        "calls": [
            {"tool": "find", "arguments": {"status": "open"}, "save": "found"},
            {
                "tool": "cancel",
                "arguments": {"id": {"$from": "found.items[0].id"}, "why": ["late", {"$from": "found.n"}]},
            },
        ],
        "answer": {"$from": "found.items[0].id"},
    }
)
TOOLS = [
    {"name": "find", "inputSchema": {"properties": {"status": {}}}},
    {"name": "cancel", "inputSchema": {"properties": {"id": {}, "why": {}}, "required": ["id"]}},
]


def answering(*replies: Any) -> Any:
    queue = iter(replies)
    return lambda _tool, _arguments: next(queue)


def test_arguments_and_answer_come_from_earlier_replies() -> None:
    replayed = oracles.replay(CANCEL, answering({"items": [{"id": 42}], "n": 1}, {"ok": True}))
    assert replayed.steps == (
        oracles.Step("find", {"status": "open"}, {"items": [{"id": 42}], "n": 1}),
        oracles.Step("cancel", {"id": 42, "why": ["late", 1]}, {"ok": True}),
    )
    assert replayed.answer == "42"


@pytest.mark.parametrize(("answer", "text"), [(None, None), ("done", "done"), (["é", 1], '["é", 1]')])
def test_an_answer_is_given_as_text(answer: Any, text: str | None) -> None:
    assert oracles.replay(model.Oracle(answer=answer), answering()) == oracles.Replay((), text)


def test_falsy_values_are_found() -> None:
    saved = {"r": {"zero": 0, "no": False, "none_of": []}}
    found = [oracles.resolve({"$from": f"r.{name}"}, saved) for name in saved["r"]]
    assert found == [0, False, []]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("found.items[0].id", r"call 2 \(cancel\): 'found.items\[0\].id' finds nothing in the saved replies \(found\)"),
        ("found..", r"call 2 \(cancel\): 'found..' is no JMESPath"),
        ("length(found.n)", r"call 2 \(cancel\): .* is no JMESPath expression that fits"),
        (7, r"call 2 \(cancel\): \$from takes an expression as text, not 7"),
    ],
)
def test_an_expression_that_gives_nothing_stops_the_replay(expression: Any, message: str) -> None:
    calls = [{"tool": "find", "save": "found"}, {"tool": "cancel", "arguments": {"id": {"$from": expression}}}]
    with pytest.raises(oracles.OracleError, match=message):
        oracles.replay(model.Oracle.model_validate({"calls": calls}), answering({"items": [], "n": 3}))


def test_a_sound_oracle_has_no_slips() -> None:
    assert oracles.slips(CANCEL, TOOLS) == []


def test_slips_of_an_oracle_are_named_without_a_replay() -> None:
    calls = [
        {"tool": "serach", "arguments": {}},
        {"tool": "cancel", "arguments": {"ident": {"$from": "found.items[?id > `1`].id | [0]"}}, "save": "done"},
        {"tool": "find", "arguments": {"status": {"$from": "max_by(done.items, &price).status"}}},
    ]
    oracle = model.Oracle.model_validate({"calls": calls, "answer": {"$from": "]"}})
    assert oracles.slips(oracle, TOOLS)[:4] == [
        "call 1 (serach): there is no such tool",
        "call 2 (cancel): argument 'ident' is unknown",
        "call 2 (cancel): argument 'id' is missing",
        "call 2 (cancel): 'found.items[?id > `1`].id | [0]' reads 'found', which no earlier call saves",
    ]
    assert [slip[:33] for slip in oracles.slips(oracle, TOOLS)[4:]] == ["answer: ']' is no JMESPath expres"]
