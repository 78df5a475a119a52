"""The spec stage: the endpoints that the tasks, and a whole service, need."""

import re
from collections.abc import Iterator
from typing import Any, Literal

import pydantic

from awm_generator import prompts
from awm_generator.awm_files import databases, rows
from awm_generator.stages import asking, row_files, tasks
from awm_runtime.server import tools

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_PLACE = re.compile(r"\{(\w+)\}")


class _Parameter(pydantic.BaseModel):
    type: str
    param_type: Literal["path", "query", "body"]
    required: bool
    description: str
    example: Any = None


class _Field(pydantic.BaseModel):
    type: str
    description: str = ""
    example: Any = None


class Endpoint(pydantic.BaseModel):
    """One endpoint of a specification."""

    path: str = pydantic.Field(pattern="^/")
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    summary: str
    description: str
    operation_id: str
    tags: tuple[str, ...] = ()
    request_params: dict[str, _Parameter] = {}
    response: dict[str, _Field] = {}
    required_tables: tuple[str, ...] = ()
    required_fields: dict[str, tuple[str, ...]] = {}


class _Group(pydantic.BaseModel):
    group_name: str
    endpoints: tuple[Endpoint, ...]


class Spec(pydantic.BaseModel):
    """A specification."""

    api_groups: tuple[_Group, ...]

    @property
    def endpoints(self) -> Iterator[Endpoint]:
        """All endpoints."""
        return (endpoint for group in self.api_groups for endpoint in group.endpoints)


async def generate(asked: rows.TasksRow, existing: rows.DbRow, session: asking.Session) -> rows.SpecRow:
    """The specification of a scenario's API.

    Raises:
        Quarantined: no reply held.
    """
    messages = prompts.conversation(
        "spec",
        title=asked.scenario,
        brief=tasks.wished(row_files.carried(asked, "brief")),
        tasks=asking.numbered(asked.tasks),
        schema=databases.joined(sql for _, sql in databases.schema_statements(existing)),
    )
    tables = {table for table, _ in databases.schema_statements(existing)}

    async def attempt(text: str) -> Spec:
        spec = asking.parsed(text, Spec)
        problems = [*_slips(spec, tables)]
        if problems:
            raise asking.Broken(asking.summary("The specification does not hold", problems))
        return spec

    # Names of parameters are keys here, which endpoints cannot hold a model to.
    spec = await session.settle(messages, attempt, shape=asking.shape(Spec, strict=False))
    return rows.SpecRow(scenario=asked.scenario, api_spec=spec.model_dump(mode="json"))


def operations(row: rows.SpecRow) -> list[str]:
    """The operation ids of a specification of any origin."""
    return [
        str(endpoint["operation_id"])
        for group in row.api_spec.get("api_groups", ())
        if isinstance(group, dict)
        for endpoint in group.get("endpoints", ())
        if isinstance(endpoint, dict) and endpoint.get("operation_id")
    ]


def _slips(spec: Spec, tables: set[str]) -> Iterator[str]:
    endpoints = list(spec.endpoints)
    if not endpoints:
        yield "there is no endpoint"
    seen_names: set[str] = set()
    seen_routes: set[tuple[str, str]] = set()
    for endpoint in endpoints:
        where = f"{endpoint.method} {endpoint.path}"
        route = endpoint.method, _PLACE.sub("{}", endpoint.path)
        if endpoint.operation_id in seen_names:
            yield f"{where}: operation_id {endpoint.operation_id} is another endpoint's too"
        if route in seen_routes:
            yield f"{where}: is there twice"
        seen_names.add(endpoint.operation_id)
        seen_routes.add(route)
        yield from (f"{where}: {slip}" for slip in _endpoint_slips(endpoint, tables))


def _endpoint_slips(endpoint: Endpoint, tables: set[str]) -> Iterator[str]:
    name = endpoint.operation_id
    if not _NAME.fullmatch(name) or name in tools.RESERVED_NAMES:
        yield f"operation_id {name!r} cannot be the name of a tool"
    in_path = set(_PLACE.findall(endpoint.path))
    declared = {key for key, value in endpoint.request_params.items() if value.param_type == "path"}
    if in_path != declared:
        yield f"its path has the parameters {sorted(in_path)}, and request_params those of {sorted(declared)}"
    if endpoint.method == "GET" and any(value.param_type == "body" for value in endpoint.request_params.values()):
        yield "a GET has no body"
    unknown = set(endpoint.required_tables) - tables
    if unknown:
        yield f"required_tables: there is no table {', '.join(sorted(unknown))}"
