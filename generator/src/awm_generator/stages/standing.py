"""How far a folder's runs have come: what is done, what is left out and why, and what it took."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from awm_generator import errors
from awm_generator.model import ledger
from awm_generator.stages import journals, paths, row_files


@dataclass(frozen=True)
class StageStanding:
    """One stage."""

    stage: str
    done: int
    quarantined: tuple[journals.Entry, ...]
    partly: tuple[journals.Entry, ...]
    left: int
    spent: ledger.Spent


@dataclass(frozen=True)
class Standing:
    """All stages of a folder."""

    folder: Path
    stages: tuple[StageStanding, ...]
    total: ledger.Spent

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "folder": str(self.folder),
            "stages": [
                {
                    "stage": each.stage,
                    "done": each.done,
                    "left": each.left,
                    "quarantined": [
                        {"scenario": entry.scenario, "reason": entry.reason, "detail": entry.detail}
                        for entry in each.quarantined
                    ],
                    "left_out": [
                        {"scenario": entry.scenario, **asdict(part)}
                        for entry in each.partly
                        for part in entry.casualties
                    ],
                    "spent": asdict(each.spent),
                }
                for each in self.stages
            ],
            "spent": asdict(self.total),
        }


def of(folder: Path) -> Standing:
    """The standing of a folder.

    Raises:
        GenerationError: no stage has written there.
        BundleError: a line of a file is broken.
    """
    memory = journals.Memory(folder)
    book = ledger.Ledger(memory.ledger)
    found = paths.Paths.within(folder)
    stages: list[StageStanding] = []
    before = 0
    for stage in paths.STAGES:
        files = _files(found, stage)
        entries = [entry for file in files for entry in memory.journal(file).entries.values()]
        done = _done(stage, files, entries)
        bad = tuple(entry for entry in entries if entry.reason)
        if done or bad or stages:
            left = max(0, before - done - len(bad)) if stages else 0
            partly = tuple(entry for entry in entries if entry.casualties)
            stages.append(StageStanding(stage, done, bad, partly, left, book.stages.get(stage, ledger.Spent())))
            before = done
    if not any(each.done or each.quarantined for each in stages):
        raise errors.GenerationError(
            f"{folder}: no stage has written here; it is the folder of `awm gen all --output_dir`"
        )
    return Standing(folder, tuple(stages), book.total)


def _files(found: paths.Paths, stage: paths.StageName) -> list[Path]:
    if stage == "bundle":
        return [found.bundles]
    if stage == "verifier":
        return [found.verifier.with_name(paths.verifier_file(mode)) for mode in ("code", "sql")]
    return [found.of(stage)]


def _done(stage: paths.StageName, files: list[Path], entries: list[journals.Entry]) -> int:
    if stage == "bundle":
        return sum(not entry.reason for entry in entries)
    counted = [row_files.RowFile(file, row_files.KINDS[paths.FILES[stage]]) for file in files]
    return max((len(each) for each in counted), default=0)
