"""Reads a bundle from its folder. Nothing of it is imported or run."""

import json
import re
from pathlib import Path
from typing import Any, TypeVar, cast

import pydantic

from awm_runtime import errors
from awm_runtime.bundle import model
from awm_runtime.contract import verdicts

_Model = TypeVar("_Model", bound=pydantic.BaseModel)
_VERIFIER = re.compile(r"(?P<task>.+)\.(?P<mode>code|sql)\.py")


def read(path: Path) -> model.Bundle:
    """The bundle in the folder `path`.

    Raises:
        BundleError: a file is missing or malformed; the message names the file, and the line and field.
    """
    if not path.is_dir():
        raise errors.BundleError(f"{path}: no such folder; a bundle is a folder with a scenario.json in it")
    return model.Bundle(
        root=path,
        scenario=_validated(model.Scenario, _json(path / "scenario.json"), str(path / "scenario.json")),
        tasks=_tasks(path / "tasks.jsonl"),
        schema_sql=_text(path / "schema.sql"),
        seed_sql=_text(path / "seed.sql"),
        environment=_text(path / "environment.py"),
        spec=_object(path / "spec.json") if (path / "spec.json").exists() else {},
        tools=_tools(path / "tools.json"),
        verifiers=_verifiers(path / "verifiers"),
        report=_report(path / "report.json"),
        source=_sources(path / "source"),
    )


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        raise errors.BundleError(f"{path}: missing; every bundle has this file") from None
    except OSError as exc:
        raise errors.BundleError(f"{path}: cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise errors.BundleError(f"{path}: not UTF-8 text (byte {exc.start})") from exc


def _parsed(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as exc:
        raise errors.BundleError(f"{place}: broken JSON: {exc.msg} (line {exc.lineno}, column {exc.colno})") from exc
    except RecursionError as exc:
        raise errors.BundleError(f"{place}: JSON nested too deeply") from exc


def _json(path: Path) -> Any:
    return _parsed(_text(path), str(path))


def _object(path: Path) -> dict[str, Any]:
    value = _json(path)
    if not isinstance(value, dict):
        raise errors.BundleError(f"{path}: must be a JSON object")
    return value


def _validated(kind: type[_Model], value: object, place: str) -> _Model:
    try:
        return kind.model_validate(value)
    except pydantic.ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole value"
        raise errors.BundleError(f"{place}: {field}: {first['msg']}") from exc


def _tasks(path: Path) -> tuple[model.Task, ...]:
    tasks: dict[str, model.Task] = {}
    # Not splitlines(): JSON texts may hold the other characters that it splits at.
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        task = _validated(model.Task, _parsed(line, place), place)
        if task.id in tasks:
            raise errors.BundleError(f"{place}: id: {task.id!r} is an earlier line's too")
        tasks[task.id] = task
    return tuple(tasks.values())


def _tools(path: Path) -> tuple[dict[str, Any], ...]:
    value = _json(path)
    if not isinstance(value, list):
        raise errors.BundleError(f"{path}: must be a JSON list of tools")
    for number, tool in enumerate(value):
        if not (isinstance(tool, dict) and isinstance(tool.get("name"), str)):
            raise errors.BundleError(f"{path}: {number}.name: every tool is an object with a name")
    return tuple(value)


def _verifiers(folder: Path) -> dict[model.VerifierKey, str]:
    found: dict[model.VerifierKey, str] = {}
    for path in sorted(folder.glob("*")):
        match = _VERIFIER.fullmatch(path.name)
        if not match:
            raise errors.BundleError(f"{path}: verifiers are named TASK.code.py or TASK.sql.py")
        found[match["task"], cast(verdicts.Mode, match["mode"])] = _text(path)
    return found


def _report(path: Path) -> model.Report:
    return _validated(model.Report, _json(path), str(path)) if path.exists() else model.Report()


def _sources(folder: Path) -> dict[str, str]:
    return {path.name: _text(path) for path in sorted(folder.glob("*"))}
