"""From what a person typed to a bundle's folder."""

import difflib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from awm_fleet import examples
from awm_generator.awm_files import importing, rows
from awm_runtime import errors, names


def bundle_folder(name: str) -> Path:
    """The folder of a bundle, given as its path or as an example's name.

    Raises:
        BundleError: There is none; close names are offered.
    """
    path = Path(name)
    if (path / "scenario.json").exists():
        return path
    known = examples.names()
    if names.normalise(name) in known:
        return examples.path(names.normalise(name))
    close = difflib.get_close_matches(names.normalise(name), known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else f"the examples are {', '.join(known)}"
    raise errors.BundleError(f"no bundle {name!r}: no folder with a scenario.json, and no example of that name; {hint}")


@contextmanager
def gathered(files: Mapping[str, Path]) -> Iterator[Path]:
    """AWM files from anywhere, as one folder under the names that they are known by.

    Raises:
        BundleError: One of them is missing.
    """
    for path in files.values():
        if not path.exists():
            raise errors.BundleError(f"{path}: no such file")
    with tempfile.TemporaryDirectory(prefix="awm-files-") as folder:
        for name, path in files.items():
            Path(folder, name).symlink_to(path.resolve())
        yield Path(folder)


def imported(scenario: str, files: Mapping[str, Path], out: Path) -> importing.Imported:
    """Imports one scenario of some AWM files into a folder under `out`.

    Raises:
        BundleError: A file or the scenario is missing, or its code cannot be used.
    """
    with gathered(files) as folder:
        [chosen] = importing.select(rows.load(folder), [scenario])
        done = importing.import_one(chosen, out)
    if done.quarantined:
        raise errors.EnvironmentCodeError(f"{done.name} cannot be served: {done.quarantined}", detail=done.detail)
    return done
