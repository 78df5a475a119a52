"""One stage at a time: the same rows as a whole run writes, each file by its own command."""

import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import pydantic

from awm_generator import errors as generator_errors
from awm_generator.awm_files import exporting, rows
from awm_generator.builtin import running
from awm_generator.stages import paths
from awm_runtime.bundle import reading

ORDER_FILE = ".builtin.json"
BUNDLES = "bundles"
"""The folder of the bundles in an output folder, beside the JSON Lines files."""

_READ: dict[paths.StageName, tuple[paths.StageName, ...]] = {
    "scenario": (),
    "task": ("scenario",),
    "db": ("task",),
    "sample": ("task", "db"),
    "spec": ("task", "db"),
    "env": ("spec", "db"),
    "verifier": ("task",),
}
"""What each stage reads: from the first of them it takes which scenarios there are."""


class Order(pydantic.BaseModel):
    """What was ordered when a folder's scenarios were chosen, from which every later stage makes them again.

    Attributes:
        families: The shipped blueprints; none for all.
        blueprints: Files of the user's own.
        without: The scenarios that could not be made, in whose places others are.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    count: int
    seed: int
    families: tuple[str, ...] = ()
    blueprints: tuple[Path, ...] = ()
    without: tuple[str, ...] = ()

    def planned(self) -> tuple[running.Order, ...]:
        """An order for each scenario.

        Raises:
            BlueprintError: a blueprint is wrong.
            VarietyError: there are not so many different ones.
        """
        chosen = running.blueprints(self.families, self.blueprints)
        return running.plan(chosen, self.count, self.seed, self.without)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which of a file's scenarios a stage takes.

    Attributes:
        only: Their normalised names; none for all.
        limit: Only the first so many.
    """

    only: Collection[str] = ()
    limit: int | None = None


def remember(order: Order, folder: Path) -> None:
    """Notes in a folder what its scenarios were made from."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ORDER_FILE).write_text(order.model_dump_json(indent=1) + "\n", "utf-8")


def recall(folder: Path) -> Order:
    """What the scenarios of a folder were made from.

    Raises:
        GenerationError: nothing of the kind is noted there.
    """
    try:
        return Order.model_validate_json((folder / ORDER_FILE).read_text("utf-8"))
    except (OSError, pydantic.ValidationError) as exc:
        raise generator_errors.GenerationError(
            f"{folder}: its scenarios are not of the built-in generator; begin with awm gen scenario --provider "
            f"builtin --output_path {folder / 'gen_scenario.jsonl'}"
        ) from exc


def source(stage: paths.StageName, files: paths.Paths) -> Path:
    """The folder in which it is noted what the scenarios of a stage are made from."""
    return files.of(_READ[stage][0] if _READ[stage] else stage).parent


def chosen(stage: paths.StageName, files: paths.Paths, order: Order, choice: Choice) -> tuple[running.Order, ...]:
    """The orders of the scenarios that the files which a stage reads have, in their order.

    Raises:
        BlueprintError: a blueprint is wrong.
        GenerationError: a file is missing, or has a scenario that was not ordered.
    """
    planned = {each.name: each for each in order.planned()}
    read = _READ[stage]
    found = paths.Shelf(files, read).names() if read else list(planned)
    unknown = [name for name in found if name not in planned]
    if unknown:
        raise generator_errors.GenerationError(
            f"{files.of(read[0])}: {unknown[0]} is none of the {order.count} scenarios that were made with seed "
            f"{order.seed} for this folder"
        )
    wanted = [name for name in found if not choice.only or name in choice.only]
    return tuple(planned[name] for name in wanted[: choice.limit])


def write(stage: paths.StageName, bundles: Sequence[Path], written: Path) -> None:
    """Writes the file of a stage; with the verifiers, what a folder needs beside them to be imported.

    Raises:
        BundleError: the disk refuses it.
    """
    with tempfile.TemporaryDirectory(prefix=".stage-", dir=written.parent) as scratch:
        names = _files(stage)
        exporting.export((reading.read(path) for path in bundles), Path(scratch), names)
        for name in names[1:]:
            (Path(scratch) / name).replace(written.parent / name)
        (Path(scratch) / names[0]).replace(written)


def _files(stage: paths.StageName) -> tuple[str, ...]:
    """What a stage writes: its own file, and after it others."""
    return (paths.FILES[stage], rows.VERIFIERS[0], rows.SIDECAR) if stage == "verifier" else (paths.FILES[stage],)
