"""A brief in place of seeds: a few lines of text, or an OpenAPI file, as the start of one scenario."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from awm_generator import errors, prompts
from awm_generator.awm_files import rows
from awm_generator.model import language
from awm_generator.stages import asking, growing, outcomes
from awm_runtime import names

_LONGEST = 24_000
_METHODS = ("get", "post", "put", "patch", "delete")


class _Named(asking.Reply):
    name: str
    description: str


def read(given: str) -> str | dict[str, Any]:
    """What `--brief` names: a text, a file with one, or an OpenAPI document.

    Raises:
        GenerationError: it is empty, too long, or a file that cannot be read.
    """
    text = _text(given)
    if not text.strip():
        raise errors.GenerationError("--brief: there is nothing in it; give a few lines of text, or an OpenAPI file")
    document = _document(text)
    if document is not None:
        return document
    if len(text) > _LONGEST:
        raise errors.GenerationError(f"--brief: {len(text)} characters; {_LONGEST} are the most")
    return text.strip()


async def scenario(brief: str | dict[str, Any], model: language.LanguageModel, *, max_retry: int) -> rows.ScenarioRow:
    """The scenario that a brief is about. An OpenAPI document names itself; for a text the model is asked.

    Raises:
        GenerationError: it has no usable name.
    """
    if isinstance(brief, dict):
        info = brief.get("info") or {}
        return _row(str(info.get("title") or ""), str(info.get("description") or ""), described(brief))
    session = asking.Session(model=model, stage=growing.STAGE, scenario="", max_retry=max_retry)

    async def attempt(text: str) -> _Named:
        named = asking.parsed(text, _Named)
        if not names.normalise(named.name):
            raise asking.Broken(f"The name {named.name!r} has no Latin letter or digit.")
        return named

    try:
        named = await session.settle(prompts.conversation("brief", brief=brief), attempt, shape=asking.shape(_Named))
    except outcomes.Quarantined as exc:
        raise errors.GenerationError(f"--brief: no name could be had: {exc}") from exc
    return _row(named.name, named.description, brief)


def described(document: dict[str, Any]) -> str:
    """An OpenAPI document as text for prompts: its operations, with their parameters."""
    lines = ["The API has these operations; keep their paths, names and parameters:", *_operations(document)]
    return "\n".join(lines)[:_LONGEST]


def _row(name: str, description: str, brief: str) -> rows.ScenarioRow:
    if not names.normalise(name):
        raise errors.GenerationError(f"--brief: {name!r} is no name that files can have; give info.title a plain one")
    value = {"name": name.strip()[:80], "description": " ".join(description.split())[:500], "brief": brief}
    return rows.ScenarioRow.model_validate(value)


def _text(given: str) -> str:
    if "\n" in given or len(given) > 255 or not Path(given).is_file():
        if "\n" not in given and Path(given).suffix in (".json", ".yaml", ".yml", ".txt", ".md"):
            raise errors.GenerationError(f"--brief: {given}: no such file")
        return given
    try:
        return Path(given).read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise errors.GenerationError(f"--brief: {given}: cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise errors.GenerationError(f"--brief: {given}: not UTF-8 text (byte {exc.start})") from exc


def _document(text: str) -> dict[str, Any] | None:
    """The OpenAPI document that a text is, if it is one."""
    try:
        value = json.loads(text) if text.lstrip().startswith("{") else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError, RecursionError):
        return None
    if not isinstance(value, dict) or not ("openapi" in value or "swagger" in value):
        return None
    if not isinstance(value.get("paths"), dict):
        raise errors.GenerationError("--brief: an OpenAPI document without paths")
    return value


def _operations(document: dict[str, Any]) -> Iterator[str]:
    for path, item in document["paths"].items():
        for method in _METHODS:
            operation = item.get(method) if isinstance(item, dict) else None
            if isinstance(operation, dict):
                yield _operation(document, str(path), method, operation)


def _operation(document: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> str:
    given = [each for each in operation.get("parameters") or () if isinstance(each, dict)]
    parameters = [f"{each.get('name')} ({each.get('in')})" for each in given if each.get("name")]
    parameters += [f"{name} (body)" for name in _body(document, operation)]
    name = f" {operation['operationId']}" if operation.get("operationId") else ""
    says = operation.get("summary") or operation.get("description") or ""
    return f"- {method.upper()} {path}{name}({', '.join(parameters)}): {' '.join(str(says).split())[:200]}"


def _body(document: dict[str, Any], operation: dict[str, Any]) -> list[str]:
    content = (operation.get("requestBody") or {}).get("content") or {}
    schema = next((each.get("schema") for each in content.values() if isinstance(each, dict)), None) or {}
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/"):
        found: Any = document
        for part in reference[2:].split("/"):
            found = found.get(part, {}) if isinstance(found, dict) else {}
        schema = found if isinstance(found, dict) else {}
    return [str(name) for name in schema.get("properties") or ()]
