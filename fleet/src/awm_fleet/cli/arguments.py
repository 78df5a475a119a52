"""Arguments of tools from a command line: `key=value`, read as the tool's schema says."""

import difflib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]


class WrongArgument(Exception):
    """An argument does not fit; the message names it and what is expected."""


def parse(tool: Schema, given: Iterable[str]) -> dict[str, Any]:
    """The arguments of a call.

    Args:
        tool: The tool, as `tools/list` gives it.
        given: Texts such as `title_id=3`.

    Raises:
        WrongArgument: One is unknown, given twice, missing, or does not fit.
    """
    schema: Schema = tool.get("inputSchema", {})
    known: Mapping[str, Schema] = schema.get("properties", {})
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise WrongArgument(f"{text!r} is no argument: write name=value; {_takes(tool, known)}")
        if name in found:
            raise WrongArgument(f"{name} is given twice")
        if name not in known and not schema.get("additionalProperties"):
            raise WrongArgument(_unknown(name, tool, known))
        found[name] = _value(name, value, known.get(name, {}))
    missing = [name for name in schema.get("required", ()) if name not in found]
    if missing:
        wanted = "; ".join(f"{name}: {expected(known.get(name, {}))}" for name in missing)
        raise WrongArgument(f"{tool['name']} needs {wanted}")
    return found


def expected(schema: Schema) -> str:
    """What a schema takes, in a few words."""
    choices = _choices(schema)
    if choices is not None:
        return " or ".join(json.dumps(choice) if not isinstance(choice, str) else choice for choice in choices)
    words = " or ".join(dict.fromkeys(_KINDS.get(kind, (kind, _raw))[0] for kind in _kinds(schema))) or "anything"
    bounds = _bounds(schema)
    return f"{words} ({bounds})" if bounds else words


def _value(name: str, text: str, schema: Schema) -> Any:
    choices = _choices(schema)
    kinds = _kinds(schema)
    if not kinds and choices is None:
        return _loose(text)
    # A text is the last to be tried: everything is one, but `null`, `3` and `true` may be meant.
    for kind in sorted(kinds, key=lambda kind: kind == "string"):
        try:
            value = _KINDS.get(kind, (kind, _raw))[1](text)
        except ValueError:
            continue
        if choices is None and _within(value, schema):
            return value
    if choices is not None:
        for choice in choices:
            if text == choice or (not isinstance(choice, str) and text == json.dumps(choice)):
                return choice
    raise WrongArgument(f"{name}: {text!r} does not fit: {expected(schema)}")


def _branches(schema: Schema) -> Sequence[Schema]:
    """A schema's alternatives, or itself."""
    return next((schema[key] for key in ("anyOf", "oneOf") if key in schema), [schema])


def _kinds(schema: Schema) -> list[str]:
    found: list[str] = []
    for branch in _branches(schema):
        kind = branch.get("type", [])
        found += [kind] if isinstance(kind, str) else kind
    return found


def _choices(schema: Schema) -> list[Any] | None:
    """The values of an enumeration, `null` among them where a branch allows it; None where there is none."""
    found: list[Any] = []
    for branch in _branches(schema):
        if "enum" in branch:
            found += branch["enum"]
        elif "const" in branch:
            found.append(branch["const"])
        elif branch.get("type") == "null":
            found.append(None)
        else:
            return None
    return found if any(choice is not None for choice in found) else None


def _within(value: Any, schema: Schema) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True
    return any(
        branch.get("minimum", value) <= value <= branch.get("maximum", value)
        for branch in _branches(schema)
        if branch.get("type") != "null"
    )


def _bounds(schema: Schema) -> str:
    least, most = (
        next((each[key] for each in _branches(schema) if key in each), None) for key in ("minimum", "maximum")
    )
    words = (("from", least), ("to", most))
    return " ".join(f"{word} {bound:.15g}" for word, bound in words if bound is not None)


def _loose(text: str) -> Any:
    """Without a schema: JSON where it is JSON, else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _boolean(text: str) -> bool:
    try:
        return {"true": True, "false": False}[text.lower()]
    except KeyError:
        raise ValueError from None


def _null(text: str) -> None:
    if text != "null":
        raise ValueError


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        value = float(text)
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError
    return value


def _json_of(kind: type) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        value = json.loads(text)
        if not isinstance(value, kind):
            raise ValueError
        return value

    return read


def _raw(text: str) -> str:
    return text


_KINDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "string": ("a text", _raw),
    "integer": ("a whole number", int),
    "number": ("a number", _number),
    "boolean": ("true or false", _boolean),
    "null": ("null", _null),
    "array": ("a JSON list", _json_of(list)),
    "object": ("a JSON object", _json_of(dict)),
}


def _takes(tool: Schema, known: Mapping[str, Schema]) -> str:
    return f"{tool['name']} takes {', '.join(known)}" if known else f"{tool['name']} takes no arguments"


def _unknown(name: str, tool: Schema, known: Mapping[str, Schema]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else _takes(tool, known)
    return f"{tool['name']} has no argument {name}; {hint}"
