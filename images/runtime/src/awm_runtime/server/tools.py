"""The tools of a scenario, made from its OpenAPI document, and the requests that calling them means."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import fastapi
import jsonschema_rs
import orjson

from awm_runtime.server import requests, routes, schemas
from awm_runtime.server.requests import AppRequest as AppRequest
from awm_runtime.server.requests import Placement, Plan

RESERVED_NAMES = frozenset({"list_tools", "call_tool"})
"""What an agent's own meta tools are called."""

FindingKind = Literal[
    "shadowed_route",
    "renamed_tool",
    "renamed_argument",
    "file_upload",
    "unsupported_body",
    "websocket_route",
    "mounted_app",
    "invalid_schema",
]

_NAME_LENGTH = 128
_PROBLEMS_SHOWN = 3
_EXPLAINED_BYTES = 16 * 1024
_PROBLEM_LENGTH = 200
_COMPLAINT_LENGTH = 500
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


# What comes of an operation whose own words in the document, as `openapi_extra` has them, are of any type at all.
_UNFIT = (ValueError, TypeError, LookupError, AttributeError)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about the app that its author should know; the detail names the route.

    Attributes:
        served: Whether what it is about can be reached through a tool nevertheless.
    """

    kind: FindingKind
    detail: str
    served: bool = True


@dataclass(frozen=True, slots=True)
class Tool:
    """One operation of the app as an MCP tool.

    Attributes:
        name: Unique, as MCP allows it.
        description: The operation's summary and description.
        input_schema: One flat object of all the arguments, JSON Schema 2020-12.
        annotations: MCP's hints, from the method.
        plan: How arguments become a request.
        validator: The compiled input schema.
    """

    name: str
    description: str
    input_schema: dict[str, Any]
    annotations: dict[str, bool]
    plan: Plan
    validator: jsonschema_rs.Draft202012Validator = field(repr=False, compare=False)

    @property
    def method(self) -> str:
        """The HTTP method, upper case."""
        return self.plan.method

    @property
    def path(self) -> str:
        """The path with its parameters in braces."""
        return self.plan.path_format

    def problem_with(self, arguments: Mapping[str, Any]) -> str | None:
        """What is wrong with the arguments by the input schema, in a sentence that names them; None if nothing is."""
        if self.validator.is_valid(arguments):
            return None
        if len(orjson.dumps(arguments)) > _EXPLAINED_BYTES:
            return f"Too large to explain in detail. These arguments do not fit their schema: {self._unfit(arguments)}"
        problems = []
        for error in self.validator.iter_errors(arguments):
            problems.append(_problem(error))
            if len(problems) == _PROBLEMS_SHOWN:
                break
        return "; ".join(problems)

    def _unfit(self, arguments: Mapping[str, Any]) -> str:
        """The names of the arguments that do not fit; the validator explains every item of a list, for minutes."""
        shared = {key: value for key, value in self.input_schema.items() if key in ("$defs", "$schema")}
        known = self.input_schema.get("properties", {})
        unfit = [
            name
            for name, value in arguments.items()
            if name not in known or not jsonschema_rs.Draft202012Validator({**shared, **known[name]}).is_valid(value)
        ]
        missing = [name for name in self.input_schema.get("required", []) if name not in arguments]
        return ", ".join(repr(name[:_NAME_LENGTH]) for name in (unfit + missing)[:_PROBLEMS_SHOWN]) or "all together"


@dataclass(frozen=True, slots=True)
class ToolSet:
    """All tools of an app.

    Attributes:
        tools: By name, in the order of the routes.
        served: The tools as `tools/list` shows them and tools.json holds them.
        findings: What could not be served as it stands.
    """

    tools: dict[str, Tool]
    served: list[dict[str, Any]]
    findings: list[Finding]


def from_app(app: fastapi.FastAPI) -> ToolSet:
    """The tools of a loaded app."""
    document, broken = routes.document(app)
    toolset = from_openapi(document, routes.of(app))
    unfit = [
        Finding(
            "invalid_schema",
            f"{path}: not served, FastAPI has no schema for it: {complaint}"[:_COMPLAINT_LENGTH],
            served=False,
        )
        for path, complaint in sorted(broken.items())
    ]
    return ToolSet(toolset.tools, toolset.served, toolset.findings + unfit)


def from_openapi(document: Mapping[str, Any], table: Sequence[routes.Route]) -> ToolSet:
    """One tool per operation that a request can reach.

    Args:
        document: An OpenAPI 3.1 document.
        table: The app's routes, in the order in which they are tried.
    """
    operations, findings = _reachable(document, table)
    names = _names(operations, findings)
    components = document.get("components", {}).get("schemas", {})
    tools = {}
    for name, operation in zip(names, operations, strict=True):
        try:
            tool = _tool(name, operation, components, findings)
        except _UNFIT as exc:
            detail = f"{operation}: not served, its part of the document is no OpenAPI: {type(exc).__name__}: {exc}"
            findings.append(Finding("invalid_schema", detail[:_COMPLAINT_LENGTH], served=False))
            continue
        if tool is not None:
            tools[name] = tool
    return ToolSet(tools, [_served(tool) for tool in tools.values()], findings)


def request_for(tool: Tool, arguments: Mapping[str, Any]) -> AppRequest:
    """The request that calls the tool. The arguments must satisfy its input schema."""
    return tool.plan.request(arguments)


@dataclass(frozen=True, slots=True)
class _Operation:
    """An operation that can be reached, before it is a tool."""

    route: routes.Route
    method: str
    content: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.method} {self.route.path_format}"


@dataclass(slots=True)
class _Arguments:
    """The arguments of a tool while they are collected."""

    properties: dict[str, Any] = field(default_factory=dict)
    required: list[str] = field(default_factory=list)
    placements: list[Placement] = field(default_factory=list)

    def add(self, name: str, location: requests.Location, schema: Any, *, required: bool) -> str:
        """Adds one, under a name that is still free, and says which."""
        argument = name
        while argument in self.properties:
            argument = f"{location}_{argument}"
        self.properties[argument] = schemas.without_default_title(name, schema)
        self.placements.append(Placement(argument, location, name))
        if required:
            self.required.append(argument)
        return argument


def _reachable(document: Mapping[str, Any], table: Sequence[routes.Route]) -> tuple[list[_Operation], list[Finding]]:
    operations: list[_Operation] = []
    findings: list[Finding] = []
    for position, route in enumerate(table):
        if route.kind == "websocket":
            findings.append(
                Finding("websocket_route", f"WebSocket {route.path}: not served, tools are requests", served=False)
            )
        elif route.kind == "mount":
            findings.append(Finding("mounted_app", f"{route.path}: an app mounted there is not served", served=False))
        if route.kind != "operation":
            continue
        for method in route.methods:
            content = document.get("paths", {}).get(route.path_format, {}).get(method.lower())
            if content is None:
                continue
            operation = _Operation(route, method, content)
            hiding = routes.hides(table[:position], route, method)
            if hiding is None:
                operations.append(operation)
                continue
            detail = (
                f"{operation} is never reached: {hiding.path or '/'} comes first and takes its requests; not served"
            )
            findings.append(Finding("shadowed_route", detail, served=False))
    return operations, findings


def _names(operations: Sequence[_Operation], findings: list[Finding]) -> list[str]:
    """A unique name for each; a suffix never takes a name that another operation has by itself."""
    wished = [
        str(each.content.get("operationId") or f"{each.method.lower()}{each.route.path_format}") for each in operations
    ]
    allowed = [_allowed(wish) for wish in wished]
    names: list[str] = []
    for operation, wish, name in zip(operations, wished, allowed, strict=True):
        free = _free(name, taken=names, natural=allowed)
        if free != wish:
            reason = "is reserved" if name in RESERVED_NAMES else "is taken" if name in names else "is not a tool name"
            findings.append(Finding("renamed_tool", f"{operation}: {wish!r} {reason}, served as {free!r}"))
        names.append(free)
    return names


def _allowed(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:_NAME_LENGTH]


def _free(name: str, *, taken: Sequence[str], natural: Sequence[str]) -> str:
    if name in RESERVED_NAMES:
        name = f"{name}_operation"
        if name not in natural and name not in taken:
            return name
    elif name not in taken:
        return name
    number = 2
    while True:
        suffix = f"_{number}"
        candidate = name[: _NAME_LENGTH - len(suffix)] + suffix
        if candidate not in taken and candidate not in natural:
            return candidate
        number += 1


def _tool(name: str, operation: _Operation, components: dict[str, Any], findings: list[Finding]) -> Tool | None:
    resolver = schemas.Resolver(components)
    arguments = _Arguments()
    own_schema = _own_schema(operation.content)
    _add_parameters(arguments, operation, resolver, findings)
    if own_schema is None:
        body = _add_body(arguments, operation, resolver, findings)
    else:
        arguments.placements += [Placement(name, "body", name) for name in own_schema.get("properties", {})]
        body = requests.Body("object", "application/json", required=True)
    if body is None:
        return None
    if resolver.repairs:
        left_out = ", ".join(sorted(set(resolver.repairs)))
        findings.append(
            Finding("invalid_schema", f"{operation}: left out of the schema, as not valid there: {left_out}")
        )
    input_schema = own_schema or _input_schema(arguments, resolver.definitions)
    try:
        validator = jsonschema_rs.Draft202012Validator(input_schema, mask="the value")
    except ValueError as exc:
        findings.append(
            Finding(
                "invalid_schema", f"{operation}: its arguments have no valid schema, not served: {exc}", served=False
            )
        )
        return None
    plan = requests.plan(
        operation.method, operation.route.path_format, arguments.placements, body=body, slashed=operation.route.slashed
    )
    return Tool(name, _description(operation.content), input_schema, _annotations(operation.method), plan, validator)


def _add_parameters(
    arguments: _Arguments, operation: _Operation, resolver: schemas.Resolver, findings: list[Finding]
) -> None:
    for parameter in operation.content.get("parameters", []):
        schema = resolver.resolve(_parameter_schema(parameter))
        if parameter["in"] == "path" and parameter["name"] not in operation.route.slashed:
            schema = _not_empty(schema)
        used = arguments.add(parameter["name"], parameter["in"], schema, required=parameter.get("required", False))
        _note_renaming(operation, parameter["in"], parameter["name"], used, findings)


def _parameter_schema(parameter: Mapping[str, Any]) -> dict[str, Any]:
    extra = {key: parameter[key] for key in ("description", "example", "examples", "deprecated") if key in parameter}
    return {**parameter.get("schema", {}), **extra}


def _not_empty(schema: Any) -> Any:
    """An empty path parameter would be another path, so another route."""
    if not isinstance(schema, dict) or schema.get("type") in ("integer", "number", "boolean"):
        return schema
    return {**schema, "minLength": max(1, schema.get("minLength", 1))}


def _add_body(
    arguments: _Arguments, operation: _Operation, resolver: schemas.Resolver, findings: list[Finding]
) -> requests.Body | None:
    """Adds the body's properties, or the body as one argument; None where it is of a kind that no tool can send."""
    declared = operation.content.get("requestBody")
    if not declared:
        return requests.Body("none")
    media_type, content = next(iter(dict(declared.get("content") or {"": {}}).items()))
    form = media_type in _FORMS
    if not form and media_type != "application/json" and not media_type.endswith("+json"):
        findings.append(
            Finding("unsupported_body", f"{operation}: not served, its body is {media_type or 'unknown'}", served=False)
        )
        return None
    schema = content.get("schema", {})
    flat = resolver.component(schema)
    if form and _has_file(flat, resolver):
        findings.append(Finding("file_upload", f"{operation}: not served, tools cannot upload files", served=False))
        return None
    required = declared.get("required", False)
    if not form and not _is_plain_object(flat):
        used = arguments.add("body", "body", resolver.resolve(schema), required=required)
        _note_renaming(operation, "body", "body", used, findings)
        return requests.Body("whole", media_type, required=required)
    for name, value in flat.get("properties", {}).items():
        needed = required and name in flat.get("required", [])
        used = arguments.add(name, "body", resolver.resolve(value), required=needed)
        _note_renaming(operation, "body", name, used, findings)
    return requests.Body("form" if form else "object", _FORMS[0] if form else media_type, required=required)


