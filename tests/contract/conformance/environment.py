"""The scenario that MCP's conformance suite asks for: operation ids are the tool names that it calls."""

from typing import Any

import fastapi

SCHEMA_2020_12: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}

app = fastapi.FastAPI(title="Conformance", description="Tools for MCP's conformance suite.")


@app.get("/simple-text", operation_id="test_simple_text", summary="Return a simple text")
def simple_text() -> str:
    return "This is a simple text response for testing."


@app.get("/error", operation_id="test_error_handling", summary="Always refuse")
def error_handling() -> str:
    raise fastapi.HTTPException(409, "This tool intentionally returns an error for testing")


@app.post(
    "/contacts",
    operation_id="json_schema_2020_12_tool",
    summary="Tool with JSON Schema 2020-12 features",
    openapi_extra={"requestBody": {"content": {"application/json": {"schema": SCHEMA_2020_12}}}},
)
async def json_schema(request: fastapi.Request) -> Any:
    return await request.json()
