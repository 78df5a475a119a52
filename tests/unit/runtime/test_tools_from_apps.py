"""Tools made from real FastAPI apps: names, schemas, what is not served and why."""

from enum import Enum
from typing import Annotated, Any, Literal

import fastapi
import jsonschema
import pydantic
import pytest
from fastapi import Body, Cookie, Depends, File, Form, Header, Path, Query, UploadFile, WebSocket

from awm_runtime.server import schemas, tools


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Address(pydantic.BaseModel):
    street: str
    city: str = "Paris"


class Person(pydantic.BaseModel):
    """Someone."""

    name: str = pydantic.Field(min_length=1, description="Full name", examples=["Ada"])
    age: int | None = None
    home: Address
    colour: Colour = Colour.RED


class Node(pydantic.BaseModel):
    label: str
    children: list["Node"] = []


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]


Pet = Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]


def made(app: fastapi.FastAPI) -> tools.ToolSet:
    """The app's tools, every schema of which the reference validator accepts."""
    toolset = tools.from_app(app)
    for tool in toolset.tools.values():
        jsonschema.Draft202012Validator.check_schema(tool.input_schema)
        assert "#/components" not in str(tool.input_schema)
    return toolset


def kinds(toolset: tools.ToolSet) -> list[str]:
    return [finding.kind for finding in toolset.findings]


def test_path_query_header_cookie_and_body_become_one_flat_object() -> None:
    app = fastapi.FastAPI()

    @app.post("/shops/{shop_id}/people", operation_id="add_person")
    def add(
        person: Person,
        shop_id: int = Path(description="The shop"),
        notify: bool = Query(False, openapi_examples={"yes": {"value": True}}, deprecated=True),
        x_reason: str | None = Header(None),
        flavour: str = Cookie("plain"),
    ) -> None: ...

    schema = made(app).tools["add_person"].input_schema
    assert schema == {
        "type": "object",
        "properties": {
            "shop_id": {"type": "integer", "description": "The shop"},
            "notify": {"type": "boolean", "default": False, "deprecated": True, "examples": [True]},
            "x-reason": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "flavour": {"type": "string", "default": "plain"},
            "name": {"type": "string", "minLength": 1, "description": "Full name", "examples": ["Ada"]},
            "age": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "home": {
                "type": "object",
                "title": "Address",
                "properties": {
                    "street": {"type": "string", "title": "Street"},
                    "city": {"type": "string", "title": "City", "default": "Paris"},
                },
                "required": ["street"],
            },
            "colour": {"type": "string", "enum": ["red", "blue"], "default": "red"},
        },
        "additionalProperties": False,
        "required": ["shop_id", "name", "home"],
    }


def test_a_model_that_contains_itself_keeps_a_definition() -> None:
    app = fastapi.FastAPI()

    @app.post("/nodes", operation_id="add_node")
    def add(node: Node) -> None: ...

    tool = made(app).tools["add_node"]
    assert tool.input_schema["properties"]["children"]["items"] == {"$ref": "#/$defs/Node"}
    assert tool.problem_with({"label": "a", "children": [{"label": "b", "children": [{"label": "c"}]}]}) is None
    assert tool.problem_with({"label": "a", "children": [{"children": []}]}) == (
        'children[0]: "label" is a required property'
    )


@pytest.mark.parametrize("annotation", [list[int], str, dict[str, int], Cat | Dog, Pet, Address | None])
def test_a_body_that_is_no_plain_object_is_one_argument(annotation: Any) -> None:
    app = fastapi.FastAPI()

    @app.post("/things", operation_id="put_thing")
    def put(thing: Annotated[annotation, Body()]) -> None: ...

    schema = made(app).tools["put_thing"].input_schema
    assert list(schema["properties"]) == ["body"]
    assert "discriminator" not in schema["properties"]["body"]


def test_several_bodies_stand_side_by_side() -> None:
    app = fastapi.FastAPI()

    @app.put("/both", operation_id="put_both")
    def put(home: Address, count: int = Body(1)) -> None: ...

    schema = made(app).tools["put_both"].input_schema
    assert list(schema["properties"]) == ["home", "count"]
    assert schema["required"] == ["home"]


def test_an_argument_of_body_and_query_alike_is_told_apart() -> None:
    app = fastapi.FastAPI()

    @app.post("/people/{name}", operation_id="rename")
    def rename(person: Person, name: str) -> None: ...

    toolset = made(app)
    assert {"name", "body_name"} <= set(toolset.tools["rename"].input_schema["required"])
    assert [str(finding.detail) for finding in toolset.findings] == [
        "POST /people/{name}: the body has a 'name' too, served as argument 'body_name'"
    ]


