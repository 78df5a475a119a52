"""The next generation of one scenario, from the rows that are stored: only the later stages run."""

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from awm_generator import errors
from awm_generator.awm_files import drafts
from awm_generator.stages import appending, journals, paths, pipeline, publishing, row_files

_PLAN = "plan.json"


@dataclass(frozen=True)
class Wish:
    """What is to be made anew.

    Attributes:
        name: The scenario, normalised.
        first: The first stage that runs again.
        feedback: What its author wants to be different.
    """

    name: str
    first: paths.StageName
    feedback: str = ""


async def run(bench: pipeline.Bench, wish: Wish) -> int:
    """Makes the next generation of a scenario and puts it in the place of the old one; returns its number.

    All is made in a folder of its own first, so that the rows and the bundle that are there stay until it is done. A
    run that was stopped goes on when it is asked for the same again.

    Raises:
        GenerationError: a stage has no row of it to work from, or what was made does not hold; the old one stays.
        AwmError: what stops the whole run.
    """
    scratch = bench.memory.root / "next" / wish.name
    generation = _planned(bench, wish, scratch)
    files = paths.Paths.within(scratch, bench.options.mode)
    hint = pipeline.Hint(wish.feedback, generation)
    options = dataclasses.replace(bench.options, hints={wish.name: hint}, only=frozenset({wish.name}), limit=None)
    memory = journals.Memory(scratch)
    apart = dataclasses.replace(bench, files=files, options=options, memory=memory)
    for stage in _later(wish.first, bench):
        summary = await pipeline.run(apart, stage)
        if summary.left_out:
            reason = memory.journal(files.of(stage)).entries[wish.name].reason
            shutil.rmtree(scratch)
            raise errors.GenerationError(
                f"{wish.name}: the {stage} stage made nothing that holds: {reason}; the old generation stays"
            )
    await bench.ran.beside(lambda: _publish(bench, apart, wish, generation))
    _take_over(bench, apart, wish)
    shutil.rmtree(scratch)
    return generation


def _later(first: paths.StageName, bench: pipeline.Bench) -> list[paths.StageName]:
    """The stages from `first` on, without the bundle, which is written into its own place."""
    later = paths.STAGES[paths.STAGES.index(first) : -1]
    return [stage for stage in later if stage != "oracle" or bench.options.mode == "code"]


def _planned(bench: pipeline.Bench, wish: Wish, scratch: Path) -> int:
    """Prepares the folder, unless an earlier run has; returns the generation that is to be made."""
    plan = {"first": wish.first, "feedback": wish.feedback}
    noted = _noted(scratch)
    if noted is not None and {**noted, **plan} == noted:
        return int(noted["generation"])
    if scratch.exists():
        shutil.rmtree(scratch)
    earlier = paths.STAGES[: paths.STAGES.index(wish.first)]
    files = paths.Paths.within(scratch, bench.options.mode)
    for stage in earlier:
        row_file = row_files.RowFile(bench.files.of(stage), row_files.KINDS[paths.FILES[stage]])
        found = row_file.of(wish.name)
        if found:
            row_files.opened(files.of(stage), paths.FILES[stage]).append(found)
        elif stage != "scenario":
            raise errors.GenerationError(
                f"{bench.files.of(stage)}: no row of {wish.name}, from which the {wish.first} stage works"
            )
    if bench.files.database(wish.name).exists():
        files.databases.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bench.files.database(wish.name), files.database(wish.name))
    generation = publishing.generation(bench.files.bundles / wish.name) + 1
    appending.replace(scratch / _PLAN, json.dumps({**plan, "generation": generation}).encode())
    return generation


def _noted(scratch: Path) -> dict[str, Any] | None:
    try:
        noted: dict[str, Any] = json.loads((scratch / _PLAN).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return noted


def _publish(bench: pipeline.Bench, apart: pipeline.Bench, wish: Wish, generation: int) -> None:
    shelf = paths.Shelf(apart.files, ("env", "db", "task"), ("scenario", "sample", "spec", "verifier", "oracle"))
    originals = shelf.originals(wish.name)
    maker = publishing.Maker(model=bench.model.name)
    root = bench.files.bundles / wish.name
    try:
        publishing.publish(originals, root, maker, generation=generation)
    except drafts.Quarantined as exc:
        raise errors.GenerationError(f"{wish.name}: {exc}; the old generation stays") from exc


def _take_over(bench: pipeline.Bench, apart: pipeline.Bench, wish: Wish) -> None:
    """Puts the new rows into the files, and what is remembered of them into the journals."""
    for stage in _later(wish.first, bench):
        kind = row_files.KINDS[paths.FILES[stage]]
        made = row_files.RowFile(apart.files.of(stage), kind).of(wish.name)
        row_files.opened(bench.files.of(stage), paths.FILES[stage]).replace(wish.name, made)
        entry = apart.memory.journal(apart.files.of(stage)).entries.get(wish.name)
        if entry is not None:
            bench.memory.journal(bench.files.of(stage)).add(entry)
    database = apart.files.database(wish.name)
    if database.exists():
        bench.files.databases.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(database, bench.files.database(wish.name))
    pipeline.note_bundle(bench, wish.name)
