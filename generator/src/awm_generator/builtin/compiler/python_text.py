"""Expressions and assignments of blueprints as the Python of a handler."""

import ast
import re
from collections.abc import Collection
from dataclasses import dataclass

from awm_generator.builtin.compiler import expressions, layout, worlds

_OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.FloorDiv: "//", ast.Mod: "%", ast.Eq: "==", ast.NotEq: "!=",
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.In: "in", ast.NotIn: "not in", ast.Is: "is",
    ast.IsNot: "is not",
}  # fmt: skip
_OPPOSITES: dict[type[ast.cmpop], str] = {
    ast.Eq: "!=", ast.NotEq: "==", ast.Lt: ">=", ast.LtE: ">", ast.Gt: "<=", ast.GtE: "<", ast.In: "not in",
    ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is",
}  # fmt: skip
_HELPERS = {
    "days": "days_between", "hours_until": "hours_until", "days_until": "days_until", "plus_days": "days_later",
    "plus_minutes": "minutes_later", "day_of": "day_of", "smaller": "min", "larger": "max",
}  # fmt: skip


LONG = 96
"""A longer literal is written as several."""
_WORD = re.compile(r"(?:\{[^}]*\}|[^ {])+ ?| ")


@dataclass(frozen=True)
class Names:
    """What the names in an expression are called in a handler.

    Attributes:
        row: The variable that holds the row.
        inputs: The inputs that stand in variables of their own names; a reference's variable is the row.
        stored: Whether the row is in the database already, so that counts have to leave it out.
    """

    world: worlds.World
    entity: str
    row: str
    inputs: Collection[str] = ()
    stored: bool = False


def expression(text: str, names: Names) -> str:
    """An expression as Python."""
    return _text(expressions.parse(text), names)


def negated(text: str, names: Names) -> str:
    """The opposite of a condition, without a `not` where there is a plainer way."""
    node = expressions.parse(text)
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        left, right = _operand(node.left, names), _operand(node.comparators[0], names)
        return f"{left} {_OPPOSITES[type(node.ops[0])]} {right}"
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return _text(node.operand, names)
    plain = _text(node, names)
    return f"not {plain}" if isinstance(node, ast.Name | ast.Attribute | ast.Call) else f"not ({plain})"


def message(template: str, names: Names) -> str:
    """A message as a string literal, an f-string where it has braces; a long one as several."""
    parts = [""]
    for word in _WORD.findall(template):
        if parts[-1] and len(_literal(parts[-1] + word, names)) > LONG:
            parts.append("")
        parts[-1] += word
    return layout.BREAK.join(_literal(part, names) for part in parts)


def _literal(template: str, names: Names) -> str:
    parts = [
        "{" + expression(part, names) + "}" if hole else layout.quoted(part)[1:-1]
        for part, hole in expressions.pieces(template)
    ]
    return f'{"f" if expressions.holes(template) else ""}"{"".join(parts)}"'


def statement(text: str, names: Names) -> str:
    """A `do` statement as Python."""
    node = expressions.assignment(text)
    if isinstance(node, ast.Call):
        return _creation(node, names)
    value = _text(node.value, names)
    if isinstance(node, ast.AugAssign):
        return f"{_text(node.target, names)} {_OPERATORS[type(node.op)]}= {value}"
    return f"{_text(node.targets[0], names)} = {value}"


def _creation(node: ast.Call, names: Names) -> str:
    entity = str(ast.literal_eval(node.args[0]))
    spec = names.world.entities[entity]
    given = {str(keyword.arg): _text(keyword.value, names) for keyword in node.keywords}
    if spec.states:
        given.setdefault(spec.states.field, layout.quoted(spec.states.start))
    for name, field in spec.fields.items():
        if field.type == "stamp" and not field.optional:
            given.setdefault(name, "stamp()")
    parts = [f"{name}={value}" for name, value in given.items()]
    return layout.call("session.add(", [layout.call(f"{worlds.class_name(entity)}(", parts)])


