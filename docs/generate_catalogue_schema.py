"""Writes `docs/catalogue.schema.json`, the JSON Schema of a catalogue's files, from their models.

`.venv/bin/python docs/generate_catalogue_schema.py`
"""

import json
from pathlib import Path

from pydantic import json_schema

from awm_registry.catalogue import model

PAGE = Path(__file__).with_name("catalogue.schema.json")


def page() -> str:
    """The schema as it should be: `#/$defs/Index` is index.json, `#/$defs/Metadata` a metadata file."""
    _, schema = json_schema.models_json_schema(
        [(model.Index, "validation"), (model.Metadata, "validation")],
        title="AWM catalogue",
        description="index.json and metadata/*.json of a catalogue, formats awm-catalogue/1 and awm-metadata/1.",
    )
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    either = {"anyOf": [{"$ref": "#/$defs/Index"}, {"$ref": "#/$defs/Metadata"}]}
    return json.dumps(dialect | schema | either, indent=2) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
