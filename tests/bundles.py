"""Small bundles for tests: a folder with a scenario in it, made from the text of its code and its SQL."""

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from awm_runtime.bundle import model, reading, writing
from awm_runtime.contract import verdicts
from awm_runtime.server import probe

CLOCK = datetime(2026, 1, 15, 9, tzinfo=UTC)
SCHEMA = "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT NOT NULL);\n"
SEED = "INSERT INTO items VALUES (1, 'first');\n"

SHOP = """
import os
from fastapi import FastAPI, HTTPException
from sqlalchemy import create_engine, text
from sqlalchemy.orm import sessionmaker

new_session = sessionmaker(bind=create_engine(os.environ["DATABASE_PATH"]))
app = FastAPI()


@app.get("/items", operation_id="list_items")
def list_items():
    return list(new_session().execute(text("SELECT name FROM items ORDER BY id")).scalars())


@app.put("/items", operation_id="rename_item")
def rename_item(name: str):
    session = new_session()
    session.execute(text("UPDATE items SET name = :name WHERE id = 1"), {"name": name})
    session.commit()
    return name


@app.post("/items", operation_id="add_item")
def add_item(name: str):
    session = new_session()
    session.execute(text("INSERT INTO items (name) VALUES (:name)"), {"name": name})
    session.commit()
    return name


@app.get("/broken", operation_id="break_down")
def break_down():
    raise RuntimeError("no")


@app.get("/refused", operation_id="be_refused")
def be_refused():
    raise HTTPException(409, "no")
"""
"""The code of a small scenario, on `SCHEMA`: a tool for each way that a call may go."""


def make(
    folder: Path,
    environment: str,
    *,
    schema: str = SCHEMA,
    seed: str = SEED,
    tasks: Iterable[model.Task] = (),
    verifiers: Mapping[tuple[str, verdicts.Mode], str] | None = None,
    tools: tuple[Mapping[str, Any], ...] | None = None,
    **scenario: Any,
) -> Path:
    """Writes a bundle to `folder` and returns it.

    Args:
        folder: Where to; its name is the scenario's.
        environment: The text of environment.py.
        schema: The text of schema.sql.
        seed: The text of seed.sql.
        tasks: Its tasks.
        verifiers: Sources by task id and mode.
        tools: Its tools.json; by default what the code serves.
        scenario: Other fields of scenario.json.
    """
    bundle = model.Bundle(
        root=folder,
        scenario=model.Scenario(
            name=folder.name,
            title=folder.name.title(),
            **{"clock": CLOCK, "provenance": model.Provenance(source="tests"), **scenario},
        ),
        tasks=tuple(tasks),
        schema_sql=schema,
        seed_sql=seed,
        environment=environment,
        spec={},
        tools=tools or (),
        verifiers=verifiers or {},
    )
    writing.write(bundle, folder)
    if tools is None:
        found = probe.probe(folder)
        assert found.ok, found.error
        writing.write(dataclasses.replace(reading.read(folder), tools=tuple(found.tools)), folder)
    return folder
