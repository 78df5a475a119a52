"""What scenario apps are built of: every feature of FastAPI that generated code uses works inside a call."""

from collections.abc import Iterator
from typing import Any

import bundles
import instances
import pytest

FEATURES = """
import asyncio
import os
from contextlib import asynccontextmanager
from datetime import date
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import (
    FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, StreamingResponse
)
from pydantic import BaseModel, Field
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session, sessionmaker
from starlette.concurrency import run_in_threadpool
from starlette.middleware.base import BaseHTTPMiddleware

engine = create_engine(os.environ["DATABASE_PATH"])
new_session = sessionmaker(bind=engine)


@asynccontextmanager
async def lifespan(app):
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS items (id INTEGER PRIMARY KEY, name TEXT NOT NULL)"))
        connection.execute(text("INSERT INTO items (name) VALUES ('of the start-up')"))
    app.state.greeting = "hello"
    yield {"farewell": "goodbye"}


app = FastAPI(lifespan=lifespan)


class Marking(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        request.state.marks = ["middleware"]
        response = await call_next(request)
        response.headers["X-Marked"] = "yes"
        return response


class Missing(Exception):
    pass


@app.exception_handler(Missing)
def tell_missing(request, exc):
    return JSONResponse({"error": f"no {exc}"}, status_code=404)


app.add_middleware(CORSMiddleware, allow_origins=["*"])
app.add_middleware(GZipMiddleware, minimum_size=10)
app.add_middleware(Marking)


def database():
    session = new_session()
    try:
        yield session
        session.commit()
    finally:
        session.close()


Database = Annotated[Session, Depends(database)]


def insert(session, name):
    session.execute(text("INSERT INTO items (name) VALUES (:name)"), {"name": name})


@app.get("/items", operation_id="list_items")
def list_items(session: Database):
    return list(session.execute(text("SELECT name FROM items ORDER BY id")).scalars())


@app.post("/dependency", operation_id="add_in_dependency")
def add_in_dependency(name: str, session: Database):
    insert(session, name)
    return name


@app.post("/async", operation_id="add_async", status_code=201)
async def add_async(name: str, session: Database):
    await asyncio.sleep(0)
    insert(session, name)
    return {"name": name}


@app.post("/background", operation_id="add_in_background")
def add_in_background(name: str, tasks: BackgroundTasks):
    def later():
        with new_session() as session:
            insert(session, name)
            session.commit()

    tasks.add_task(later)
    return "scheduled"


@app.post("/pool", operation_id="add_in_pool")
async def add_in_pool(name: str):
    def work():
        with new_session() as session:
            insert(session, name)
            session.commit()

    await run_in_threadpool(work)
    return name


@app.get("/state", operation_id="read_state")
def read_state(request: Request):
    return [request.app.state.greeting, request.state.farewell, request.state.marks]


@app.get("/missing", operation_id="look_for_missing")
def look_for_missing(name: str):
    raise Missing(name)


@app.get("/stream", operation_id="stream_lines")
def stream_lines(count: int):
    def lines():
        for number in range(count):
            yield f"line {number}\\n"

    return StreamingResponse(lines(), media_type="text/plain")


@app.get("/stream/async", operation_id="stream_rows")
async def stream_rows():
    async def rows():
        with new_session() as session:
            for name in session.execute(text("SELECT name FROM items")).scalars():
                yield name + "\\n"
                await asyncio.sleep(0)

    return StreamingResponse(rows(), media_type="text/plain")


@app.get("/file", operation_id="send_file")
def send_file():
    return FileResponse("/etc/hostname")


@app.get("/redirect", operation_id="go_elsewhere")
def go_elsewhere():
    return RedirectResponse("/items")


@app.delete("/items/{id}", operation_id="remove_item", status_code=204)
def remove_item(id: int, session: Database):
    session.execute(text("DELETE FROM items WHERE id = :id"), {"id": id})


@app.get("/text", operation_id="say_text", response_class=PlainTextResponse)
def say_text():
    return "schöne Grüße"


@app.get("/page", operation_id="say_page", response_class=HTMLResponse)
def say_page():
    return "<p>hello</p>"


@app.get("/bytes", operation_id="say_bytes")
def say_bytes():
    return Response(b"\\xff\\x00\\xfe", media_type="application/octet-stream")


@app.get("/nothing", operation_id="say_nothing")
def say_nothing():
    return None


class Address(BaseModel):
    city: str
    since: date | None = None


class Person(BaseModel):
    name: str = Field(min_length=2)
    addresses: list[Address] = []


@app.put("/people/{id}", operation_id="put_person")
def put_person(id: int, person: Person, tags: Annotated[list[str], Query()] = [], team: Annotated[str, Header()] = ""):
    return {"id": id, "person": person, "tags": tags, "team": team}


router = APIRouter(prefix="/nested", dependencies=[Depends(database)])


@router.get("/{path:path}", operation_id="take_path")
def take_path(path: str):
    return path


app.include_router(router)
"""


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Iterator[instances.Running]:
    folder = tmp_path_factory.mktemp("features")
    bundle = bundles.make(folder / "features", FEATURES)
    with instances.running(bundle, folder / "state") as instance:
        yield instance


