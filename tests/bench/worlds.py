"""What is measured: the example scenarios, and the sample of AWM files where there is one."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from awm_fleet import examples
from awm_generator.awm_files import importing, rows
from awm_runtime.bundle import model, reading

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = Path(os.environ.get("AWM_SAMPLE") or ROOT.parent / "shared" / "awm-sample")


@dataclass(frozen=True)
class World:
    """A scenario, and the tools that it is measured with.

    Attributes:
        listing: The tool that call figures are about: the first `list_...` that needs no arguments.
        reading: A few read tools that need no arguments, the listing first.
    """

    bundle: model.Bundle
    listing: str
    reading: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.bundle.scenario.name

    def judged_task(self) -> model.Task:
        """The first task that has a code verifier; one with an oracle if there is any."""
        judged = [task for task in self.bundle.tasks if (task.id, "code") in self.bundle.verifiers]
        return next((task for task in judged if task.oracle is not None), judged[0])


def names() -> tuple[str, ...]:
    """The scenarios that can be measured here."""
    return tuple(name for name, _ in _sources())


def prepared(wanted: list[str], folder: Path) -> Iterator[World]:
    """The wanted scenarios, or all; those of the sample are imported into `folder`."""
    for name, originals in _sources():
        if wanted and name not in wanted:
            continue
        if originals is None:
            yield _world(reading.read(examples.path(name)))
            continue
        done = importing.import_one(originals, folder)
        if done.bundle is None:
            raise SystemExit(f"{name} cannot be measured: {done.quarantined}")
        yield _world(done.bundle)


def _sources() -> list[tuple[str, rows.Originals | None]]:
    found: list[tuple[str, rows.Originals | None]] = [(name, None) for name in examples.names()]
    if SAMPLE.exists():
        found += [(each.name, each) for each in importing.select(rows.load(SAMPLE), [])]
    return found


def _world(bundle: model.Bundle) -> World:
    readers = [tool["name"] for tool in bundle.tools if _reads_without_arguments(tool)]
    listing = next(name for name in readers if name.startswith("list_"))
    others = [name for name in readers if name != listing]
    return World(bundle, listing, (listing, *others[:4]))


def _reads_without_arguments(tool: Mapping[str, Any]) -> bool:
    return bool(tool["annotations"]["readOnlyHint"]) and not tool["inputSchema"].get("required")
