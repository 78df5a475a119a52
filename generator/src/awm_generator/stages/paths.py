"""Where a run's files are, and how the rows of one scenario are gathered from them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from awm_generator.awm_files import rows
from awm_generator.stages import outcomes, row_files, verifiers

StageName = Literal["scenario", "task", "db", "sample", "spec", "env", "verifier", "oracle", "bundle"]

STAGES: tuple[StageName, ...] = ("scenario", "task", "db", "sample", "spec", "env", "verifier", "oracle", "bundle")
"""In their order."""

SEEDS = "seed_scenario.jsonl"
FILES: dict[StageName, str] = {
    "scenario": "gen_scenario.jsonl",
    "task": "gen_tasks.jsonl",
    "db": "gen_db.jsonl",
    "sample": "gen_sample.jsonl",
    "spec": "gen_spec.jsonl",
    "env": "gen_envs.jsonl",
    "verifier": rows.VERIFIERS[1],
    "oracle": rows.ORACLES,
}
"""What each stage writes."""


@dataclass(frozen=True, kw_only=True)
class Paths:
    """The files of a run by the stage that writes them, and the folders."""

    scenario: Path
    task: Path
    db: Path
    sample: Path
    spec: Path
    env: Path
    verifier: Path
    oracle: Path
    databases: Path
    bundles: Path

    @classmethod
    def within(cls, folder: Path, mode: verifiers.Mode = "code", **elsewhere: Path) -> Self:
        """Those of a run whose files are all in one folder, but for those that are given by their stages' names."""
        named = {stage: folder / file for stage, file in FILES.items()}
        named["verifier"] = folder / verifier_file(mode)
        named_folders: dict[str, Path] = {"databases": folder / "databases", "bundles": folder / "bundles"}
        return cls(**(named_folders | {str(stage): path for stage, path in named.items()} | elsewhere))

    def of(self, stage: StageName) -> Path:
        """The file that a stage writes."""
        path: Path = getattr(self, stage)
        return path

    def database(self, name: str) -> Path:
        """The database of a scenario."""
        return self.databases / f"{name}.db"


def verifier_file(mode: verifiers.Mode) -> str:
    """What the file of verifiers of one mode is called."""
    return rows.VERIFIERS[mode == "code"]


class Shelf:
    """The files that a stage reads.

    Args:
        paths: Where the files are.
        needed: Stages whose rows have to be there; the first one says which scenarios there are.
        useful: Stages whose rows are taken where they are there.

    Raises:
        BundleError: a line is broken.
        GenerationError: a needed file is missing.
    """

    def __init__(self, paths: Paths, needed: Iterable[StageName], useful: Iterable[StageName] = ()) -> None:
        self._needed = {stage: row_files.needed(paths.of(stage), FILES[stage], _flag(stage)) for stage in needed}
        self._useful = {stage: row_files.RowFile(paths.of(stage), row_files.KINDS[FILES[stage]]) for stage in useful}

    def names(self) -> list[str]:
        """The scenarios that every needed file has a row of, in the order of the first file."""
        first, *others = self._needed.values()
        return [name for name in first if all(name in other for other in others)]

    def originals(self, name: str) -> rows.Originals:
        """The rows of a scenario."""
        found = rows.Originals(name)
        for stage, file in (*self._needed.items(), *self._useful.items()):
            for row in file.of(name):
                if isinstance(row, rows.VerifierRow):
                    found.verifiers.append(row)
                else:
                    found.single[FILES[stage]] = row
        return found


def needed_row(originals: rows.Originals, kind: type[row_files.RowKind]) -> row_files.RowKind:
    """The row of one kind.

    Raises:
        Quarantined: there is none.
    """
    row = originals.row(kind)
    if row is None:
        raise outcomes.Quarantined(f"it has no {kind.__name__}")
    return row


def _flag(stage: StageName) -> str:
    return {"scenario": "--input", "task": "--input_task", "verifier": "--input_verifier"}.get(
        stage, f"--input_{stage}"
    )
