"""spec.json: the interface in the form of AWM's specification files."""

from typing import Any

from awm_generator.builtin.compiler import describing, interface, schema_text, worlds
from awm_generator.builtin.compiler.simulation import State
from awm_generator.builtin.compiler.worlds import Tool, World

_TYPES = {"text": "string", "date": "string", "moment": "string", "choice": "string", "integer": "integer",
          "flag": "boolean", "id": "integer", "ids": "array"}  # fmt: skip


def spec(state: State) -> dict[str, Any]:
    """The specification, a group of endpoints per table."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for tool in state.world.tools:
        groups.setdefault(worlds.plural(state.world, tool.entity).capitalize(), []).append(_endpoint(state, tool))
    return {"api_groups": [{"group_name": name, "endpoints": endpoints} for name, endpoints in groups.items()]}


def _endpoint(state: State, tool: Tool) -> dict[str, Any]:
    world = state.world
    tables = _tables(world, tool)
    return {
        "path": tool.path,
        "method": tool.method,
        "summary": describing.summary(world, tool),
        "description": describing.description(world, tool),
        "operation_id": tool.name,
        "tags": [worlds.plural(world, tool.entity)],
        "request_params": {param.name: _param(state, param) for param in interface.params(world, tool)},
        "response": _response(state, tool),
        "required_tables": [world.entities[entity].plural for entity in tables],
        "required_fields": {
            world.entities[entity].plural: schema_text.columns_of(world.entities[entity]) for entity in tables
        },
    }


def _tables(world: World, tool: Tool) -> list[str]:
    """The entity and those that it refers to."""
    found = [tool.entity]
    for entity in found:
        for field in world.entities[entity].fields.values():
            if field.type == "ref" and str(field.to) not in found:
                found.append(str(field.to))
    return found


def _param(state: State, param: interface.Param) -> dict[str, Any]:
    return {
        "type": _TYPES[param.type],
        "param_type": param.location,
        "required": param.required,
        "description": param.about,
        "example": _example(state, param),
    }


def _example(state: State, param: interface.Param) -> Any:
    match param.type:
        case "choice":
            return param.values[0]
        case "integer":
            return 1
        case "date":
            return state.world.clock.date().isoformat()
        case "moment":
            return state.world.clock.strftime("%Y-%m-%dT%H:%M:%SZ")
        case "id":
            return 1
        case "ids":
            return [1, 2]
        case "flag":
            return True
    return "example"


def _response(state: State, tool: Tool) -> dict[str, Any]:
    world = state.world
    row = next(iter(state.tables[tool.entity].values()), {})
    shown = {
        each.name: {
            "type": {"integer": "integer", "text": "string", "flag": "boolean"}[each.type],
            "description": each.about or each.name.replace("_", " ").capitalize(),
            "example": row.get(each.name),
        }
        for each in interface.view(world, tool.entity)
    }
    total = {"total": {"type": "integer", "description": "How many match", "example": len(state.visible(tool.entity))}}
    items = {
        world.style.items: {"type": "array", "description": f"The {worlds.plural(world, tool.entity)}", "example": []}
    }
    if tool.kind in ("summary", "bulk"):
        return items
    return {**total, **items} if tool.kind == "list" else shown
