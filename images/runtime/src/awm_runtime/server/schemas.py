"""OpenAPI schemas as plain JSON Schema 2020-12: references resolved, OpenAPI's own keywords gone."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema_rs

Schema = dict[str, Any]

_COMPONENT = "#/components/schemas/"
_OPENAPI_ONLY = frozenset({"discriminator", "xml", "externalDocs", "example", "nullable"})

# Where a keyword's value holds schemas; every other value is data and left alone.
_ONE = frozenset(
    {
        "additionalProperties",
        "contains",
        "contentSchema",
        "else",
        "if",
        "items",
        "not",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
_LIST = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAP = frozenset({"properties", "patternProperties", "dependentSchemas"})


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _type(value: object) -> bool:
    known = {"array", "boolean", "integer", "null", "number", "object", "string"}
    names = value if isinstance(value, list) else [value]
    return bool(names) and all(isinstance(name, str) and name in known for name in names)


def _is(kind: type) -> Callable[[object], bool]:
    return lambda value: isinstance(value, kind)


def _pattern(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        re.compile(value)
        jsonschema_rs.Draft202012Validator({"pattern": value})
    except (re.error, ValueError):  # of use to neither the reference validator nor ours
        return False
    return True


# What a keyword's value must be. Generated code writes `Field(..., required=True)` or `min_length="2"`, which pydantic
# copies into the schema as it stands.
_VALUES: dict[str, Callable[[object], bool]] = {
    "type": _type,
    "required": lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
    "enum": _is(list),
    "title": _is(str),
    "description": _is(str),
    "format": _is(str),
    "contentMediaType": _is(str),
    "contentEncoding": _is(str),
    "pattern": _pattern,
    "deprecated": _is(bool),
    "readOnly": _is(bool),
    "writeOnly": _is(bool),
    "uniqueItems": _is(bool),
    "minimum": _number,
    "maximum": _number,
    "exclusiveMinimum": _number,
    "exclusiveMaximum": _number,
    "multipleOf": lambda value: _number(value) and value > 0,  # type: ignore[operator]
    "minLength": _size,
    "maxLength": _size,
    "minItems": _size,
    "maxItems": _size,
    "minProperties": _size,
    "maxProperties": _size,
    "minContains": _size,
    "maxContains": _size,
}


class Resolver:
    """Turns schemas of one OpenAPI document into JSON Schema.

    Args:
        components: The document's `components.schemas`.

    Attributes:
        definitions: What the schemas seen so far refer to as `#/$defs/NAME`: models that contain themselves. Others
            are written out where they are used.
        repairs: Keywords that were left out because their value is not one that JSON Schema knows.
    """

    def __init__(self, components: dict[str, Schema]) -> None:
        self._components = components
        self.definitions: dict[str, Schema] = {}
        self.repairs: list[str] = []

    def resolve(self, schema: object) -> Any:
        """The schema as JSON Schema 2020-12. Booleans are schemas too; anything else that is no object allows all."""
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            return {}
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return _without_openapi(schema, self._keywords(schema))
        own = _without_openapi(schema, self._keywords({key: value for key, value in schema.items() if key != "$ref"}))
        return {**self._referred(reference), **own}

    def component(self, schema: Schema) -> Schema:
        """The schema itself, or the component that it is a reference to."""
        name = _component_name(schema.get("$ref"))
        return self._components.get(name, {}) if name is not None else schema

    def _referred(self, reference: str) -> Schema:
        name = _component_name(reference)
        if name is None or name not in self._components:
            self.repairs.append(f"$ref {reference!r}")
            return {}
        if not self._contains_itself(name):
            return dict(self.resolve(self._components[name]))
        key = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
        if key not in self.definitions:
            self.definitions[key] = {}  # taken before its content, which refers to it
            self.definitions[key] = self.resolve(self._components[name])
        return {"$ref": f"#/$defs/{key}"}

    def _contains_itself(self, name: str) -> bool:
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            for found in _references(self._components.get(waiting.pop(), {})):
                if found == name:
                    return True
                if found not in seen:
                    seen.add(found)
                    waiting.append(found)
        return False

    def _keywords(self, schema: Schema) -> Schema:
        return {key: self._keyword(key, value) for key, value in schema.items() if self._keeps(key, value)}

    def _keeps(self, key: str, value: object) -> bool:
        if key in _OPENAPI_ONLY or key.startswith("x-"):
            return False
        valid = _VALUES.get(key)
        if key in _LIST:
            fits = isinstance(value, list) and bool(value)
        elif key in _MAP:
            fits = isinstance(value, dict)
        elif key.startswith("$") or key == "examples":
            fits = key == "examples"  # "$" keywords are for documents; only references are ours to resolve
        else:
            fits = valid is None or valid(value)
        if not fits:
            self.repairs.append(key)
        return fits

    def _keyword(self, key: str, value: Any) -> Any:
        if key in _ONE:
            return self.resolve(value)
        if key in _LIST:
            return [self.resolve(each) for each in value]
        if key in _MAP:
            return {name: self.resolve(each) for name, each in value.items()}
        if key == "examples":
            return _examples(value)
        return value


def without_default_title(name: str, schema: Any) -> Any:
    """The schema without the title that pydantic makes from the name: it says nothing and costs the agent tokens."""
    if isinstance(schema, dict) and schema.get("title") == name.replace("_", " ").title():
        return {key: value for key, value in schema.items() if key != "title"}
    return schema


def _without_openapi(schema: Schema, keywords: Schema) -> Schema:
    if "example" in schema and "examples" not in keywords:
        keywords["examples"] = [schema["example"]]
    if schema.get("nullable") is True:
        return {"anyOf": [keywords, {"type": "null"}]}
    return keywords


def _examples(value: object) -> list[Any]:
    """A list of values, from one or from OpenAPI's `{"name": {"value": ...}}`."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        return [each.get("value", each) if isinstance(each, dict) else each for each in value.values()]
    return [value]


def _component_name(reference: object) -> str | None:
    if not isinstance(reference, str) or not reference.startswith(_COMPONENT):
        return None
    return reference.removeprefix(_COMPONENT)


def _references(schema: object) -> Iterator[str]:
    """The components that a schema refers to, also inside data: once too often is harmless here."""
    if isinstance(schema, dict):
        name = _component_name(schema.get("$ref"))
        if name is not None:
            yield name
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)
