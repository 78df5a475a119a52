"""`awm gen all --provider builtin` and `awm gen stats`: scenarios from blueprints, and what they are like."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from awm_fleet.cli import output
from awm_generator.awm_files import exporting
from awm_generator.builtin import checking, running, statistics
from awm_generator.builtin import errors as blueprint_errors
from awm_runtime import errors
from awm_runtime.bundle import model, reading

BUNDLES = "bundles"
"""The folder of the bundles in an output folder, beside the JSON Lines files."""

_DONE, _FAILED, _PARTLY = 0, 1, 3


def generate(
    output_dir: Path,
    *,
    target_count: int,
    seed: int,
    families: Collection[str] = (),
    blueprints: Sequence[Path] = (),
    workers: int | None = None,
    as_json: bool = False,
) -> int:
    """Makes `target_count` scenarios in `output_dir` and returns the exit code; what is there already is kept.

    Raises:
        BlueprintError: a blueprint is wrong.
        VarietyError: there are not so many different ones.
        OutputInUseError: another run writes into the folder.
    """
    orders = running.plan(running.blueprints(families, blueprints), target_count, seed)
    out = output_dir / BUNDLES
    with running.alone(output_dir):
        made = list(output.tracked(running.run(orders, out, workers=workers), len(orders), "Compiling"))
        paths = [each.path for each in made if each.path is not None]
        exporting.export((reading.read(path) for path in paths), output_dir)
    failed = [each for each in made if each.path is None]
    if as_json:
        output.document(_summary(made, output_dir))
    else:
        _say(made, out)
    for each in failed:
        output.complain(f"{each.name}: {each.reason}")
    return _DONE if not failed else _PARTLY if paths else _FAILED


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
    paths = sorted(path.parent for path in (*folder.glob("*/scenario.json"), *folder.glob("*/*/scenario.json")))
    if not paths:
        raise errors.BundleError(f"{folder}: no bundle here; a bundle is a folder with scenario.json in it")
    collected = list(output.tracked(_facts(paths), len(paths), "Reading"))
    document = statistics.document(collected)
    if as_json:
        output.document(document)
    else:
        _print(document)


def _facts(paths: Sequence[Path]) -> Iterator[statistics.Facts]:
    for path in paths:
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
