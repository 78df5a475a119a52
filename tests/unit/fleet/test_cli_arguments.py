"""`key=value` as a tool's schema reads it."""

from typing import Any

import pytest

from awm_fleet.cli import arguments

NULL = {"type": "null"}
PROPERTIES: dict[str, Any] = {
    "q": {"type": "string"},
    "id": {"type": "integer", "minimum": 1, "maximum": 9},
    "price": {"type": "number", "minimum": 0},
    "urgent": {"type": "boolean"},
    "kind": {"enum": ["book", "film"], "type": "string"},
    "level": {"enum": [1, 2], "type": "integer"},
    "maybe": {"anyOf": [{"type": "integer", "minimum": 1}, NULL]},
    "words": {"anyOf": [{"type": "string"}, NULL]},
    "maybe_kind": {"anyOf": [{"enum": ["book", "film"], "type": "string"}, NULL]},
    "either": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
    "list": {"type": "array"},
    "several": {"type": ["object", "null"]},
    "anything": {},
}


def tool(*required: str, **more: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": PROPERTIES, "required": list(required), **more}
    return {"name": "buy", "inputSchema": schema}


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("q=3", "3"),
        ("q=", ""),
        ("q=a=b", "a=b"),
        ("q=null", "null"),
        ("id=9", 9),
        ("price=1", 1),
        ("price=1.5", 1.5),
        ("price=1e2", 100.0),
        ("urgent=true", True),
        ("urgent=False", False),
        ("kind=film", "film"),
        ("level=2", 2),
        ("maybe=null", None),
        ("maybe=4", 4),
        ("words=null", None),
        ("words=nul", "nul"),
        ("maybe_kind=book", "book"),
        ("maybe_kind=null", None),
        ("either=4", 4),
        ("either=four", "four"),
        ('list=["a", 1]', ["a", 1]),
        ('several={"a": 1}', {"a": 1}),
        ("several=null", None),
        ("anything=3", 3),
        ("anything=three", "three"),
    ],
)
def test_a_value_is_read_as_its_schema_says(given: str, value: object) -> None:
    found = arguments.parse(tool(), [given])
    assert found == {given.partition("=")[0]: value}
    assert type(next(iter(found.values()))) is type(value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["id=0"], "id: '0' does not fit: a whole number (from 1 to 9)"),
        (["id=1.0"], "id: '1.0' does not fit: a whole number (from 1 to 9)"),
        (["id=abc"], "id: 'abc' does not fit: a whole number"),
        (["price=-1"], "price: '-1' does not fit: a number (from 0)"),
        (["price=inf"], "price: 'inf' does not fit"),
        (["price=nan"], "price: 'nan' does not fit"),
        (["urgent=yes"], "urgent: 'yes' does not fit: true or false"),
        (["kind=disc"], "kind: 'disc' does not fit: book or film"),
        (["level=3"], "level: '3' does not fit: 1 or 2"),
        (["maybe=soon"], "maybe: 'soon' does not fit: a whole number or null (from 1)"),
        (["maybe=0"], "maybe: '0' does not fit"),
        (["maybe_kind=disc"], "maybe_kind: 'disc' does not fit: book or film or null"),
        (["list={}"], "list: '{}' does not fit: a JSON list"),
        (["list=[1"], "list: '[1' does not fit: a JSON list"),
        (["several=[]"], "several: '[]' does not fit: a JSON object or null"),
        (["q"], "'q' is no argument: write name=value; buy takes q, id, price"),
        (["=1"], "'=1' is no argument"),
        (["q=a", "q=b"], "q is given twice"),
        (["knid=book"], "buy has no argument knid; did you mean kind?"),
        (["zzz=1"], "buy has no argument zzz; buy takes q, id"),
    ],
)
def test_what_does_not_fit_is_named_with_what_does(given: list[str], says: str) -> None:
    with pytest.raises(arguments.WrongArgument) as caught:
        arguments.parse(tool(), given)
    assert says in str(caught.value)


def test_missing_arguments_are_named_with_what_they_take() -> None:
    with pytest.raises(
        arguments.WrongArgument, match=r"buy needs id: a whole number \(from 1 to 9\); kind: book or film"
    ):
        arguments.parse(tool("id", "q", "kind"), ["q=x"])


def test_a_tool_that_takes_anything_takes_anything() -> None:
    assert arguments.parse(tool(additionalProperties=True), ["more=1"]) == {"more": 1}


def test_a_tool_without_arguments_says_so() -> None:
    with pytest.raises(arguments.WrongArgument, match="get_me has no argument x; get_me takes no arguments"):
        arguments.parse({"name": "get_me", "inputSchema": {"type": "object"}}, ["x=1"])
