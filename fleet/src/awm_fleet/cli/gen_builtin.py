"""`awm gen ... --provider builtin` and `awm gen stats`: scenarios from blueprints, and what they are like."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from awm_fleet.cli import output
from awm_generator import errors as generator_errors
from awm_generator.awm_files import exporting, rows
from awm_generator.builtin import checking, running, staging, statistics
from awm_generator.builtin import errors as blueprint_errors
from awm_generator.stages import paths, pipeline
from awm_runtime import errors
from awm_runtime.bundle import model, reading

_DONE, _FAILED, _PARTLY = 0, 1, 3
_ROUNDS = 5
"""How often others are made in place of what could not be; a blueprint of which nothing can be made ends there."""


def generate(output_dir: Path, order: staging.Order, *, as_json: bool = False) -> int:
    """Makes the scenarios of an order in `output_dir` and returns the exit code; what is there already is kept.

    Raises:
        BlueprintError: a blueprint is wrong.
        VarietyError: there are not so many different ones.
        OutputInUseError: another run writes into the folder.
    """
    planned = order.planned()
    with running.alone(output_dir):
        made, order = _all_made(planned, order, output_dir)
        exporting.export((reading.read(path) for path in _paths(made)), output_dir)
        staging.remember(order, output_dir)
    return _told(made, output_dir, as_json=as_json, without=order.without)


def choose(written: Path, order: staging.Order, *, as_json: bool = False) -> int:
    """Chooses the scenarios of an order for a folder, writes the file of them, and returns the exit code.

    Raises:
        BlueprintError: a blueprint is wrong.
        VarietyError: there are not so many different ones.
        OutputInUseError: another run writes into the folder.
    """
    planned = order.planned()
    with running.alone(written.parent):
        made, order = _all_made(planned, order, written.parent)
        staging.write("scenario", _paths(made), written)
        staging.remember(order, written.parent)
    return _told(made, written.parent, as_json=as_json, written=written, without=order.without)


def stage(name: paths.StageName, files: paths.Paths, options: pipeline.Options, *, as_json: bool = False) -> int:
    """Writes the file of one stage for the scenarios in the files that it reads, and returns the exit code.

    Raises:
        BlueprintError: a blueprint is wrong.
        GenerationError: a file is missing, or not of the built-in generator; or it has nothing of what is asked for.
        OutputInUseError: another run writes into the folder.
    """
    if name == "oracle":
        raise generator_errors.GenerationError(
            f"the built-in generator has no stage of oracles: they are in {rows.SIDECAR}, beside the verifiers"
        )
    if name == "verifier" and options.mode != "code":
        raise generator_errors.GenerationError("the built-in generator writes verifiers in code mode: add --mode code")
    order = staging.recall(staging.source(name, files))
    written = files.of(name)
    planned = staging.chosen(name, files, order, staging.Choice(only=options.only, limit=options.limit))
    with running.alone(written.parent):
        made = _made(planned, written.parent)
        staging.write(name, _paths(made), written)
        staging.remember(order, written.parent)
    return _told(made, written.parent, as_json=as_json, written=written)


def _all_made(
    planned: Sequence[running.Order], order: staging.Order, folder: Path
) -> tuple[list[running.Made], staging.Order]:
    """What became of the orders, others in place of those that could not be made, and the order that names these."""
    made = _made(planned, folder)
    for _ in range(_ROUNDS):
        failed = [each for each in made if each.path is None and each.name not in order.without]
        if not failed:
            break
        for each in failed:
            output.warn(f"{each.name} could not be made, and another is made in its place: {each.reason}")
        order = order.model_copy(update={"without": (*order.without, *(each.name for each in failed))})
        made = _made(order.planned(), folder)
    return made, order


def _made(planned: Sequence[running.Order], folder: Path) -> list[running.Made]:
    return list(output.tracked(running.run(planned, folder / staging.BUNDLES), len(planned), "Compiling"))


def _paths(made: Sequence[running.Made]) -> list[Path]:
    return [each.path for each in made if each.path is not None]


def _told(
    made: Sequence[running.Made],
    folder: Path,
    *,
    as_json: bool,
    written: Path | None = None,
    without: Sequence[str] = (),
) -> int:
    """Says what became of the orders, and returns the exit code."""
    if as_json:
        files = {"written": str(written)} if written else {}
        output.document(_summary(made, folder) | {"replaced": _replaced(made, without)} | files)
    elif written:
        output.say(f"Wrote the rows of {len(_paths(made))} scenario(s) to {written}")
    else:
        _say(made, folder / staging.BUNDLES)
    failed = [each for each in made if each.path is None]
    for each in failed:
        output.complain(f"{each.name}: {each.reason}")
    return _DONE if not failed else _PARTLY if _paths(made) else _FAILED


def _replaced(made: Sequence[running.Made], without: Sequence[str]) -> list[str]:
    """The scenarios that others stand in for."""
    left = {each.name for each in made}
    return [name for name in without if name not in left]


def check(files: Sequence[Path]) -> int:
    """Says of each blueprint file whether it is sound, and returns the exit code."""
    failed = 0
    for file in files:
        try:
            blueprint = checking.check(file)
        except blueprint_errors.BlueprintError as exc:
            output.complain(str(exc))
            failed += 1
        else:
            output.say(f"{file}: ok, {len(blueprint.entities)} entities, up to {len(blueprint.attach)} modules")
    return _FAILED if failed else _DONE


def stats(folder: Path, *, as_json: bool = False) -> None:
    """Prints how large the bundles in a folder are, and how different from one another.

    Raises:
        BundleError: there is no bundle.
    """
    bundles = sorted(path.parent for path in (*folder.glob("*/scenario.json"), *folder.glob("*/*/scenario.json")))
    if not bundles:
        raise errors.BundleError(f"{folder}: no bundle here; a bundle is a folder with scenario.json in it")
    collected = list(output.tracked(_facts(bundles), len(bundles), "Reading"))
    document = statistics.document(collected)
    if as_json:
        output.document(document)
    else:
        _print(document)


def _facts(bundles: Sequence[Path]) -> Iterator[statistics.Facts]:
    for path in bundles:
        yield statistics.facts(reading.read(path))


def _summary(made: Sequence[running.Made], output_dir: Path) -> dict[str, Any]:
    return {
        "output_dir": str(output_dir),
        "made": sum(1 for each in made if each.path and each.compiles),
        "kept": sum(1 for each in made if each.path and not each.compiles),
        "failed": [{"name": each.name, "reason": each.reason} for each in made if each.path is None],
        "right_at_first_compile": sum(1 for each in made if each.compiles == 1),
        "scenarios": [each.name for each in made if each.path],
    }


def _say(made: Sequence[running.Made], out: Path) -> None:
    kept = sum(1 for each in made if each.path and not each.compiles)
    fresh = sum(1 for each in made if each.path) - kept
    first = sum(1 for each in made if each.compiles == 1)
    beside = f", beside {kept} that were there" if kept else ""
    output.say(f"Made {fresh} scenario(s) in {out}{beside}; {first} came out right at the first compile")
    counts = [each.counts for each in made if each.counts]
    if counts:
        output.table(
            "", ("mean of", "per scenario"), [(name, _mean(counts, name)) for name in model.Counts.model_fields]
        )


def _mean(counts: Sequence[model.Counts], name: str) -> str:
    return f"{sum(getattr(each, name) for each in counts) / len(counts):.1f}"


def _print(document: dict[str, Any]) -> None:
    rows = [
        (name.replace("_", " "), *(document[name][key] for key in ("mean", "least", "median", "most")))
        for name in ("tools", "tables", "rows", "tasks", "calls_per_oracle")
    ]
    output.table(f"{document['scenarios']} scenarios", ("per scenario", "mean", "least", "median", "most"), rows)
    output.table("", ("difficulty", "tasks"), list(document["difficulties"].items()))
    output.table("", ("category", "scenarios"), list(document["categories"].items()))
    output.table("", ("source", "scenarios"), list(document["sources"].items()))
    diversity = document["diversity"]
    output.table(
        "Diversity",
        ("overlap between pairs", "mean", "mean of closest", "highest"),
        [
            (name.replace("_", " "), *diversity[name].values())
            for name in ("tool_name_overlap", "schema_overlap")
        ],
    )  # fmt: skip
    output.table(
        "",
        ("the same twice", "how many"),
        [
            (name.replace("_", " "), diversity[name])
            for name in ("identical_code", "identical_tool_sets", "duplicate_tasks", "near_duplicate_tasks")
        ],
    )
