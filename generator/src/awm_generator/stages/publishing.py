"""Makes bundles of the stages' rows, on the importer's path, with what only a generator knows."""

import dataclasses
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from awm_generator import prompts
from awm_generator.awm_files import drafts, importing, probing, rows
from awm_runtime import errors
from awm_runtime.bundle import database, model, reading, writing

SOURCE = "awm-generator"


@dataclass(frozen=True)
class Maker:
    """What bundles of a run have in common.

    Attributes:
        model: The model's name.
        clock: The frozen clock, where it was given.
    """

    model: str
    clock: datetime | None = None


def draft(originals: rows.Originals, root: Path, maker: Maker, *, generation: int = 1) -> model.Bundle:
    """The bundle that the rows come to, still without its tools.

    Raises:
        Quarantined: there is no code, or nothing of the database can be made.
    """
    made = drafts.draft(originals, root, maker.clock)
    scenario = made.scenario.model_copy(
        update={
            "generation": generation,
            "foreign_keys": "on" if _holds(made, root) else "off",
            "provenance": model.Provenance(source=SOURCE, model=maker.model, prompts=prompts.version()),
        }
    )
    return dataclasses.replace(made, scenario=scenario, source={})


def served(draft: model.Bundle) -> model.Bundle:
    """A draft with its tools, written down, so that an instance can serve it.

    Raises:
        Quarantined: its code does not load.
    """
    written = writing.write(draft, draft.root)
    probe = probing.probe(written.root)
    if not probe.ok:
        error = probe.error or probing.ProbeError(reason="for no reason given")
        raise drafts.Quarantined(f"its code does not import: {error.reason}", detail=error.detail)
    return writing.write(dataclasses.replace(written, tools=probe.tools), written.root)


def publish(originals: rows.Originals, root: Path, maker: Maker, *, generation: int) -> model.Bundle:
    """Makes a bundle, tries its code and its verifiers, and writes it as the folder `root`.

    Raises:
        Quarantined: it cannot be used, or something that is no bundle is in its place.
    """
    made = importing.finished(draft(originals, root, maker, generation=generation))
    try:
        return writing.write(made, root)
    except errors.BundleError as exc:
        raise drafts.Quarantined(str(exc)) from exc


def generation(root: Path) -> int:
    """The generation of the bundle in a folder; 1 where there is none."""
    try:
        return reading.read(root).scenario.generation
    except errors.BundleError:
        return 1


def _holds(made: model.Bundle, root: Path) -> bool:
    """Whether the database is the same with foreign keys enforced."""
    root.parent.mkdir(parents=True, exist_ok=True)
    scratch = root.parent / f".{root.name}.keys.db"
    try:
        report = database.build(made.schema_sql, made.seed_sql, made.clock, scratch, "on")
    finally:
        scratch.unlink(missing_ok=True)
    return not report.failures and not report.violations