def _text(node: ast.expr, names: Names) -> str:
    match node:
        case ast.Constant(value=value):
            return layout.quoted(value) if isinstance(value, str) else repr(value)
        case ast.Name(id=name):
            return _name(name, names)
        case ast.Attribute(value=inner, attr=attribute):
            return f"{_text(inner, names)}.{attribute}"
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return f"[{', '.join(_text(part, names) for part in parts)}]"
        case ast.BoolOp(op=op, values=parts):
            word = " and " if isinstance(op, ast.And) else " or "
            return word.join(_operand(part, names) for part in parts)
        case ast.UnaryOp(op=op, operand=inner):
            return f"not {_operand(inner, names)}" if isinstance(op, ast.Not) else f"-{_operand(inner, names)}"
        case ast.BinOp(left=left, op=op, right=right):
            return f"{_operand(left, names)} {_OPERATORS[type(op)]} {_operand(right, names)}"
        case ast.IfExp(test=test, body=body, orelse=other):
            return f"{_operand(body, names)} if {_text(test, names)} else {_operand(other, names)}"
        case ast.Compare(left=left, ops=ops, comparators=rights):
            pairs = (f"{_OPERATORS[type(op)]} {_operand(each, names)}" for op, each in zip(ops, rights, strict=True))
            return f"{_operand(left, names)} {' '.join(pairs)}"
        case ast.Call():
            return _call(node, names)
    raise ValueError(f"{ast.dump(node)} has no text")  # pragma: no cover - `expressions` lets nothing else pass


def _operand(node: ast.expr, names: Names) -> str:
    text = _text(node, names)
    return f"({text})" if isinstance(node, ast.BoolOp | ast.BinOp | ast.IfExp | ast.Compare) else text


def _name(name: str, names: Names) -> str:
    match name:
        case "self":
            return names.row
        case "me":
            return "signed_in(session)"
        case "today":
            return "today().isoformat()"
        case "now":
            return "stamp()"
    return name if name in names.inputs else f"{names.row}.{name}"


def _call(node: ast.Call, names: Names) -> str:
    function = node.func.id if isinstance(node.func, ast.Name) else ""
    if function not in ("count", "total", "overlapping"):
        return f"{_HELPERS[function]}({', '.join(_text(argument, names) for argument in node.args)})"
    entity = str(ast.literal_eval(node.args[0]))
    table = worlds.class_name(entity)
    parts = [f"{table}.{_condition(names.world, entity, keyword, names)}" for keyword in node.keywords]
    if names.stored and entity == names.entity:
        parts.append(f"{table}.id != {names.row}.id")
    if function == "total":
        return f"total(session, {table}.{ast.literal_eval(node.args[1])}, {', '.join(parts)})"
    if function == "overlapping":
        first, last = (str(ast.literal_eval(argument)) for argument in node.args[1:3])
        begins, ends = (_text(argument, names) for argument in node.args[3:5])
        parts += [f"{table}.{first} < {ends}", f"{table}.{last} > {begins}"]
    return f"count(session, {', '.join([table, *parts])})"


def _condition(world: worlds.World, entity: str, keyword: ast.keyword, names: Names) -> str:
    name, value = str(keyword.arg), keyword.value
    field = world.entities[entity].fields.get(name)
    if field is not None and field.type == "ref":
        if isinstance(value, ast.Name) and value.id == "me":
            return f"{name}_id == SIGNED_IN_{world.user.upper()}_ID"
        return f"{name}_id == {_text(value, names)}.id"
    if isinstance(value, ast.List | ast.Tuple):
        return f"{name}.in_({_text(value, names)})"
    if isinstance(value, ast.Constant) and isinstance(value.value, bool):
        return f"{name}.is_({value.value})"
    return f"{name} == {_text(value, names)}"
