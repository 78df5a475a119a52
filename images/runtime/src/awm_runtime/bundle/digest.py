"""A bundle's identity.

SHA-256 over the sorted (path, SHA-256) of the text files. JSON files count by their canonical form, so that
formatting one anew changes nothing, and `scenario.json` without its derived fields, so that gating or counting does
not either. `report.json` and `source/` are no part of it.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from awm_runtime.bundle import model, reading


def digest(bundle: model.Bundle | Path) -> str:
    """The identity of a bundle, or of the one in a folder, as `sha256:...`.

    Raises:
        BundleError: there is no readable bundle in the folder.
    """
    if isinstance(bundle, Path):
        bundle = reading.read(bundle)
    return of(files(bundle))


def of(contents: Mapping[str, bytes]) -> str:
    """The identity of the bundle with these `files`."""
    lines = sorted(f"{path}\0{hashlib.sha256(content).hexdigest()}\n" for path, content in contents.items())
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def tools_hash(tools: Iterable[Mapping[str, Any]]) -> str:
    """The hash of a tool list as served, as `sha256:...`."""
    return f"sha256:{hashlib.sha256(canonical(list(tools))).hexdigest()}"


def canonical(value: object) -> bytes:
    """`value` as JSON that is the same on every machine: sorted keys, no spaces, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode(errors="surrogatepass")  # JSON may name half of a surrogate pair


def files(bundle: model.Bundle) -> dict[str, bytes]:
    """What the identity is made of, by path: written to a folder it is a bundle with the same digest."""
    scenario = bundle.scenario.model_dump(mode="json", exclude=set(model.DERIVED), exclude_none=True)
    tasks = [canonical(task.model_dump(mode="json", exclude_none=True)) for task in bundle.tasks]
    verifiers = {f"verifiers/{task}.{mode}.py": source.encode() for (task, mode), source in bundle.verifiers.items()}
    return {
        "scenario.json": canonical(scenario),
        "tasks.jsonl": b"\n".join(tasks),
        "schema.sql": bundle.schema_sql.encode(),
        "seed.sql": bundle.seed_sql.encode(),
        "environment.py": bundle.environment.encode(),
        "spec.json": canonical(dict(bundle.spec)),
        "tools.json": canonical(list(bundle.tools)),
        **verifiers,
    }
