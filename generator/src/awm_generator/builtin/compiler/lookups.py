"""How an oracle finds rows: the call that lists them, and the JMESPath expression that picks the one that is meant."""

import ast
import json
from dataclasses import dataclass, field
from typing import Any

from awm_generator.builtin.compiler import expressions, interface, phrasing, simulation, worlds
from awm_generator.builtin.compiler.simulation import Reference, Row, State
from awm_runtime.bundle import model

_SMALL_PAGE = 15
_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip


class Unreachable(Exception):
    """No tool leads to what is wanted; another task has to be made."""


@dataclass
class Calls:
    """An oracle while it is written.

    Attributes:
        state: The rows as the calls so far leave them.
    """

    state: State
    made: list[model.OracleCall] = field(default_factory=list)

    def save(self, tool: str, arguments: dict[str, Any], word: str) -> str:
        """Adds a call whose reply is kept; the same lookup is not made twice in a row of reads."""
        for call in reversed(self.made):
            if call.save is None:
                break
            if (call.tool, call.arguments) == (tool, arguments):
                return call.save
        taken = {call.save for call in self.made}
        number = next(n for n in range(1, 100) if (f"{word}_{n}" if n > 1 else word) not in taken)
        name = f"{word}_{number}" if number > 1 else word
        self.made.append(model.OracleCall(tool=tool, arguments=arguments, save=name))
        return name

    def write(self, tool: str, arguments: dict[str, Any]) -> None:
        """Adds a call that changes rows."""
        self.made.append(model.OracleCall(tool=tool, arguments=arguments))


def row(calls: Calls, entity: str, wanted: Row) -> str:
    """The expression for the row that a description means.

    Raises:
        Unreachable: no tool lists it.
    """
    world = calls.state.world
    spec = world.entities[entity]
    arguments: dict[str, Any] = {}
    conditions: list[str] = []
    alone = _is_alone(calls.state, entity, wanted)
    for name in expressions.holes(spec.it):
        value = calls.state.value(entity, wanted, name)
        shown = _shown(calls.state, value)
        if isinstance(value, Reference) and (shown is None or not alone):
            if not spec.fields[name].filter:
                raise Unreachable(f"{entity}: the name of its {name} does not say which, and it is no filter")
            arguments[f"{name}_id"] = identified(calls, value)
        if shown is None:
            continue
        if name in interface.searched(spec) and "q" not in arguments:
            arguments["q"] = shown
        conditions.append(f"{name} == {_literal(shown)}")
    saved = listed(calls, entity, arguments)
    items = f"{saved}.{world.style.items}"
    return f"{items}[?{' && '.join(conditions)}] | [0]" if conditions else f"{items}[0]"


def _shown(state: State, value: Any) -> Any:
    """A value as replies show it: of a reference the name of its row, if it has one."""
    return phrasing.title(state, value) if isinstance(value, Reference) else value


def _is_alone(state: State, entity: str, wanted: Row) -> bool:
    """Whether no other row shows the same in all that its description names."""
    names = expressions.holes(state.world.entities[entity].it)

    def shown(each: Row) -> list[Any]:
        return [_shown(state, state.value(entity, each, name)) for name in names]

    return sum(shown(each) == shown(wanted) for each in state.visible(entity)) == 1


def identified(calls: Calls, found: Reference) -> dict[str, str]:
    """`{"$from": ...}` for the id of a row, after the calls that find it."""
    target = calls.state.tables[found.entity][found.id]
    if found.entity == calls.state.world.user and found.id == 1:
        tool = calls.state.world.tool("me", found.entity)
        return {"$from": f"{calls.save(tool.name if tool else '', {}, 'me')}.id"}
    if all(target is not each for each in phrasing.unmistakable(calls.state, found.entity)):
        raise Unreachable(f"{found.entity} {found.id}: its description is not unique")
    return {"$from": _member(row(calls, found.entity, target), "id")}


def listed(calls: Calls, entity: str, arguments: dict[str, Any]) -> str:
    """The name under which a list of rows is saved, after the call.

    Raises:
        Unreachable: there is no tool that lists them.
    """
    world = calls.state.world
    tool = world.tool("list", entity)
    if tool is None:
        raise Unreachable(f"{entity}: no tool lists them")
    if "q" not in arguments and len(calls.state.visible(entity)) > _SMALL_PAGE:
        arguments = {**arguments, ("limit" if world.style.offset else "page_size"): interface.PAGE_MOST}
    return calls.save(tool.name, arguments, world.entities[entity].plural)


