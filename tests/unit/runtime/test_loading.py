"""Scenario code runs as a module of its own, on a scratch copy, and its app answers calls of any episode."""

import asyncio
import contextlib
import json
import sqlite3
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest

from awm_runtime import errors
from awm_runtime.determinism import context
from awm_runtime.server import asgi, engines, loading, storage, tools

pytestmark = pytest.mark.usefixtures("as_an_instance")

CLOCK = datetime(2026, 1, 15, 9, tzinfo=UTC)

Load = Callable[[str], loading.LoadedScenario]

SHOP = """
from __future__ import annotations

import os
import pickle
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy import Column, DateTime, Integer, String, create_engine
from sqlalchemy.orm import declarative_base, sessionmaker

engine = create_engine(os.environ["DATABASE_PATH"], connect_args={"check_same_thread": False})
SessionLocal = sessionmaker(bind=engine)
Base = declarative_base()


class Item(Base):
    __tablename__ = "items"
    id = Column(Integer, primary_key=True)
    name = Column(String, nullable=False)
    added_at = Column(DateTime, default=datetime.utcnow)


class ItemIn(BaseModel):
    name: str
    parts: list[ItemIn] = []


@dataclass
class Point:
    x: int


class Missing(Exception):
    pass


loaded_at = datetime.utcnow()
unpickled = pickle.loads(pickle.dumps(Point(3)))


@asynccontextmanager
async def lifespan(app):
    Base.metadata.create_all(engine)
    session = SessionLocal()
    session.add(Item(name="from start-up"))
    session.commit()
    yield {"greeting": "hello"}
    app.state.ended = True


app = FastAPI(lifespan=lifespan, debug=True)
app.add_middleware(CORSMiddleware, allow_origins=["*"])
router = APIRouter(prefix="/items")


@app.middleware("http")
async def mark(request: Request, call_next):
    response = await call_next(request)
    response.headers["x-marked"] = "yes"
    return response


@app.exception_handler(Missing)
def missing(request: Request, exc: Missing):
    return JSONResponse({"detail": "no such item"}, status_code=404)


def session():
    opened = SessionLocal()
    try:
        yield opened
    finally:
        opened.close()


@router.get("", operation_id="list_items")
def list_items(db=Depends(session)):
    return [item.name for item in db.query(Item).order_by(Item.id)]


@router.post("", operation_id="add_item")
async def add_item(item: ItemIn):
    db = SessionLocal()
    added = Item(name=item.name)
    db.add(added)
    db.commit()
    return {"id": added.id, "added_at": added.added_at}


@router.get("/{item_id}", operation_id="get_item")
def get_item(item_id: int):
    raise Missing()


@app.get("/greeting", operation_id="greet")
def greet(request: Request):
    return request.state.greeting


app.include_router(router)

if __name__ == "__main__":
    raise SystemExit("not when it is loaded")
"""


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Loads code on an empty scratch database, and shuts down what was loaded; the process is left as it was."""
    for name in ("DATABASE_PATH", "HOST", "PORT"):
        monkeypatch.setenv(name, "before")
    monkeypatch.setitem(sys.modules, loading.MODULE_NAME, sys)
    loaded: list[loading.LoadedScenario] = []

    def run(source: str) -> loading.LoadedScenario:
        scratch = tmp_path / "scratch.db"
        sqlite3.connect(scratch).close()
        loaded.append(loading.load(source, scratch_database=scratch, clock=CLOCK))
        return loaded[-1]

    yield run
    for scenario in loaded:
        with contextlib.suppress(errors.EnvironmentCodeError):
            scenario.shutdown()


@pytest.fixture
def episode(tmp_path: Path) -> Iterator[storage.EpisodeConnections]:
    path = tmp_path / "episode.db"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT NOT NULL, added_at DATETIME)")
        connection.execute("INSERT INTO items (name) VALUES ('seeded')")
    source = storage.EpisodeConnections(path, foreign_keys=False, max_bytes=1 << 24)
    yield source
    source.close()


def call(
    scenario: loading.LoadedScenario, episode: storage.EpisodeConnections, tool: str, arguments: dict[str, Any]
) -> tuple[int, Any]:
    request = tools.request_for(scenario.toolset.tools[tool], arguments)
    with context.entered(context.CallContext(CLOCK, seed=0, number=1, connections=episode)):
        try:
            reply = asyncio.run(asgi.request(asgi.StartedApp(scenario.app, scenario.state), request))
        finally:
            engines.release_leaks()
    return reply.status, orjson.loads(reply.body)


def test_a_whole_app_loads_and_answers_for_an_episode(load: Load, episode: storage.EpisodeConnections) -> None:
    scenario = load(SHOP)
    assert list(scenario.toolset.tools) == ["greet", "list_items", "add_item", "get_item"]
    assert call(scenario, episode, "list_items", {}) == (200, ["seeded"])
    assert call(scenario, episode, "add_item", {"name": "new"}) == (200, {"id": 2, "added_at": "2026-01-15T09:00:01"})
    assert call(scenario, episode, "list_items", {}) == (200, ["seeded", "new"])
    assert call(scenario, episode, "get_item", {"item_id": 7}) == (404, {"detail": "no such item"})
    assert call(scenario, episode, "greet", {}) == (200, "hello")


def test_start_up_writes_to_the_scratch_copy_only(load: Load, tmp_path: Path) -> None:
    load(SHOP)
    with contextlib.closing(sqlite3.connect(tmp_path / "scratch.db")) as connection:
        assert connection.execute("SELECT name FROM items").fetchall() == [("from start-up",)]


def test_code_is_a_module_that_others_can_look_up_under_the_frozen_clock(load: Load) -> None:
    load(SHOP)
    module = sys.modules["environment"]
    assert module.loaded_at.replace(microsecond=0) == CLOCK.replace(tzinfo=None)
    assert module.unpickled == module.Point(3)


def test_error_pages_show_no_code(load: Load) -> None:
    assert load(SHOP).app.debug is False


def test_shutdown_runs_the_end_of_the_lifespan(load: Load) -> None:
    scenario = load(SHOP)
    scenario.shutdown()
    assert scenario.app.state.ended is True


def test_on_event_start_up_and_a_task_group_in_the_lifespan_work(load: Load) -> None:
    source = """
