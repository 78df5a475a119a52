"""Briefs: a text, a file, an OpenAPI document."""

import asyncio
import json
from pathlib import Path

import pytest

from awm_generator import errors
from awm_generator.model import scripted
from awm_generator.stages import briefs, row_files

DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "Tool Library", "description": "Lends\ntools."},
    "components": {"schemas": {"Loan": {"properties": {"tool_id": {}, "days": {}}}}},
    "paths": {
        "/loans/{id}": {
            "get": {
                "operationId": "get_loan",
                "summary": "One loan",
                "parameters": [{"name": "id", "in": "path"}],
            }
        },
        "/loans": {
            "post": {
                "operationId": "create_loan",
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Loan"}}}},
            }
        },
    },
}


def model(*replies: str) -> scripted.ScriptedModel:
    left = list(replies)
    return scripted.ScriptedModel(lambda _: left.pop(0))


def test_a_text_is_named_by_the_model() -> None:
    asked = model('{"name": "Tool Library", "description": "Members borrow tools."}')
    row = asyncio.run(briefs.scenario(briefs.read("A shed full of tools."), asked, max_retry=1))
    assert (row.scenario, row.description) == ("Tool Library", "Members borrow tools.")
    assert row_files.carried(row, "brief") == "A shed full of tools."


def test_a_name_that_no_file_could_have_is_asked_for_again() -> None:
    asked = model('{"name": "工具", "description": "x"}', '{"name": "Tools", "description": "x"}')
    row = asyncio.run(briefs.scenario(briefs.read("Tools."), asked, max_retry=1))
    assert row.scenario == "Tools"
    assert "no Latin letter" in asked.requests[1].messages[-1].content


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_an_openapi_file_names_itself_and_its_operations_are_kept(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"api.{suffix}"
    file.write_text(json.dumps(DOCUMENT))  # which is YAML too
    row = asyncio.run(briefs.scenario(briefs.read(str(file)), model(), max_retry=0))
    assert (row.scenario, row.description) == ("Tool Library", "Lends tools.")
    brief = row_files.carried(row, "brief")
    assert "- GET /loans/{id} get_loan(id (path)): One loan" in brief
    assert "- POST /loans create_loan(tool_id (body), days (body)): " in brief


def test_a_file_with_a_text_is_read(tmp_path: Path) -> None:
    file = tmp_path / "brief.md"
    file.write_text("# A tool library\n\nMembers borrow tools.\n")
    assert briefs.read(str(file)) == "# A tool library\n\nMembers borrow tools."


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("  ", "nothing in it"),
        ("missing.yaml", "missing.yaml: no such file"),
        ("x\n" * 20_000, "24000 are the most"),
        ('{"openapi": "3.1.0"}', "without paths"),
    ],
)
def test_a_brief_of_no_use_is_named(given: str, said: str) -> None:
    with pytest.raises(errors.GenerationError, match=said):
        briefs.read(given)


def test_a_document_whose_title_is_no_name_is_refused() -> None:
    document = {**DOCUMENT, "info": {"title": "工具"}}
    with pytest.raises(errors.GenerationError, match="no name that files can have"):
        asyncio.run(briefs.scenario(document, model(), max_retry=0))
