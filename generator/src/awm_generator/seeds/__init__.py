"""Seed names of everyday services that ship with the package, and seeds of a user's own."""

import importlib.resources
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from awm_generator import errors

SHIPPED = "seed_scenario.jsonl"


def read(path: Path | None) -> Iterator[Any]:
    """The seeds of a file, or those that ship with the package; whatever JSON a line holds.

    A line that is no JSON is a name, so that a plain list of names will do.

    Raises:
        GenerationError: there is no such file, or it is no text.
    """
    try:
        text = (
            path.read_text(encoding="utf-8-sig")
            if path is not None
            else importlib.resources.files(__name__).joinpath(SHIPPED).read_text(encoding="utf-8")
        )
    except OSError as exc:
        raise errors.GenerationError(f"{path}: cannot be read: {exc.strerror}; it holds seeds, one per line") from exc
    except UnicodeDecodeError as exc:
        raise errors.GenerationError(f"{path}: not UTF-8 text (byte {exc.start})") from exc
    for line in text.split("\n"):
        if line.strip():
            yield _seed(line.strip())


def _seed(line: str) -> Any:
    try:
        value = json.loads(line)
    except ValueError:
        return {"name": line}
    return {"name": value} if isinstance(value, str) else value
