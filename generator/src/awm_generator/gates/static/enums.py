"""What a writing tool lets an agent choose from is what the column takes."""

from collections.abc import Iterator, Mapping
from typing import Any

from awm_generator.gates import protocol, subjects


def find(subject: subjects.Subject) -> Iterator[protocol.Found]:
    """A defect per argument whose choices no CHECK constraint of its column allows."""
    columns: dict[str, list[frozenset[str]]] = {}
    for table in subject.data.tables.values():
        for column, values in table.choices.items():
            columns.setdefault(column, []).append(values)
    for tool in subject.bundle.tools:
        if tool.get("annotations", {}).get("readOnlyHint"):
            continue  # a filter may know more choices, such as "all"
        for name, schema in tool.get("inputSchema", {}).get("properties", {}).items():
            offered, allowed = frozenset(_choices(schema)), columns.get(name, [])
            if offered and allowed and not any(offered <= values for values in allowed):
                nearest = max(allowed, key=lambda values: len(values & offered))
                wrong = ", ".join(sorted(offered - nearest))
                evidence = {"offered": ", ".join(sorted(offered)), "allowed": ", ".join(sorted(nearest))}
                yield protocol.Found(
                    str(tool["name"]), f"argument {name!r} offers what no row may hold: {wrong}", evidence
                )


def _choices(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        for part in (schema, *schema.get("anyOf", ())):
            values = part.get("enum", [part["const"]] if "const" in part else ()) if isinstance(part, Mapping) else ()
            yield from (value for value in values if isinstance(value, str))


GATE = protocol.Gate(
    id="static.enums",
    severity="fail",
    checks="The choices of a writing tool's argument are among those that a CHECK constraint of its column allows.",
    example="record_payment: argument 'method' offers what no row may hold: cheque",
    mend="Take the list of values from schema.sql, in both places.",
    find=find,
)
