"""A tool's arguments are plain values."""

from collections.abc import Iterator, Mapping
from typing import Any

from awm_generator.gates import protocol, subjects


def find(subject: subjects.Subject) -> Iterator[protocol.Found]:
    """A defect per argument that is an object, or a list of lists."""
    for tool in subject.bundle.tools:
        schema = tool.get("inputSchema", {})
        for name, each in schema.get("properties", {}).items():
            what = _nested(each)
            if what is not None:
                yield protocol.Found(str(tool["name"]), f"argument {name!r} is {what}", {"schema": str(each)})


def _nested(schema: Any) -> str | None:
    if not isinstance(schema, Mapping):
        return None
    for part in [schema, *schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())]:
        if not isinstance(part, Mapping):
            continue
        if part.get("type") == "object" or "$ref" in part or "properties" in part:
            return "an object with fields of its own"
        items = part.get("items")
        if isinstance(items, Mapping) and (items.get("type") in ("array", "object") or "$ref" in items):
            return "a list of objects or lists"
    return None


GATE = protocol.Gate(
    id="static.flat-schemas",
    severity="warn",
    checks="Arguments are plain values or lists of them: models fill nested objects in wrongly far more often.",
    example="create_order: argument 'items' is a list of objects or lists",
    mend="Make one tool that adds a single item, or give the fields of the object as arguments.",
    find=find,
)
