"""From bundles to a catalogue's files."""

import contextlib
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from awm_registry import errors
from awm_registry.catalogue import model, reading
from awm_runtime.bundle import digest
from awm_runtime.bundle import model as bundles


def entry(bundle: bundles.Bundle, *, image: str | None = None, folder: Path | None = None) -> model.Entry:
    """The row of a bundle.

    Args:
        image: Its image, as `REPOSITORY@sha256:...`.
        folder: Where it is, for backends that run folders.
    """
    scenario = bundle.scenario
    return model.Entry(
        name=scenario.name,
        generation=scenario.generation,
        tier=scenario.tier,
        image=image,
        folder=str(folder) if folder is not None else None,
        bundle=digest.digest(bundle),
        tools_hash=digest.tools_hash(bundle.tools),
    )


def metadata(bundle: bundles.Bundle, digest: str) -> model.Metadata:
    """What is said about a bundle: what anybody may know."""
    scenario = bundle.scenario
    return model.Metadata(
        name=scenario.name,
        generation=scenario.generation,
        bundle=digest,
        title=scenario.title,
        description=scenario.description,
        tags=scenario.tags,
        clock=scenario.clock,
        user=scenario.user,
        counts=scenario.counts,
        tasks=tuple(
            model.Task(id=task.id, instruction=task.instruction, split=task.split, difficulty=task.difficulty)
            for task in bundle.tasks
        ),
    )


def describe(bundle: bundles.Bundle, row: model.Entry, folder: Path) -> None:
    """Writes what `row` needs beside the index; files that are there already are the same."""
    described = model.metadata_path(folder, row.bundle)
    if not described.exists():
        replace(described, metadata(bundle, row.bundle).model_dump_json(indent=1, exclude_none=True).encode())
    tools = model.tools_path(folder, row.tools_hash)
    if not tools.exists():
        replace(tools, digest.canonical(list(bundle.tools)))


def write_index(rows: Iterable[model.Entry], folder: Path) -> model.Index:
    """Writes the index, sorted by name and generation, in place of an earlier one, all of it or nothing.

    A row whose bundle stood in the earlier one keeps its time, others are of now. Without rows the earlier one stays: a
    fleet that follows it goes on serving.
    """
    ordered = sorted(rows, key=lambda row: (row.name, row.generation))
    times, now = _times(folder), datetime.now(UTC).replace(microsecond=0)
    dated = [row.model_copy(update={"published_at": row.published_at or times.get(_key(row), now)}) for row in ordered]
    index = model.Index(entries=tuple(dated))
    if index.entries:
        replace(folder / model.INDEX, index_document(index))
    return index


def index_document(index: model.Index) -> bytes:
    """An index as it is written."""
    return index.model_dump_json(indent=1, exclude_none=True).encode() + b"\n"


def _times(folder: Path) -> dict[tuple[str, int, str], datetime]:
    """When the rows of the earlier index were published, where it can be read."""
    found = {}
    with contextlib.suppress(errors.CatalogueError):
        for value in reading.rows(folder / model.INDEX):
            with contextlib.suppress(reading.Unreadable):
                row = reading.entry(value)
                if row.published_at is not None:
                    found[_key(row)] = row.published_at
    return found


def _key(row: model.Entry) -> tuple[str, int, str]:
    return (row.name, row.generation, row.bundle)


def replace(path: Path, content: bytes) -> None:
    """Writes a file, all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")  # threads may write the same file
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