import contextlib, anyio, fastapi
started = []
@contextlib.asynccontextmanager
async def lifespan(app):
    async with anyio.create_task_group():
        started.append("lifespan")
        yield
    started.append("ended")
app = fastapi.FastAPI(lifespan=lifespan)
"""
    load(source).shutdown()
    assert sys.modules["environment"].started == ["lifespan", "ended"]
    load(
        "import fastapi\nstarted = []\napp = fastapi.FastAPI()\n@app.on_event('startup')\ndef f(): started.append(1)\n"
    )
    assert sys.modules["environment"].started == [1]


def test_an_app_of_another_name_is_found(load: Load) -> None:
    assert load("from fastapi import FastAPI\nservice = FastAPI(title='Found')").app.title == "Found"


def test_the_sqlite_module_opens_the_episode(load: Load, episode: storage.EpisodeConnections) -> None:
    source = """
import sqlite3
from fastapi import FastAPI
app = FastAPI()
@app.get("/names", operation_id="names")
def names():
    connection = sqlite3.connect("/some/where/else.db")
    return [name for (name,) in connection.execute("SELECT name FROM items")]
"""
    assert call(load(source), episode, "names", {}) == (200, ["seeded"])


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def f(:", "its code is not Python: invalid syntax (line 1)"),
        ("\n\nraise ValueError('bad\\nluck')", "its code raised ValueError: bad luck (line 3)"),
        ("raise BaseException", "its code raised BaseException (line 1)"),
        ("import sys; sys.exit()", "its code exits the process"),
        ("def f(): f()\nf()", "its code raised RecursionError: maximum recursion depth exceeded (line 1)"),
        ("x = 1", "it defines no FastAPI app"),
        ("from fastapi import FastAPI\na = FastAPI()\nb = FastAPI()", "it defines 2 FastAPI apps, none named 'app'"),
        (
            "from sqlalchemy import create_engine\ncreate_engine('postgresql://localhost/x')",
            "create_engine: only SQLite is served, not 'postgresql'",
        ),
        (
            "from sqlalchemy.ext.asyncio import create_async_engine",
            "its code uses SQLAlchemy's async engines: only create_engine is served",
        ),
        (
            "from fastapi import FastAPI\napp = FastAPI()\n@app.on_event('startup')\ndef f(): raise OSError('no')",
            "its start-up raised OSError: no (line 4)",
        ),
        (
            "import sys\nfrom fastapi import FastAPI\napp = FastAPI()\n@app.on_event('startup')\ndef f(): sys.exit(1)",
            "its start-up exits the process",
        ),
    ],
)
def test_code_that_cannot_be_used_says_why(load: Load, source: str, reason: str) -> None:
    with pytest.raises(errors.EnvironmentCodeError) as caught:
        load(source)
    assert str(caught.value) == reason


def test_the_detail_shows_the_scenarios_frames_only(load: Load) -> None:
    with pytest.raises(errors.EnvironmentCodeError) as caught:
        load("import json\n\ndef read():\n    return json.loads('{')\n\nread()\n")
    assert caught.value.detail.count("File ") == 2
    assert 'File "environment.py", line 4, in read' in caught.value.detail
    assert "json.loads('{')" in caught.value.detail
    assert "site-packages" not in caught.value.detail


def test_what_code_raised_is_described_with_its_line() -> None:
    try:
        exec(compile("\n\nint('x')", loading.FILE_NAME, "exec"), {})
    except ValueError as exc:
        described = loading.described(exc)
    assert described == "the code raised ValueError: invalid literal for int() with base 10: 'x' (line 3)"


def test_deprecated_ways_of_code_do_not_fail_it(load: Load) -> None:
    load("import warnings\nfrom fastapi import FastAPI\nwarnings.warn('old', DeprecationWarning)\napp = FastAPI()")


@pytest.mark.parametrize(
    ("scenario", "count"),
    [
        ("SurveyMonkey Apply", 26),
        ("Etsy Digital Downloads", 18),
        ("Rover", 17),
        ("Samsara (Fleet & Asset Maintenance Management)", 23),
    ],
)
def test_every_tool_of_the_sample_is_listed_with_a_valid_schema(
    load: Load, sample: Path, scenario: str, count: int
) -> None:
    rows = [json.loads(line) for line in (sample / "gen_envs.jsonl").read_text().splitlines()]
    source = next(row["full_code"] for row in rows if row["scenario"] == scenario)
    toolset = load(source).toolset
    assert len(toolset.served) == count == source.count("operation_id=")
    assert toolset.findings == []
    for tool in toolset.served:
        jsonschema.Draft202012Validator.check_schema(tool["inputSchema"])
        assert tool["description"]


@pytest.mark.parametrize("values", [["a", "b"], ["b", "a"]])
@pytest.mark.parametrize("others", [["a", "b"], ["b", "a"]])
def test_values_stand_in_the_order_of_the_code_whatever_was_loaded_before(
    load: Load, values: list[str], others: list[str]
) -> None:
    enums = []
    for order in (others, values):
        literal = f"Literal[{order[0]!r}, {order[1]!r}]"
        scenario = load(f"""
from typing import Literal, Optional
from fastapi import FastAPI

app = FastAPI()


@app.get("/things", operation_id="list_things")
def list_things(one: {literal} | None = None, other: Optional[{literal}] = None):
    return []
""")
        properties = scenario.toolset.tools["list_things"].input_schema["properties"]
        enums.append([properties[name]["anyOf"][0]["enum"] for name in ("one", "other")])
    assert enums == [[others, others], [values, values]]
