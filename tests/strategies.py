"""Hypothesis strategies for the values that rooms hand to each other."""

from datetime import UTC, datetime
from pathlib import Path

from hypothesis import strategies as st

from awm_runtime.bundle import model

names = st.from_regex(r"[a-z0-9]+(_[a-z0-9]+){0,3}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
moments = st.datetimes(datetime(1980, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
json_objects = st.dictionaries(texts, json_values, max_size=3)

oracles = st.builds(
    model.Oracle,
    calls=st.lists(
        st.builds(model.OracleCall, tool=names, arguments=json_objects, save=st.none() | names), max_size=3
    ).map(tuple),
    answer=json_values,
)
tasks = st.lists(
    st.builds(
        model.Task,
        id=st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,8}", fullmatch=True),
        instruction=texts,
        split=st.sampled_from(["train", "test"]),
        difficulty=st.none() | texts,
        answer=st.none() | texts,
        oracle=st.none() | oracles,
    ),
    max_size=4,
    unique_by=lambda task: task.id.lower(),
).map(tuple)

_schemas = st.lists(
    st.sampled_from(
        [
            "CREATE TABLE pets (id INTEGER PRIMARY KEY, name TEXT);",
            "CREATE INDEX by_name ON pets (name);",
            "-- who owns them\nCREATE TABLE owners (id INTEGER PRIMARY KEY, note TEXT DEFAULT ';');",
            "CREATE VIEW named AS SELECT name FROM pets;",
            "CREATE TRIGGER tidy AFTER INSERT ON pets BEGIN DELETE FROM pets WHERE name = ''; SELECT 1; END;",
        ]
    ),
    unique=True,
    max_size=5,
)
_seeds = st.lists(
    st.sampled_from(
        [
            "INSERT INTO pets VALUES (1, 'Mi;lo');",
            "INSERT INTO owners (note) VALUES ('it''s\nhers');",
            "INSERT INTO pets (name) VALUES (datetime('now', '-3 days'));",
            "UPDATE pets SET name = 'Rex' WHERE id = 1;",
        ]
    ),
    max_size=5,
)
_sources = {
    "code": "def verify_task_completion(initial_db_path, final_db_path, final_answer=None):\n    return {}\n",
    "sql": "def verify_task(initial_db_path, final_db_path):\n    return {}\n",
}


@st.composite
def bundles(draw: st.DrawFn) -> model.Bundle:
    """Bundles whose databases need not build."""
    drawn_tasks = draw(tasks)
    keys = [(task.id, mode) for task in drawn_tasks for mode in _sources]
    chosen = draw(st.lists(st.sampled_from(keys), unique=True)) if keys else []
    name = draw(names)
    return model.Bundle(
        root=Path(name),
        scenario=model.Scenario(
            name=name,
            title=draw(texts),
            description=draw(texts),
            generation=draw(st.integers(1, 9)),
            clock=draw(moments),
            foreign_keys=draw(st.sampled_from(["on", "off"])),
            isolation=draw(st.sampled_from(["shared", "process"])),
            provenance=model.Provenance(source=draw(texts), license=draw(st.none() | texts)),
        ),
        tasks=drawn_tasks,
        schema_sql=draw(st.sampled_from(["\n", "", "\n\n"])).join(draw(_schemas)),
        seed_sql="\n".join(draw(_seeds)),
        environment=draw(texts),
        spec=draw(json_objects),
        tools=tuple({"name": tool, "inputSchema": draw(json_objects)} for tool in draw(st.lists(names, max_size=2))),
        verifiers={key: f"{_sources[key[1]]}# {draw(names)}\n" for key in chosen},
        report=model.Report(findings=(model.Finding(kind="note", stage="db", detail=draw(texts)),)),
        source={"gen_scenario.jsonl": draw(texts)},
    )