def _own_schema(operation: Mapping[str, Any]) -> dict[str, Any] | None:
    """The schema that an operation states for all of its arguments: a closed JSON body that names its dialect.

    It is served word for word: taken apart, its references and its conditions across properties would lead nowhere.
    """
    content = (operation.get("requestBody") or {}).get("content") or {}
    schema = content.get("application/json", {}).get("schema", {})
    stands_alone = (
        "$schema" in schema and schema.get("type") == "object" and schema.get("additionalProperties") is False
    )
    return schema if stands_alone and not operation.get("parameters") else None


def _note_renaming(operation: _Operation, location: str, name: str, used: str, findings: list[Finding]) -> None:
    if used != name:
        detail = f"{operation}: the {location} has a {name!r} too, served as argument {used!r}"
        findings.append(Finding("renamed_argument", detail))


def _is_plain_object(schema: Mapping[str, Any]) -> bool:
    """Whether an object's properties are all there is to say about it, so that they can stand among the arguments."""
    known = {"type", "properties", "required", "title", "description", "additionalProperties", "example", "examples"}
    return schema.get("type") == "object" and (
        schema.get("additionalProperties", False) is False and schema.keys() <= known
    )


def _has_file(schema: Mapping[str, Any], resolver: schemas.Resolver) -> bool:
    return any(_is_file(resolver.component(each)) for each in schema.get("properties", {}).values())


