"""Reads the files of a catalogue."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from awm_registry import errors
from awm_registry.catalogue import model

_Model = TypeVar("_Model", bound=pydantic.BaseModel)
_NO_CLOCK = datetime(2026, 1, 1, 9, tzinfo=UTC)


class Unreadable(Exception):
    """One row, or what is said about it, makes no sense; the message says why."""


def rows(path: Path) -> list[Any]:
    """The rows of an index as they are, not looked at yet.

    Raises:
        CatalogueError: It is no index of this format.
    """
    try:
        value = json.loads(path.read_bytes())
    except OSError as exc:
        raise errors.CatalogueError(f"{path}: cannot be read: {exc.strerror}") from exc
    except (ValueError, RecursionError) as exc:
        raise errors.CatalogueError(f"{path}: broken JSON: {exc}") from exc
    if not isinstance(value, dict) or value.get("format") != model.FORMAT:
        said = value.get("format") if isinstance(value, dict) else type(value).__name__
        raise errors.CatalogueError(f"{path}: format: must be {model.FORMAT!r}, not {said!r}; `awm catalog build` it")
    found = value.get("entries")
    if not isinstance(found, list):
        raise errors.CatalogueError(f"{path}: entries: must be a list")
    return found


def entry(value: Any) -> model.Entry:
    """A row.

    Raises:
        Unreadable: It makes no sense.
    """
    return _validated(model.Entry, value)


def name_of(value: Any) -> str | None:
    """The name that a row gives, whatever else is wrong with it."""
    name = value.get("name") if isinstance(value, dict) else None
    return name if isinstance(name, str) else None


def metadata(folder: Path, row: model.Entry) -> model.Metadata:
    """What is said about a row.

    Raises:
        Unreadable: The file is missing, or speaks of something else.
    """
    path = model.metadata_path(folder, row.bundle)
    found = _validated(model.Metadata, _json(_content(path), path), path.name)
    if (found.name, found.generation, found.bundle) != (row.name, row.generation, row.bundle):
        raise Unreadable(f"{path.name} describes {found.name}, generation {found.generation}")
    return found


def undescribed(row: model.Entry) -> model.Metadata:
    """What can be said about a row without its file."""
    return model.Metadata(name=row.name, generation=row.generation, bundle=row.bundle, title=row.name, clock=_NO_CLOCK)


def tools(folder: Path, row: model.Entry) -> tuple[model.Tool, ...]:
    """A row's tool list.

    Raises:
        Unreadable: The file is missing, or is not what its name says.
    """
    path = model.tools_path(folder, row.tools_hash)
    content = _content(path)
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != row.tools_hash:
        raise Unreadable(f"{path.name} was changed: its SHA-256 is not its name")
    listed: list[model.Tool] = _json(content, path)
    return tuple(listed)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise Unreadable(f"{path.parent.name}/{path.name} cannot be read: {exc.strerror}") from exc


def _json(content: bytes, path: Path) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise Unreadable(f"{path.parent.name}/{path.name}: broken JSON: {exc}") from exc


def _validated(kind: type[_Model], value: Any, place: str = "") -> _Model:
    try:
        return kind.model_validate(value)
    except pydantic.ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole value"
        raise Unreadable(": ".join(filter(None, (place, where, first["msg"])))) from exc