@pytest.mark.parametrize(
    ("tool", "arguments", "answer"),
    [
        ("list_items", {}, ["first"]),
        ("read_state", {}, ["hello", "goodbye", ["middleware"]]),
        ("stream_lines", {"count": 3}, "line 0\nline 1\nline 2\n"),
        ("stream_lines", {"count": 0}, "Done (no content)."),
        ("stream_rows", {}, "first\n"),
        ("remove_item", {"id": 1}, "Done (no content)."),
        ("say_text", {}, "schöne Grüße"),
        ("say_page", {}, "<p>hello</p>"),
        ("say_bytes", {}, "�\x00�"),
        ("say_nothing", {}, None),
        ("take_path", {"path": "a/b c/ü?&#"}, "a/b c/ü?&#"),
        (
            "put_person",
            {"id": 3, "name": "Ada", "addresses": [{"city": "Ulm", "since": "2020-02-29"}], "tags": ["a", "b & c"]},
            {
                "id": 3,
                "person": {"name": "Ada", "addresses": [{"city": "Ulm", "since": "2020-02-29"}]},
                "tags": ["a", "b & c"],
                "team": "",
            },
        ),
    ],
)
def test_an_answer_of_any_kind_reaches_the_agent(
    features: instances.Running, tool: str, arguments: dict[str, Any], answer: object
) -> None:
    reply = features.call(features.open(), tool, **arguments)
    assert (reply.data(), reply.is_error) == (answer, False)


@pytest.mark.parametrize("tool", ["add_in_dependency", "add_async", "add_in_background", "add_in_pool"])
def test_what_a_handler_writes_is_there_when_its_call_is_answered(features: instances.Running, tool: str) -> None:
    episode = features.open()
    assert not features.call(episode, tool, name="added").is_error
    assert features.control.diff(episode.id)["items"]["added"] == [{"id": 2, "name": "added"}]


def test_a_handler_of_the_scenarios_own_exceptions_refuses(features: instances.Running) -> None:
    reply = features.call(features.open(), "look_for_missing", name="thing")
    assert (reply.text, reply.is_error) == ("Refused (404): no thing", True)


def test_a_redirect_is_an_answer_without_content(features: instances.Running) -> None:
    reply = features.call(features.open(), "go_elsewhere")
    assert not reply.is_error


def test_a_file_outside_the_scenario_is_not_sent(features: instances.Running) -> None:
    episode = features.open()
    assert features.call(episode, "send_file").is_error
    assert features.control.get(episode.id).errors.environment == 1


def test_a_body_that_does_not_fit_its_model_is_the_agents_fault(features: instances.Running) -> None:
    episode = features.open()
    for arguments in ({"id": 3, "name": "A"}, {"id": 3, "name": "Ada", "addresses": [{"city": 1}]}):
        assert features.call(episode, "put_person", **arguments).is_error
    assert features.control.get(episode.id).errors.malformed == 2


def test_rows_of_the_start_up_are_in_no_episode(features: instances.Running) -> None:
    assert features.call(features.open(), "list_items").data() == ["first"]


@pytest.mark.parametrize(
    "text", ["\x00", "a\r\nX-Injected: 1", "☃ ü", "\u2028", "..", "../..", "%2F%00", "\ufffe", "\U0001f600" * 50]
)
@pytest.mark.parametrize(
    ("tool", "name"), [("take_path", "path"), ("put_person", "team"), ("look_for_missing", "name")]
)
def test_no_text_of_an_argument_is_too_strange(features: instances.Running, tool: str, name: str, text: str) -> None:
    episode = features.open()
    person = {"id": 3, "name": "Ada"} if tool == "put_person" else {}
    reply = features.call(episode, tool, **{**person, name: text})
    counted = features.control.get(episode.id)
    assert (counted.calls, counted.errors.environment, counted.errors.infrastructure) == (1, 0, 0)
    if not reply.is_error:
        assert features.control.trace(episode.id)[0]["arguments"][name] == text


@pytest.mark.parametrize("number", [-1, 0, 2**63, -(2**63), 2**70, 1e300, 1.5, True, None, "7", [7], {"a": 7}])
def test_no_number_of_an_argument_is_too_strange(features: instances.Running, number: Any) -> None:
    episode = features.open()
    features.call(episode, "put_person", id=number, name="Ada")
    counted = features.control.get(episode.id)
    assert (counted.calls, counted.errors.environment, counted.errors.infrastructure) == (1, 0, 0)