def _is_file(schema: Mapping[str, Any]) -> bool:
    if schema.get("format") == "binary" or schema.get("contentMediaType") == "application/octet-stream":
        return True
    inner: Iterable[Any] = [schema.get("items"), *schema.get("anyOf", []), *schema.get("oneOf", [])]
    return any(isinstance(each, dict) and _is_file(each) for each in inner)


def _input_schema(arguments: _Arguments, definitions: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": arguments.properties, "additionalProperties": False}
    if arguments.required:
        schema["required"] = arguments.required
    if definitions:
        schema["$defs"] = definitions
    return schema


def _description(operation: Mapping[str, Any]) -> str:
    summary = str(operation.get("summary", "")).strip()
    text = str(operation.get("description", "")).strip()
    if text.lower().startswith(summary.rstrip(".").lower()):
        return text or summary
    return f"{summary}\n\n{text}" if text else summary


def _annotations(method: str) -> dict[str, bool]:
    reads = method in ("GET", "HEAD", "OPTIONS")
    hints = {"readOnlyHint": reads, "openWorldHint": False}
    if not reads:
        hints["destructiveHint"] = method == "DELETE"
        hints["idempotentHint"] = method in ("PUT", "DELETE")
    return hints


def _served(tool: Tool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "inputSchema": tool.input_schema,
        "annotations": tool.annotations,
    }


def _problem(error: jsonschema_rs.ValidationError) -> str:
    where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.instance_path)
    message = _message(error)
    text = f"{where.removeprefix('.')}: {message}" if where else message
    return text if len(text) <= _PROBLEM_LENGTH else text[: _PROBLEM_LENGTH - 1] + "…"


def _message(error: jsonschema_rs.ValidationError) -> str:
    """The validator's words; where none of several schemas fits, what each of them wants (most are "or null")."""
    if not isinstance(error.kind, jsonschema_rs.ValidationErrorKind.AnyOf):
        return error.message
    wants = dict.fromkeys(
        inner.message.removeprefix("the value is ") for branch in error.kind.context for inner in branch
    )
    return f"the value is {', '.join(wants)}"
