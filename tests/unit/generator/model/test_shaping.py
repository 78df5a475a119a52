"""JSON out of any endpoint, and whole replies."""

import asyncio
import json

import pytest

from awm_generator import errors
from awm_generator.model import completing, language, scripted, shaping

SHAPE = language.Shape("thing", {"type": "object", "required": ["a"]})
ASKED = language.Request(messages=(language.Message("system", "Be."), language.Message("user", "?")), shape=SHAPE)


def endpoint(*known: language.Form, text: str = '{"a": 1}') -> scripted.ScriptedModel:
    def answer(request: language.Request) -> str:
        if request.form not in known:
            raise errors.FormUnsupported("response_format")
        return text

    return scripted.ScriptedModel(answer)


@pytest.mark.parametrize(
    ("known", "tried"),
    [
        (("schema", "json", "text"), ["schema"]),
        (("json", "text"), ["schema", "json"]),
        (("text",), ["schema", "json", "text"]),
    ],
)
def test_what_an_endpoint_cannot_do_is_learned_once(known: tuple[language.Form, ...], tried: list[str]) -> None:
    inner = endpoint(*known)
    model = shaping.Shaped(inner)
    for _ in range(3):
        assert json.loads(asyncio.run(model.complete(ASKED)).text) == {"a": 1}
    assert [request.form for request in inner.requests] == [*tried, tried[-1], tried[-1]]
    # Where the endpoint is not told the schema, the model is.
    assert ('"required"' in inner.requests[-1].messages[0].content) == (tried[-1] != "schema")


def test_an_endpoint_that_knows_no_form_is_an_error() -> None:
    with pytest.raises(errors.FormUnsupported):
        asyncio.run(shaping.Shaped(endpoint()).complete(ASKED))


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        '```json\n{"a": 1}\n```',
        'Here it is:\n\n```\n{"a": 1}\n```\nAnything else?',
        'Sure! {"a": 1} Done.',
    ],
)
def test_json_is_found_in_what_is_around_it(text: str) -> None:
    assert json.loads(shaping.json_in(text)) == {"a": 1}


def test_text_is_left_alone() -> None:
    inner = scripted.ScriptedModel(lambda _: "```python\nx = 1\n```")
    request = language.Request(messages=ASKED.messages)
    assert asyncio.run(shaping.Shaped(inner).complete(request)).text == "```python\nx = 1\n```"


def test_an_unfinished_fence_counts() -> None:
    assert shaping.fenced("```python\nx = 1\n") == "x = 1\n"
    assert shaping.fenced("nothing here") is None


def in_parts(*parts: str) -> scripted.ScriptedModel:
    left = list(parts)

    def answer(_: language.Request) -> language.Reply:
        text = left.pop(0)
        return language.Reply(text=text, finish="length" if left else "stop", usage=language.Usage(10, 5))

    return scripted.ScriptedModel(answer)


def test_a_cut_text_is_continued() -> None:
    inner = in_parts("```python\nx = 1\ny", " = 2\n", "z = 3\n```")
    reply = asyncio.run(completing.Completing(inner).complete(language.Request(messages=ASKED.messages)))
    assert reply.text == "```python\nx = 1\ny = 2\nz = 3\n```"
    assert reply.finish == "stop"
    assert reply.usage == language.Usage(30, 15)
    assert inner.requests[1].messages[-2].content == "```python\nx = 1\ny"


@pytest.mark.parametrize(
    ("text", "more", "whole"),
    [
        ("```python\nx = 1\n", "```python\ny = 2\n```", "```python\nx = 1\ny = 2\n```"),
        (
            "a long line that is said twice",
            "line that is said twice and goes on",
            "a long line that is said twice and goes on",
        ),
        ("count = 1", "1", "count = 11"),
    ],
)
def test_what_a_continuation_repeats_is_left_out(text: str, more: str, whole: str) -> None:
    assert completing.joined(text, more) == whole


def test_cut_json_is_asked_for_again() -> None:
    inner = in_parts('{"a": [1, 2,', '{"a": [1]}')
    reply = asyncio.run(completing.Completing(inner).complete(ASKED))
    assert reply.text == '{"a": [1]}'
    assert "cut off" in inner.requests[1].messages[-1].content


def test_json_that_stays_cut_is_handed_on() -> None:
    inner = in_parts("{", "{", "{", "{", "{")
    assert asyncio.run(completing.Completing(inner).complete(ASKED)).finish == "length"
    assert len(inner.requests) == 3
