"""Writes a bundle to its folder, all of it or nothing."""

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

from awm_runtime import errors
from awm_runtime.bundle import digest, model


def write(bundle: model.Bundle, path: Path) -> model.Bundle:
    """Writes `bundle` as the folder `path`, in place of the bundle that is there, and returns it as written.

    The digest in `scenario.json` is set; the other derived fields are written as they are.

    Raises:
        BundleError: something that is not a bundle is at `path`, or the disk refuses it.
    """
    if path.exists() and not _replaceable(path):
        raise errors.BundleError(f"{path}: exists and is not a bundle; give another folder or remove it first")
    scenario = bundle.scenario.model_copy(update={"digest": digest.digest(bundle)})
    written = dataclasses.replace(bundle, root=path, scenario=scenario)
    try:
        _replace(path, _files(written))
    except OSError as exc:
        raise errors.BundleError(f"{path}: cannot be written: {exc.strerror}") from exc
    return written


def _replace(path: Path, files: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as scratch:
        fresh = Path(scratch, "fresh")
        for name, text in files.items():
            file = fresh / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text.encode())
        if path.exists():
            path.rename(Path(scratch, "old"))
        fresh.rename(path)


def _replaceable(path: Path) -> bool:
    return path.is_dir() and ((path / "scenario.json").exists() or not any(path.iterdir()))


def _files(bundle: model.Bundle) -> dict[str, str]:
    tasks = [task.model_dump(mode="json", exclude_none=True) for task in bundle.tasks]
    files = {
        "scenario.json": _pretty(bundle.scenario.model_dump(mode="json", exclude_none=True)),
        "tasks.jsonl": "".join(json.dumps(task, ensure_ascii=False) + "\n" for task in tasks),
        "schema.sql": bundle.schema_sql,
        "seed.sql": bundle.seed_sql,
        "environment.py": bundle.environment,
        "spec.json": _pretty(dict(bundle.spec)),
        "tools.json": _pretty(list(bundle.tools)),
        "report.json": _pretty(bundle.report.model_dump(mode="json")),
    }
    files |= {f"verifiers/{task}.{mode}.py": source for (task, mode), source in bundle.verifiers.items()}
    return files | {f"source/{name}": text for name, text in bundle.source.items()}


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
