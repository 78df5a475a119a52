"""Random tool calls that make sense: arguments made from the tools' schemas and from values that are known."""

import collections
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jsonschema_rs

Call = tuple[str, dict[str, Any]]

_WRITES_PER_READ = 4
_TRIES = 8
_SHOWN = 0.6
"""How often a key is one that a tool has shown, where there is such a one: others may be another user's."""

_DATES = ("2026-01-20", "2026-03-05", "2026-06-30")
_WILD: dict[str, tuple[Any, ...]] = {
    "integer": (0, -1, 2**31 - 1, 2**31, 999_999),
    "number": (0, -0.01, 1e12),
    "string": ("", " ", "%_'; --", "x" * 600, "0001-01-01", "9999-12-31T23:59:59Z"),
}


class Seen:
    """The values that are known under each name, from replies or from rows."""

    def __init__(self) -> None:
        self._values: collections.defaultdict[str, dict[Any, None]] = collections.defaultdict(dict)
        self._shown: collections.defaultdict[str, dict[Any, None]] = collections.defaultdict(dict)

    def copy(self) -> "Seen":
        """One that learns apart from this one."""
        other = Seen()
        for name, values in self._values.items():
            other._values[name] = dict(values)
        for name, values in self._shown.items():
            other._shown[name] = dict(values)
        return other

    def learn(self, reply: Any) -> None:
        """Notes the values in a reply."""
        if isinstance(reply, list):
            for each in reply:
                self.learn(each)
        elif isinstance(reply, dict):
            for name, value in reply.items():
                if isinstance(value, int | str) and not isinstance(value, bool):
                    self._values[name][value] = None
                else:
                    self.learn(value)

    def note(self, name: str, value: Any) -> None:
        """Notes one value under a name."""
        self._values[name][value] = None

    def show(self, name: str, reply: Any) -> None:
        """Notes every `id` in a reply as a key that an argument of this name may be given."""
        if isinstance(reply, dict) and isinstance(reply.get("id"), int | str):
            self._shown[name][reply["id"]] = None
        for each in reply.values() if isinstance(reply, dict) else reply if isinstance(reply, list) else ():
            self.show(name, each)

    def shown(self, name: str, kind: type) -> list[Any]:
        """The keys of a type that were shown for an argument."""
        return [value for value in self._shown.get(name, {}) if isinstance(value, kind)]

    def under(self, name: str, kind: type) -> list[Any]:
        """The values of a type under a name, or under `id` for the name of some id."""
        found = [value for value in self._values.get(name, {}) if isinstance(value, kind)]
        if not found and name.endswith("_id"):
            found = [value for value in self._values.get("id", {}) if isinstance(value, kind)]
        return found


@dataclass
class Player:
    """Draws calls.

    Args:
        tools: The tools as listed.
        seen: What is known of the scenario's data.
        chance: Decides everything.
        wildness: How likely a value is one that code often does not expect.
    """

    tools: Sequence[Mapping[str, Any]]
    seen: Seen
    chance: random.Random
    wildness: float = 0.0

    def next(self) -> Call:
        """The next call: four times as likely one that may write."""
        weights = [1 if reads(tool) else _WRITES_PER_READ for tool in self.tools]
        [tool] = self.chance.choices(self.tools, weights)
        return tool["name"], self.arguments(tool["inputSchema"])

    def arguments(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments that the schema takes, or after a few tries ones that it may not take."""
        validator = jsonschema_rs.validator_for(dict(schema))
        for _ in range(_TRIES):
            arguments = self._object(schema)
            if validator.is_valid(arguments):
                break
        return arguments

    def _object(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        required = schema.get("required", ())
        return {
            name: self._value(name, each)
            for name, each in schema.get("properties", {}).items()
            if name in required or self.chance.random() < 0.4
        }

    def _value(self, name: str, schema: Mapping[str, Any]) -> Any:
        for choices in (schema.get("enum"), schema.get("anyOf"), schema.get("oneOf")):
            if choices:
                choice = self.chance.choice([each for each in choices if each != {"type": "null"}])
                return self._value(name, choice) if isinstance(choice, Mapping) else choice
        if self.wildness and self.chance.random() < self.wildness and schema.get("type") in _WILD:
            return self.chance.choice(_WILD[schema["type"]])
        makers: dict[Any, Callable[[], Any]] = {
            "boolean": lambda: self.chance.random() < 0.5,
            "integer": lambda: self._known(name, int) or self._number(schema),
            "number": lambda: round(self._number(schema) + self.chance.random(), 2),
            "array": lambda: [self._value(name.removesuffix("s"), schema.get("items", {}))],
            "object": lambda: self._object(schema),
        }
        return makers.get(schema.get("type"), lambda: self._text(name, schema))()

    def _known(self, name: str, kind: type) -> Any:
        shown = self.seen.shown(name, kind)
        if shown and self.chance.random() < _SHOWN:
            return self.chance.choice(shown)
        known = self.seen.under(name, kind)
        return self.chance.choice(known) if known and self.chance.random() < 0.9 else None

    def _number(self, schema: Mapping[str, Any]) -> int:
        lowest = int(schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1))
        return self.chance.randint(lowest, max(lowest, min(int(schema.get("maximum", lowest + 12)), lowest + 12)))

    def _text(self, name: str, schema: Mapping[str, Any]) -> str:
        if schema.get("format") == "date":
            return self.chance.choice(_DATES)
        if schema.get("format") == "date-time":
            return self.chance.choice(_DATES) + "T10:00:00Z"
        known = self._known(name, str)
        if known is None or self.chance.random() < 0.3:
            known = self.chance.choice([*schema.get("examples", ()), f"{name} {self.chance.randint(1, 99)}"])
        return str(known)


def reads(tool: Mapping[str, Any]) -> bool:
    """Whether a tool says of itself that it changes nothing."""
    return bool(tool.get("annotations", {}).get("readOnlyHint"))
