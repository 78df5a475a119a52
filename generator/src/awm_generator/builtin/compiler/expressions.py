"""Expressions and assignments of blueprints: a small part of Python, parsed and checked, never executed as Python."""

import ast
import functools
import re
from collections.abc import Iterator

FUNCTIONS = {
    "count": "count('entity', field=value, ...): how many rows have these values",
    "total": "total('entity', 'field', field=value, ...): the sum of a field over these rows",
    "overlapping": "overlapping('entity', 'from_field', 'to_field', a, b, field=value, ...): rows whose span meets it",
    "days": "days(first, second): days from one date to another",
    "hours_until": "hours_until(moment or date): hours from now on",
    "days_until": "days_until(date): days from today on",
    "plus_days": "plus_days(date, n): a date n days later",
    "plus_minutes": "plus_minutes(moment, n): a moment n minutes later",
    "day_of": "day_of(moment): its date",
    "smaller": "smaller(a, b)",
    "larger": "larger(a, b)",
}

_PARTS = (
    ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.BinOp, ast.Add, ast.Sub, ast.Mult,
    ast.FloorDiv, ast.Mod, ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn, ast.Is,
    ast.IsNot, ast.Name, ast.Load, ast.Attribute, ast.Constant, ast.List, ast.Tuple, ast.Call, ast.keyword, ast.IfExp,
)  # fmt: skip
_HOLE = re.compile(r"\{([^{}]*)\}")


@functools.lru_cache(maxsize=20_000)
def parse(text: str) -> ast.expr:
    """The tree of an expression.

    Raises:
        ValueError: it is no expression of the blueprint language; the message says what is wrong.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError as exc:
        raise ValueError(f"{text!r} is no expression: {exc.msg}") from exc
    _check(tree, text)
    return tree.body


@functools.lru_cache(maxsize=20_000)
def assignment(text: str) -> ast.Assign | ast.AugAssign | ast.Call:
    """The tree of a `do` statement: `target = value`, `target += value` or `create('entity', field=value, ...)`.

    Raises:
        ValueError: it is none of these.
    """
    try:
        (statement,) = ast.parse(text.strip()).body
    except (SyntaxError, ValueError) as exc:
        raise ValueError(f"{text!r} is no single assignment") from exc
    if (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Call)
        and _named(statement.value) == "create"
    ):
        for keyword in statement.value.keywords:
            _check(keyword.value, text)
        return statement.value
    if isinstance(statement, ast.AugAssign) and isinstance(statement.op, ast.Add | ast.Sub):
        _check(statement.value, text)
        return statement
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        _check(statement.value, text)
        return statement
    raise ValueError(f"{text!r}: write target = value, target += value, target -= value or create('entity', ...)")


def holes(template: str) -> tuple[str, ...]:
    """What stands in braces in a text."""
    return tuple(_HOLE.findall(template))


def pieces(template: str) -> Iterator[tuple[str, bool]]:
    """A text in parts, each with whether it stood in braces."""
    last = 0
    for match in _HOLE.finditer(template):
        if match.start() > last:
            yield template[last : match.start()], False
        yield match[1], True
        last = match.end()
    if last < len(template):
        yield template[last:], False


def path(node: ast.expr) -> tuple[str, ...] | None:
    """`booking.boat.name` as its names, or None for anything else."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return (node.id, *reversed(names)) if isinstance(node, ast.Name) else None


def paths(node: ast.AST) -> Iterator[tuple[str, ...]]:
    """The longest dotted names in an expression, function names left out."""
    if isinstance(node, ast.expr) and (found := path(node)) is not None:
        yield found
        return
    for child in ast.iter_child_nodes(node):
        if not (isinstance(node, ast.Call) and child is node.func):
            yield from paths(child)


def calls(node: ast.AST) -> Iterator[ast.Call]:
    """The function calls in an expression."""
    return (each for each in ast.walk(node) if isinstance(each, ast.Call))


def _named(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _check(tree: ast.AST, text: str) -> None:
    for node in ast.walk(tree):
        if not isinstance(node, _PARTS):
            raise ValueError(f"{text!r}: {type(node).__name__} is not part of the blueprint language")
        if isinstance(node, ast.Call) and _named(node) not in FUNCTIONS:
            raise ValueError(f"{text!r}: unknown function {_named(node)!r}; there are {', '.join(FUNCTIONS)}")