def chosen(calls: Calls, entity: str, where: str) -> str:
    """The expression for the listed rows that meet a condition."""
    world = calls.state.world
    spec = world.entities[entity]
    node = expressions.parse(where)
    arguments: dict[str, Any] = {}
    if spec.states and (state := _sole_state(node, spec.states.field)):
        arguments[spec.states.field] = state
    saved = listed(calls, entity, arguments)
    items = f"{saved}.{world.style.items}"
    if isinstance(node, ast.Constant):
        return f"{items}[]"
    return f"{items}[?{_condition(world, entity, node)}]"


def matching(state: State, entity: str, where: str) -> list[Row]:
    """The rows of the signed-in user that meet a condition."""
    return [each for each in state.visible(entity) if simulation.holds(where, simulation.Scope(state, entity, each))]


def member(expression: str, name: str) -> str:
    """A field of what an expression finds."""
    return _member(expression, name)


def _member(expression: str, name: str) -> str:
    return f"{expression}.{name}" if expression.endswith(("]", ")")) else f"({expression}).{name}"


def _literal(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False).replace("`", "\\`")
    return f"`{text}`"


def _sole_state(node: ast.expr, name: str) -> str | None:
    """The one state that a condition asks for."""
    parts = node.values if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And) else [node]
    for part in parts:
        match part:
            case ast.Compare(left=ast.Name(id=left), ops=[ast.Eq()], comparators=[ast.Constant(value=str(state))]):
                if left == name:
                    return state
    return None


def _condition(world: worlds.World, entity: str, node: ast.expr) -> str:
    match node:
        case ast.BoolOp(op=op, values=parts):
            word = " && " if isinstance(op, ast.And) else " || "
            return "(" + word.join(_condition(world, entity, part) for part in parts) + ")"
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return f"!({_condition(world, entity, inner)})"
        case ast.Compare(left=left, ops=ops, comparators=rights):
            pairs = zip((left, *rights), ops, rights, strict=False)
            texts = [_comparison(world, entity, first, op, second) for first, op, second in pairs]
            return texts[0] if len(texts) == 1 else f"({' && '.join(texts)})"
    return _attribute(world, entity, node)


def _comparison(world: worlds.World, entity: str, left: ast.expr, op: ast.cmpop, right: ast.expr) -> str:
    """One comparison: of a field with a value, with one of several values, or with another field."""
    if isinstance(op, ast.In | ast.NotIn):
        if not isinstance(right, ast.List | ast.Tuple):
            raise ValueError(f"{ast.unparse(right)} is no list; write field in ['a', 'b']")
        name = _operand(world, entity, left)
        any_of = " || ".join(f"{name} == {_operand(world, entity, part)}" for part in right.elts)
        return f"{'!' if isinstance(op, ast.NotIn) else ''}({any_of})"
    sign = _COMPARISONS.get(type(op), "==" if isinstance(op, ast.Is) else "!=")
    return f"{_operand(world, entity, left)} {sign} {_operand(world, entity, right)}"


def _operand(world: worlds.World, entity: str, node: ast.expr) -> str:
    """A side of a comparison: a value as it is written, or a field."""
    try:
        return _literal(ast.literal_eval(node))
    except ValueError:
        return _attribute(world, entity, node)


def _attribute(world: worlds.World, entity: str, node: ast.expr) -> str:
    """The name under which a reply shows what a condition reads.

    Raises:
        ValueError: a reply does not show it.
    """
    path = expressions.path(node) or ()
    names = {each.name for each in interface.view(world, entity)}
    if len(path) == 1 and path[0] in names:
        return path[0]
    if len(path) == 2 and path[0] in world.entities[entity].fields:
        target = str(world.entities[entity].fields[path[0]].to)
        if worlds.title_field(world.entities[target]) == path[1]:
            return path[0]
    raise ValueError(f"{ast.unparse(node)} is not shown by the tools, so that nobody could choose by it")