def test_forms_are_served_and_uploads_are_not() -> None:
    app = fastapi.FastAPI()

    @app.post("/form", operation_id="send_form")
    def form(name: str = Form(), tags: Annotated[list[str] | None, Form()] = None) -> None: ...

    @app.post("/file", operation_id="send_file")
    def upload(document: UploadFile) -> None: ...

    @app.post("/files", operation_id="send_files")
    def uploads(documents: Annotated[list[UploadFile], File()]) -> None: ...

    @app.post("/xml", operation_id="send_xml")
    def xml(document: str = Body(media_type="application/xml")) -> None: ...

    toolset = made(app)
    assert list(toolset.tools) == ["send_form"]
    assert list(toolset.tools["send_form"].input_schema["properties"]) == ["name", "tags"]
    assert kinds(toolset) == ["file_upload", "file_upload", "unsupported_body"]


def test_names_are_allowed_unique_and_never_an_agents_own() -> None:
    app = fastapi.FastAPI()
    wished = ["list_tools", "get", "get", "get_2", "get things", "x" * 140]
    for number, name in enumerate(wished):
        app.get(f"/{number}", operation_id=name)(lambda: None)

    toolset = made(app)
    assert list(toolset.tools) == ["list_tools_operation", "get", "get_3", "get_2", "get_things", "x" * 128]
    assert kinds(toolset) == ["renamed_tool"] * 4
    assert toolset.findings[0].detail == "GET /0: 'list_tools' is reserved, served as 'list_tools_operation'"
    assert toolset.findings[1].detail == "GET /2: 'get' is taken, served as 'get_3'"


def test_tools_come_in_the_order_of_the_routes_through_routers() -> None:
    app = fastapi.FastAPI()
    inner = fastapi.APIRouter(prefix="/inner")
    inner.get("/z", operation_id="z")(lambda: None)
    app.get("/m", operation_id="m")(lambda: None)
    app.include_router(inner, prefix="/outer")
    app.get("/a", operation_id="a")(lambda: None)

    toolset = made(app)
    assert [(tool.name, tool.path) for tool in toolset.tools.values()] == [
        ("m", "/m"),
        ("z", "/outer/inner/z"),
        ("a", "/a"),
    ]
    assert [each["name"] for each in toolset.served] == ["m", "z", "a"]


def test_hidden_routes_and_documentation_are_no_tools() -> None:
    app = fastapi.FastAPI()
    app.get("/hidden", include_in_schema=False)(lambda: None)
    assert made(app) == tools.ToolSet({}, [], [])


@pytest.mark.parametrize(
    ("paths", "reached"),
    [
        (["/items/{id}", "/items/search"], ["/items/{id}"]),
        (["/items/search", "/items/{id}"], ["/items/search", "/items/{id}"]),
        (["/items/{id}", "/items/{name}"], ["/items/{id}"]),
        (["/items/{id:int}", "/items/search"], ["/items/{id:int}", "/items/search"]),
        (["/items/{id:int}", "/items/{name}"], ["/items/{id:int}", "/items/{name}"]),
        (["/files/{path:path}", "/files/a/b"], ["/files/{path:path}"]),
        (["/files/{name}", "/files/{path:path}"], ["/files/{name}", "/files/{path:path}"]),
        (["/a/{x}/c", "/a/b/{y}"], ["/a/{x}/c", "/a/b/{y}"]),
    ],
)
def test_a_route_that_an_earlier_one_hides_is_reported_and_not_served(paths: list[str], reached: list[str]) -> None:
    app = fastapi.FastAPI()
    for number, path in enumerate(paths):
        app.get(path, operation_id=f"tool_{number}")(lambda: None)

    toolset = made(app)
    expected = [f"tool_{number}" for number, path in enumerate(paths) if path in reached]
    assert list(toolset.tools) == expected
    assert kinds(toolset) == ["shadowed_route"] * (len(paths) - len(expected))


def test_another_method_is_not_hidden() -> None:
    app = fastapi.FastAPI()
    app.get("/items/{id}", operation_id="read")(lambda: None)
    app.delete("/items/{id}", operation_id="remove")(lambda: None)
    assert list(made(app).tools) == ["read", "remove"]


