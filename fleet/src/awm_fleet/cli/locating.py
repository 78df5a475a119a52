"""From what a person typed to a bundle's folder."""

import difflib
from collections.abc import Mapping
from pathlib import Path

import typer

from awm_fleet import examples
from awm_generator.awm_files import importing, rows
from awm_runtime import errors, names
from awm_runtime.bundle import model


def bundle_folder(name: str) -> Path:
    """The folder of a bundle, given as its path or as an example's name.

    Raises:
        BundleError: There is none; close names are offered.
    """
    path = Path(name)
    if (path / "scenario.json").exists():
        return path
    if path.name != name and path.exists():
        raise errors.BundleError(f"{path}: no bundle; a bundle is a folder with a scenario.json in it")
    known = examples.names()
    if names.normalise(name) in known:
        return examples.path(names.normalise(name))
    close = difflib.get_close_matches(names.normalise(name), known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else f"the examples are {', '.join(known)}"
    raise errors.BundleError(f"no bundle {name!r}: no folder with a scenario.json, and no example of that name; {hint}")


def bundles_in(folder: Path) -> list[Path]:
    """`folder` itself where it is a bundle, or the bundles right in it.

    Raises:
        BundleError: there is none.
    """
    if (folder / "scenario.json").exists():
        return [folder]
    found = sorted(path.parent for path in folder.glob("*/scenario.json")) if folder.is_dir() else []
    if not found:
        raise errors.BundleError(f"{folder}: no bundle here; a bundle is a folder with scenario.json in it")
    return found


def example_names(incomplete: str) -> list[str]:
    """The examples whose names begin so, for the shell's completion."""
    return [name for name in examples.names() if name.startswith(incomplete)]


def scenario_names(text: str | None, flag: str) -> list[str]:
    """The names in what a flag was given, with commas between them; none where it was not given, which means all.

    Raises:
        BadParameter: It was given, and names none.
    """
    chosen = [name.strip() for name in (text or "").split(",") if name.strip()]
    if text is not None and not chosen:
        raise typer.BadParameter(f"{flag} names no scenario; leave it out for all of them")
    return chosen


def awm_file(path: Path, flag: str) -> Path:
    """A file that a flag names.

    Raises:
        BundleError: There is no such file.
    """
    if not path.is_file():
        what = "a folder, not a file" if path.is_dir() else "no such file"
        raise errors.BundleError(f"{path}: {what}; name it with {flag}")
    return path


def awm_files_beside(envs: Path) -> dict[str, Path]:
    """Where AWM's own files are in the folder of a `gen_envs.jsonl`, by their names; some need not be there."""
    # Not an export's sidecar: it belongs to the schema and the samples there, and others may have been named.
    return {file: envs.parent / file for file in (*rows.KINDS, *rows.VERIFIERS) if file != rows.SIDECAR}


def short_name(folder: Path) -> str:
    """What to call a bundle on the command line: an example's name, or the folder."""
    return folder.name if folder.name in examples.names() and folder == examples.path(folder.name) else str(folder)


def imported(scenario: str, files: Mapping[str, Path], out: Path) -> model.Bundle:
    """Imports one scenario of some AWM files into a folder under `out`.

    Raises:
        BundleError: The scenario is missing, or a line of the files is broken.
        EnvironmentCodeError: Its code cannot be used.
    """
    [chosen] = importing.select(rows.join(files), [scenario])
    done = importing.import_one(chosen, out)
    if done.bundle is None:
        raise errors.EnvironmentCodeError(f"{done.name} cannot be served: {done.quarantined}", detail=done.detail)
    return done.bundle
