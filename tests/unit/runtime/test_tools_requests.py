"""Calling a tool sends exactly what FastAPI expects: each request is answered by a real app, which echoes it."""

import asyncio
from typing import Annotated, Any

import fastapi
import orjson
import pydantic
import pytest
from fastapi import Body, Cookie, Form, Header

from awm_runtime.server import asgi, tools

pytestmark = pytest.mark.usefixtures("as_an_instance")


class Address(pydantic.BaseModel):
    street: str
    city: str = "Paris"


app = fastapi.FastAPI()


@app.get("/items/{name}", operation_id="item")
def item(name: str) -> Any:
    return {"name": name}


@app.get("/items/{name}/parts/{part}", operation_id="part")
def part(name: str, part: int) -> Any:
    return {"name": name, "part": part}


@app.get("/files/{path:path}", operation_id="file")
def file(path: str) -> Any:
    return {"path": path}


@app.get("/search", operation_id="search")
def search(
    text: str = "",
    limit: int = 10,
    exact: bool = False,
    tag: Annotated[list[str] | None, fastapi.Query()] = None,
    ratio: float = 1.0,
) -> Any:
    return {"text": text, "limit": limit, "exact": exact, "tag": tag, "ratio": ratio}


@app.get("/headers", operation_id="headers")
def headers(x_reason: str = Header("none"), flavour: str = Cookie("plain")) -> Any:
    return {"x-reason": x_reason, "flavour": flavour}


@app.post("/addresses", operation_id="add_address")
def add_address(address: Address) -> Any:
    return address


@app.post("/people/{name}", operation_id="add_person")
def add_person(name: str, home: Address, note: Annotated[str | None, Body()] = None) -> Any:
    return {"name": name, "home": home, "note": note}


@app.put("/numbers", operation_id="put_numbers")
def put_numbers(numbers: list[int]) -> Any:
    return {"body": numbers}


@app.put("/perhaps", operation_id="put_perhaps")
def put_perhaps(address: Address | None = None) -> Any:
    return {"body": address}


@app.post("/named/{street}", operation_id="add_named")
def add_named(street: str, address: Address) -> Any:
    return {"street": street, "body_street": address.street}


@app.post("/form", operation_id="form")
def form(name: str = Form(), tags: Annotated[list[str] | None, Form()] = None) -> Any:
    return {"name": name, "tags": tags}


TOOLS = tools.from_app(app).tools


def answer(tool: str, arguments: dict[str, Any]) -> Any:
    assert TOOLS[tool].problem_with(arguments) is None
    reply = asyncio.run(asgi.request(asgi.StartedApp(app, {}), tools.request_for(TOOLS[tool], arguments)))
    assert reply.status == 200, reply.body
    return orjson.loads(reply.body)


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("item", {"name": "plain"}),
        ("item", {"name": "é %20 ?#&+ ü"}),
        ("item", {"name": ".."}),
        ("part", {"name": "a", "part": -3}),
        ("file", {"path": "a/b c/d"}),
        ("search", {"text": "a&b=c d+é", "limit": 3, "exact": True, "tag": ["x", "y/z"], "ratio": 0.25}),
        ("headers", {"x-reason": "why not", "flavour": "mint; dark"}),
        ("add_address", {"street": 'a "quoted" é', "city": "Rome"}),
        ("add_person", {"name": "Ada", "home": {"street": "s", "city": "c"}, "note": None}),
        ("put_numbers", {"body": [1, 2, 3]}),
        ("put_perhaps", {"body": {"street": "s", "city": "c"}}),
        ("put_perhaps", {"body": None}),
        ("add_named", {"street": "in the path", "body_street": "in the body"}),
        ("form", {"name": "a=b&c", "tags": ["1", "2"]}),
    ],
)
def test_arguments_arrive_as_they_were_given(tool: str, arguments: dict[str, Any]) -> None:
    assert answer(tool, arguments) == arguments


@pytest.mark.parametrize(
    ("tool", "arguments", "arrived"),
    [
        ("search", {}, {"text": "", "limit": 10, "exact": False, "tag": None, "ratio": 1.0}),
        ("headers", {}, {"x-reason": "none", "flavour": "plain"}),
        ("put_perhaps", {}, {"body": None}),
        ("add_address", {"street": "s"}, {"street": "s", "city": "Paris"}),
        ("form", {"name": "a"}, {"name": "a", "tags": None}),
    ],
)
def test_what_is_not_given_takes_the_default(tool: str, arguments: dict[str, Any], arrived: dict[str, Any]) -> None:
    assert answer(tool, arguments) == arrived


@pytest.mark.parametrize("name", ["a/parts/1", "/", "a/../b", "a/"])
def test_a_slash_in_a_path_parameter_never_leads_to_another_route(name: str) -> None:
    assert answer("item", {"name": name}) == {"name": name.replace("/", "%2F")}


def test_an_empty_path_parameter_is_a_problem() -> None:
    problem = TOOLS["item"].problem_with({"name": ""})
    assert problem is not None
    assert problem.startswith("name: ")


def test_nulls_are_left_out_of_the_query() -> None:
    placement = tools.from_app(_nullable_app()).tools["x"]
    assert tools.request_for(placement, {"text": None, "tags": ["a", None]}).query_string == b"tags=a"


def _nullable_app() -> fastapi.FastAPI:
    made = fastapi.FastAPI()

    @made.get("/x", operation_id="x")
    def handler(text: str | None = None, tags: Annotated[list[str | None] | None, fastapi.Query()] = None) -> None: ...

    return made


def test_a_request_is_ready_for_asgi() -> None:
    request = tools.request_for(TOOLS["add_person"], {"name": "a/b é", "home": {"street": "s"}})
    assert request == tools.AppRequest(
        method="POST",
        path="/people/a%2Fb é",
        raw_path=b"/people/a%2Fb%20%C3%A9",
        query_string=b"",
        headers=[(b"content-type", b"application/json"), (b"content-length", b"23")],
        body=b'{"home":{"street":"s"}}',
    )