def test_of_two_equal_routes_the_first_is_described_as_it_is_the_one_that_answers() -> None:
    app = fastapi.FastAPI()

    @app.get("/items", operation_id="first")
    def first(a: int) -> None: ...

    @app.get("/items", operation_id="second")
    def second(b: int) -> None: ...

    toolset = made(app)
    assert list(toolset.tools["first"].input_schema["properties"]) == ["a"]
    assert toolset.findings == [
        tools.Finding(
            "shadowed_route",
            "GET /items is never reached: /items comes first and takes its requests; not served",
            served=False,
        )
    ]


def test_websockets_and_mounted_apps_are_reported() -> None:
    app = fastapi.FastAPI()

    @app.websocket("/live")
    async def live(socket: WebSocket) -> None: ...

    app.mount("/admin", fastapi.FastAPI())
    app.get("/admin/users", operation_id="users")(lambda: None)

    toolset = made(app)
    assert kinds(toolset) == ["websocket_route", "mounted_app", "shadowed_route"]
    assert toolset.tools == {}


@pytest.mark.parametrize(
    ("method", "hints"),
    [
        ("GET", {"readOnlyHint": True, "openWorldHint": False}),
        ("HEAD", {"readOnlyHint": True, "openWorldHint": False}),
        ("POST", {"readOnlyHint": False, "openWorldHint": False, "destructiveHint": False, "idempotentHint": False}),
        ("PATCH", {"readOnlyHint": False, "openWorldHint": False, "destructiveHint": False, "idempotentHint": False}),
        ("PUT", {"readOnlyHint": False, "openWorldHint": False, "destructiveHint": False, "idempotentHint": True}),
        ("DELETE", {"readOnlyHint": False, "openWorldHint": False, "destructiveHint": True, "idempotentHint": True}),
    ],
)
def test_annotations_follow_the_method(method: str, hints: dict[str, bool]) -> None:
    app = fastapi.FastAPI()
    app.api_route("/x", methods=[method], operation_id="x")(lambda: None)
    assert made(app).served[0]["annotations"] == hints


@pytest.mark.parametrize(
    ("summary", "description", "shown"),
    [
        ("List items", None, "List items"),
        ("List items", "Newest first.", "List items\n\nNewest first."),
        ("List items.", "List items, newest first.", "List items, newest first."),
        (None, "Newest first.", "Handler\n\nNewest first."),
    ],
)
def test_the_description_says_nothing_twice(summary: str | None, description: str | None, shown: str) -> None:
    app = fastapi.FastAPI()

    @app.get("/items", summary=summary, description=description, operation_id="x")
    def handler() -> None: ...

    assert made(app).served[0]["description"] == shown


def test_what_dependencies_ask_for_is_an_argument() -> None:
    app = fastapi.FastAPI()

    def page(limit: int = 10, offset: int = 0) -> None: ...

    @app.get("/items", operation_id="x")
    def handler(paging: None = Depends(page)) -> None: ...

    assert list(made(app).tools["x"].input_schema["properties"]) == ["limit", "offset"]


