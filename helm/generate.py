"""Writes the parts of the chart that have their source elsewhere, and the table of its values.

`.venv/bin/python helm/generate.py`
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from awm_fleet.backends.kubernetes import definition

CHART = Path(__file__).with_name("awm-fleet")
PAGE = Path(__file__).resolve().parent.parent / "docs" / "kubernetes.md"
BEGIN, END = "<!-- values: made by helm/generate.py -->\n", "<!-- end of values -->\n"
SOURCE = "# Made by helm/generate.py from {}; do not edit.\n"


def files() -> dict[Path, str]:
    """Each file as it should be."""
    schema = yaml.safe_load((CHART / "values.schema.yaml").read_text(encoding="utf-8"))
    strict = {"$schema": "http://json-schema.org/draft-07/schema#", **_closed(schema)}
    head = SOURCE.format("awm_fleet.backends.kubernetes.definition")
    return {
        CHART / "values.schema.json": json.dumps(strict, indent=2) + "\n",
        CHART / "values.yaml": SOURCE.format("values.schema.yaml") + "".join(_values(schema, 0)),
        CHART / "files" / "environments.awm.dev.yaml": head + yaml.safe_dump(definition.definition(), sort_keys=False),
        PAGE: _page(PAGE.read_text(encoding="utf-8"), schema),
    }


def _closed(schema: Any) -> Any:
    """The schema with every object closed to keys that it does not name."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(value) for name, value in schema.items()}
    if "properties" in schema and schema.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed


def _values(schema: Mapping[str, Any], depth: int) -> Iterator[str]:
    """values.yaml: each default, with what it means above it."""
    indent = "  " * depth
    for name, each in schema["properties"].items():
        if "default" in each:
            yield f"{indent}# {each['description']}\n{indent}{name}: {json.dumps(each['default'])}\n"
        elif "properties" in each:
            yield f"{indent}{name}:\n" if depth else f"\n{name}:\n"
            yield from _values(each, depth + 1)


def _page(text: str, schema: Mapping[str, Any]) -> str:
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    table = ["| value | default | meaning |", "| --- | --- | --- |", *_rows(schema, "")]
    return f"{before}{BEGIN}" + "".join(f"{row}\n" for row in table) + f"{END}{after}"


def _rows(schema: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name, each in schema["properties"].items():
        if "default" in each:
            yield f"| `{prefix}{name}` | `{json.dumps(each['default'])}` | {each['description']} |"
        elif "properties" in each:
            yield from _rows(each, f"{prefix}{name}.")


if __name__ == "__main__":
    for path, content in files().items():
        path.write_text(content, encoding="utf-8")
