"""Oracles: the calls that solve a task, resolved over the replies that came before, and replayed."""

import json
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jmespath  # type: ignore[import-untyped]
from jmespath import exceptions

from awm_runtime import errors
from awm_runtime.bundle import model

FROM = "$from"
_LEFT_FIRST = frozenset(
    {"subexpression", "index_expression", "projection", "filter_projection", "value_projection", "flatten", "pipe"}
)


class OracleError(errors.PermanentError):
    """An oracle cannot be replayed. The message names the call and the expression."""


@dataclass(frozen=True)
class Step:
    """A call that was made, and its reply."""

    tool: str
    arguments: dict[str, Any]
    reply: Any


@dataclass(frozen=True)
class Replay:
    """What came of an oracle: its steps, and the answer as an agent would give it."""

    steps: tuple[Step, ...]
    answer: str | None


def replay(oracle: model.Oracle, call: Callable[[str, dict[str, Any]], Any]) -> Replay:
    """Makes an oracle's calls; `call` takes tool and arguments and returns the reply as JSON values.

    Raises:
        OracleError: an expression is malformed or finds nothing.
    """
    steps: list[Step] = []
    calls = plan(oracle)
    try:
        tool, arguments = next(calls)
        while True:
            steps.append(Step(tool, arguments, call(tool, arguments)))
            tool, arguments = calls.send(steps[-1].reply)
    except StopIteration as stop:
        return Replay(tuple(steps), stop.value)


def plan(oracle: model.Oracle) -> Generator[tuple[str, dict[str, Any]], Any, str | None]:
    """Yields each call's tool and arguments, takes its reply by `send`, and returns the answer.

    For callers that wait for replies in their own way; the others have `replay`.

    Raises:
        OracleError: an expression is malformed or finds nothing.
    """
    saved: dict[str, Any] = {}
    for number, step in enumerate(oracle.calls, start=1):
        reply = yield step.tool, resolve(step.arguments, saved, place=f"call {number} ({step.tool})")
        if step.save is not None:
            saved[step.save] = reply
    answer = resolve(oracle.answer, saved, place="the answer")
    return answer if answer is None or isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)


def resolve(value: Any, saved: Mapping[str, Any], *, place: str = "the value") -> Any:
    """`value` with every `{"$from": EXPRESSION}` in it replaced by what the expression finds in the saved replies.

    Raises:
        OracleError: an expression is malformed or finds nothing.
    """
    if isinstance(value, dict) and value.keys() == {FROM}:
        return _found(value[FROM], saved, place)
    if isinstance(value, dict):
        return {key: resolve(item, saved, place=place) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, saved, place=place) for item in value]
    return value


def slips(oracle: model.Oracle, tools: Iterable[Mapping[str, Any]]) -> list[str]:
    """What is wrong with an oracle as it is written: unknown tools and arguments, expressions over nothing saved."""
    schemas = {tool["name"]: tool.get("inputSchema", {}) for tool in tools}
    found: list[str] = []
    saved: set[str] = set()
    for number, step in enumerate(oracle.calls, start=1):
        place = f"call {number} ({step.tool})"
        if step.tool not in schemas:
            found.append(f"{place}: there is no such tool")
        else:
            found += [f"{place}: {slip}" for slip in _argument_slips(step.arguments, schemas[step.tool])]
        found += [f"{place}: {slip}" for slip in _expression_slips(step.arguments, saved)]
        if step.save is not None:
            saved.add(step.save)
    return found + [f"answer: {slip}" for slip in _expression_slips(oracle.answer, saved)]


def _found(expression: object, saved: Mapping[str, Any], place: str) -> Any:
    if not isinstance(expression, str):
        raise OracleError(f"{place}: {FROM} takes an expression as text, not {expression!r}")
    try:
        value = jmespath.search(expression, saved)
    except exceptions.JMESPathError as exc:
        raise OracleError(f"{place}: {expression!r} is no JMESPath expression that fits: {exc}") from exc
    if value is None:
        raise OracleError(f"{place}: {expression!r} finds nothing in the saved replies ({', '.join(saved) or 'none'})")
    return value


def _argument_slips(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    known, required = schema.get("properties", {}), schema.get("required", [])
    return [
        *(f"argument {name!r} is unknown" for name in arguments if name not in known),
        *(f"argument {name!r} is missing" for name in required if name not in arguments),
    ]


def _expression_slips(value: Any, saved: set[str]) -> list[str]:
    found = []
    for expression in _expressions(value):
        try:
            unknown = _roots(jmespath.compile(expression).parsed) - saved
        except (exceptions.JMESPathError, TypeError) as exc:
            found.append(f"{expression!r} is no JMESPath expression: {exc}")
        else:
            found += [f"{expression!r} reads {name!r}, which no earlier call saves" for name in sorted(unknown)]
    return found


def _expressions(value: Any) -> list[Any]:
    if isinstance(value, dict) and value.keys() == {FROM}:
        return [value[FROM]]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [expression for item in items for expression in _expressions(item)]


def _roots(node: Mapping[str, Any]) -> set[str]:
    """The names that an expression starts from."""
    if node["type"] == "field":
        return {node["value"]}
    if node["type"] == "expref":
        return set()  # names of the items that a function walks over
    children = node["children"][:1] if node["type"] in _LEFT_FIRST else node["children"]
    return {name for child in children if isinstance(child, Mapping) for name in _roots(child)}