@pytest.mark.parametrize(
    ("extra", "left"),
    [
        ({"required": True}, {}),
        ({"minLength": "2"}, {}),
        ({"type": "text"}, {}),
        ({"pattern": "(unclosed"}, {}),
        ({"type": "string", "nullable": True}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ({"example": "a"}, {"examples": ["a"]}),
        ({"examples": {"first": {"value": "a"}}}, {"examples": ["a"]}),
        ({"xml": {"name": "a"}, "x-internal": 1}, {}),
        ({"$ref": "#/components/schemas/Nowhere"}, {}),
    ],
)
def test_what_is_no_json_schema_is_mended(extra: dict[str, Any], left: dict[str, Any]) -> None:
    schema = schemas.Resolver({}).resolve(extra)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema == left


def test_an_operation_that_has_no_schema_is_reported_and_the_others_are_served() -> None:
    app = fastapi.FastAPI()

    class Thing(pydantic.BaseModel):
        note: str = pydantic.Field(json_schema_extra={"required": True})

    @app.post("/things", operation_id="broken")
    def broken(thing: Thing) -> None: ...

    @app.post("/people", operation_id="whole")
    def whole(person: Person) -> None: ...

    toolset = made(app)
    assert list(toolset.tools) == ["whole"]
    assert [(finding.kind, finding.served) for finding in toolset.findings] == [("invalid_schema", False)]
    assert toolset.findings[0].detail.startswith("/things: not served")


@pytest.mark.parametrize(
    "extra",
    [
        {"requestBody": {"content": {"application/json": {"schema": 7}}}},
        {"requestBody": {"content": 7}},
        {"parameters": [{"name": "a", "in": "query", "schema": 7}]},
        {"parameters": [{}]},
        {"parameters": 7},
    ],
)
def test_an_operation_whose_own_words_are_no_openapi_is_the_only_one_lost(extra: dict[str, Any]) -> None:
    app = fastapi.FastAPI()
    app.post("/things", operation_id="broken", openapi_extra=extra)(lambda: None)
    app.post("/people", operation_id="whole")(lambda: None)

    toolset = made(app)
    assert list(toolset.tools) == ["whole"]
    [finding] = toolset.findings
    assert (finding.kind, finding.served) == ("invalid_schema", False)
    assert finding.detail.startswith("POST /things: not served, its part of the document is no OpenAPI: ")


def test_a_schema_that_lost_a_detail_is_served() -> None:
    app = fastapi.FastAPI()
    extra = {"parameters": [{"name": "a", "in": "query", "schema": {"pattern": "("}}]}
    app.get("/things", operation_id="things", openapi_extra=extra)(lambda: None)

    toolset = made(app)
    assert list(toolset.tools) == ["things"]
    assert [(finding.kind, finding.served) for finding in toolset.findings] == [("invalid_schema", True)]


def test_properties_named_like_keywords_are_kept() -> None:
    app = fastapi.FastAPI()

    class Thing(pydantic.BaseModel):
        example: str
        discriminator: str
        nullable: bool
        required: bool

    class Outer(pydantic.BaseModel):
        thing: Thing

    @app.post("/things", operation_id="x")
    def handler(outer: Outer) -> None: ...

    schema = made(app).tools["x"].input_schema["properties"]["thing"]
    assert list(schema["properties"]) == ["example", "discriminator", "nullable", "required"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"name": "Ada", "count": 1}, None),
        ({"name": "Ada", "count": "1"}, 'count: the value is not of type "integer", not of type "null"'),
        ({"name": 7}, 'name: the value is not of type "string"'),
        ({}, '"name" is a required property'),
        ({"name": "Ada", "colour": 1}, "Additional properties are not allowed ('colour' was unexpected)"),
        (
            {"name": ["x" * 10_000_000]},
            "Too large to explain in detail. These arguments do not fit their schema: 'name'",
        ),
    ],
)
def test_a_problem_names_the_argument_in_short(arguments: dict[str, Any], problem: str | None) -> None:
    app = fastapi.FastAPI()

    @app.post("/x", operation_id="x")
    def handler(name: str, count: int | None = None) -> None: ...

    assert made(app).tools["x"].problem_with(arguments) == problem


def test_at_most_three_problems_are_told() -> None:
    app = fastapi.FastAPI()

    @app.post("/x", operation_id="x")
    def handler(a: int, b: int, c: int, d: int) -> None: ...

    problem = made(app).tools["x"].problem_with(dict.fromkeys("abcd", "no"))
    assert problem is not None
    assert problem.count("is not of type") == 3


def test_a_closed_body_that_names_its_dialect_is_served_word_for_word() -> None:
    stated = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "$defs": {"colour": {"enum": ["red", "blue"]}},
        "properties": {"colour": {"$ref": "#/$defs/colour"}, "shade": {"type": "string"}},
        "required": ["colour"],
    }
    app = fastapi.FastAPI()

    @app.post("/paint", openapi_extra={"requestBody": {"content": {"application/json": {"schema": stated}}}})
    async def paint(request: fastapi.Request) -> Any:
        return await request.json()

    [tool] = tools.from_app(app).tools.values()

    assert tool.input_schema == stated
    assert tool.problem_with({"colour": "red"}) is None
    assert tool.problem_with({"colour": "green"}) is not None
    assert tools.request_for(tool, {"colour": "red", "shade": "dark"}).body == b'{"colour":"red","shade":"dark"}'


def test_a_large_argument_that_does_not_fit_is_named_without_explaining_each_of_its_items() -> None:
    app = fastapi.FastAPI()

    @app.post("/sum", operation_id="add")
    async def add(numbers: Annotated[list[int] | None, Body()], label: Annotated[str, Body()]) -> int:
        return sum(numbers or [])

    tool = tools.from_app(app).tools["add"]
    problem = tool.problem_with({"numbers": ["a"] * 500_000, "label": "x", "other": 1})

    assert problem is not None
    assert problem.endswith("do not fit their schema: 'numbers', 'other'")
