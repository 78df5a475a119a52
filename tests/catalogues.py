"""Catalogues for tests, made from small bundles that are never run."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import bundles

from awm_fleet import shelves
from awm_registry.catalogue import snapshots
from awm_runtime.bundle import model

TOOLS = ({"name": "list_items", "description": "Lists them.", "inputSchema": {"type": "object"}},)
ORACLE = model.Oracle(calls=(model.OracleCall(tool="list_items"),), answer="only the oracle knows")
SECRET_WORDS = ("only the oracle knows", "only the answer knows", "only the verifier knows", "oracle", "answer")


def task(id: str, **fields: Any) -> model.Task:
    """A task with everything that must stay hidden."""
    wanted = {"instruction": f"Do {id}.", "answer": "only the answer knows", "oracle": ORACLE, **fields}
    return model.Task(id=id, **wanted)


def bundle(folder: Path, *, tasks: Iterable[model.Task] = (), **scenario: Any) -> Path:
    """Writes a bundle whose code is never run."""
    tasks = tuple(tasks)
    verifiers: dict[Any, str] = {(each.id, "code"): "# only the verifier knows\n" for each in tasks}
    return bundles.make(folder, "app = None\n", tasks=tasks, tools=TOOLS, verifiers=verifiers, **scenario)


def catalogue(folder: Path, scenarios: Mapping[str, Mapping[str, Any]]) -> snapshots.Snapshot:
    """Builds the catalogue of `folder`/catalogue: fields of scenario.json and tasks by name."""
    made = [bundle(folder / "bundles" / name, **fields) for name, fields in scenarios.items()]
    out = folder / "catalogue"
    out.mkdir(parents=True, exist_ok=True)
    assert shelves.stock(made, out).faults == ()
    return snapshots.load(out)
