"""Five probes per tool, each in the seed's state: what any client tries first.

The recipe is simple on purpose, so that others can repeat it with nothing but the app's OpenAPI document:

| probe | arguments | integer | number | boolean | string | date, date-time |
| --- | --- | --- | --- | --- | --- | --- |
| existing | all | 1 | 1 | true | `test` | 2026-01-15, 2026-01-15T10:00:00Z |
| missing | required | 999999 | 999999 | true | `no-such-thing` | as above |
| negative or empty | all | -1 | -1 | false | empty | as above |
| required only | required | 1 | 1 | true | `test` | as above |
| garbage | all | `garbage` | `garbage` | `garbage` | `%_'; --` and U+2603 | `garbage` |

In the existing and required only probes an integer called `<row>_id` is the least key of the table `<row>s`, `<row>es`
or, for a `y` at its end, `<row>ies`, where there is one with an integer key. An enumeration gives its first value
(`garbage` in garbage), a list holds one such value, an object its fields. Examples and defaults are not used. Where
several schemas would do, the first that is not null does.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from awm_generator.gates import hosting, seeds

Kind = Literal["existing", "missing", "negative", "required", "garbage"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_DATE, _MOMENT = "2026-01-15", "2026-01-15T10:00:00Z"
_ODD = "%_'; --\N{SNOWMAN}"
_DEEPEST = 3
_VALUES: dict[Kind, dict[str, Any]] = {
    "existing": {"integer": 1, "number": 1, "boolean": True, "string": "test"},
    "missing": {"integer": 999_999, "number": 999_999, "boolean": True, "string": "no-such-thing"},
    "negative": {"integer": -1, "number": -1, "boolean": False, "string": ""},
    "required": {"integer": 1, "number": 1, "boolean": True, "string": "test"},
    "garbage": {"integer": "garbage", "number": "garbage", "boolean": "garbage", "string": _ODD},
}


@dataclass(frozen=True)
class Probe:
    """One probe, and what came of it."""

    kind: Kind
    method: str
    path: str
    call: hosting.Call


async def probe(host: hosting.Host) -> list[Probe]:
    """Probes every tool. An episode that a probe changed is reset."""
    assert host.subject.code is not None
    keys = _least_keys(host.subject.data)
    done = []
    async with host.episode() as episode:
        for tool in host.subject.code.toolset.tools.values():
            made: dict[str, hosting.Call] = {}
            for kind, arguments in arguments_for(tool.input_schema, keys):
                asked = hosting.requested(tool.name, arguments)
                if asked not in made:  # one without arguments is the same in every probe
                    made[asked] = await host.call(episode, tool.name, arguments)
                    if made[asked].changed:
                        await host.reset(episode)
                done.append(Probe(kind, tool.method, tool.path, made[asked]))
    return done


def arguments_for(schema: Mapping[str, Any], keys: Mapping[str, int]) -> Iterator[tuple[Kind, dict[str, Any]]]:
    """The arguments of the five probes of a tool.

    Args:
        schema: Its input schema.
        keys: The least key of each table, by what an argument for it is called.
    """
    for kind in KINDS:
        known = keys if kind in ("existing", "required") else {}
        yield kind, _Recipe(kind, known, schema.get("$defs", {})).object(schema, depth=0)


def _least_keys(data: seeds.Seed) -> dict[str, int]:
    found: dict[str, int] = {}
    for table in data.tables.values():
        keys = [row[table.key] for row in table.rows if type(row[table.key]) is int] if table.key is not None else []
        if not keys:
            continue
        for ending, single in (("ies", "y"), ("es", ""), ("s", "")):
            if table.name.endswith(ending):
                found.setdefault(f"{table.name.removesuffix(ending)}{single}_id", min(keys))
    return found


@dataclass(frozen=True)
class _Recipe:
    kind: Kind
    keys: Mapping[str, int]
    definitions: Mapping[str, Any]

    def object(self, schema: Mapping[str, Any], *, depth: int) -> dict[str, Any]:
        required = schema.get("required", ())
        every = self.kind in ("existing", "negative", "garbage") and depth < _DEEPEST
        return {
            name: self._value(name, each, depth)
            for name, each in schema.get("properties", {}).items()
            if every or name in required
        }

    def _value(self, name: str, schema: Any, depth: int) -> Any:
        schema = _plain(schema, self.definitions)
        if "enum" in schema or "const" in schema:
            return "garbage" if self.kind == "garbage" else schema.get("enum", [schema.get("const")])[0]
        if schema.get("format") in ("date", "date-time"):
            moment = _DATE if schema["format"] == "date" else _MOMENT
            return "garbage" if self.kind == "garbage" else moment
        of = schema.get("type", "string")
        if of == "array":
            return [self._value(name, schema.get("items", {}), depth + 1)]
        if of == "object":
            return self.object(schema, depth=depth + 1)
        if of == "integer" and name in self.keys:
            return self.keys[name]
        return _VALUES[self.kind].get(of, _VALUES[self.kind]["string"])


def _plain(schema: Any, definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first schema that is not null among several, references followed."""
    if not isinstance(schema, Mapping):
        return {}
    if "$ref" in schema:
        return _plain(definitions.get(schema["$ref"].rpartition("/")[2], {}), definitions)
    for several in ("anyOf", "oneOf", "allOf"):
        for part in schema.get(several, ()):
            if isinstance(part, Mapping) and part.get("type") != "null":
                return _plain(part, definitions)
    of = schema.get("type")
    if isinstance(of, list):
        return {**schema, "type": next((each for each in of if each != "null"), "string")}
    return schema
