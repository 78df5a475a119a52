"""What operations do, on rows in memory: the compiler's own account of a scenario, independent of the code it emits."""

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from awm_generator.builtin import errors, language
from awm_generator.builtin.compiler import expressions, worlds

Row = dict[str, Any]
Tables = dict[str, dict[int, Row]]

CALL_LAG = timedelta(seconds=30)
"""Later than any call of a task is made, so that a deadline does not pass between planning and calling."""


class Refused(Exception):
    """An operation was turned down.

    Attributes:
        reasons: Phrases of which an answer that gives this reason has one.
        by_state: Whether it was the life cycle that forbade it, and no rule.
    """

    def __init__(self, message: str, reasons: tuple[str, ...], *, by_state: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.reasons = reasons
        self.by_state = by_state


@dataclass(frozen=True)
class Reference:
    """A row that an expression came to."""

    entity: str
    id: int


@dataclass
class State:
    """The rows of a scenario, by entity and id."""

    world: worlds.World
    tables: Tables = field(default_factory=dict)

    def copy(self) -> "State":
        """One that can be changed without changing this one."""
        rows = {entity: {key: dict(row) for key, row in table.items()} for entity, table in self.tables.items()}
        return State(self.world, rows)

    def add(self, entity: str, row: Row) -> int:
        """Adds a row under the next id, as SQLite numbers them."""
        rows = self.tables.setdefault(entity, {})
        key = max(rows, default=0) + 1
        rows[key] = {"id": key, **row}
        return key

    def value(self, entity: str, row: Mapping[str, Any], name: str) -> Any:
        """A field of a row; a reference for a reference."""
        spec = self.world.entities[entity].fields.get(name)
        if spec is not None and spec.type == "ref":
            target = row.get(f"{name}_id")
            return None if target is None else Reference(str(spec.to), target)
        if name in self.world.entities[entity].shows:
            return evaluate(self.world.entities[entity].shows[name], Scope(self, entity, row))
        return row.get(name)

    def follow(self, entity: str, row: Mapping[str, Any], path: tuple[str, ...]) -> Any:
        """What a dotted path from a row leads to."""
        value: Any = row
        at = entity
        for name in path:
            value = self.value(at, value, name)
            if isinstance(value, Reference) and name != path[-1]:
                at, value = value.entity, self.tables[value.entity][value.id]
            elif value is None:
                return None
        return value

    def owner(self, entity: str, row: Mapping[str, Any]) -> int | None:
        """The user that a row belongs to, or None for nobody."""
        path = self.world.owner_path(entity)
        found = self.follow(entity, row, path) if path else None
        return found.id if isinstance(found, Reference) else None

    def visible(self, entity: str) -> list[Row]:
        """The rows that the tools show to the signed-in user, by id."""
        rows = self.tables.get(entity, {}).values()
        if not self.world.owner_path(entity):
            return list(rows)
        return [row for row in rows if self.owner(entity, row) == 1]


@dataclass(frozen=True)
class Scope:
    """What the names in an expression mean."""

    state: State
    entity: str
    row: Mapping[str, Any]
    inputs: Mapping[str, Any] = field(default_factory=dict)
    now: datetime | None = None

    @property
    def moment(self) -> datetime:
        """When it is evaluated."""
        return self.now or self.state.world.clock + CALL_LAG

    def name(self, name: str) -> Any:
        """The value of a bare name."""
        match name:
            case "self":
                return Reference(self.entity, int(self.row.get("id") or 0))
            case "me":
                return Reference(self.state.world.user, 1)
            case "today":
                return self.moment.date().isoformat()
            case "now":
                return self.moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        if name in self.inputs:
            return self.inputs[name]
        return self.state.value(self.entity, self.row, name)


def evaluate(text: str, scope: Scope) -> Any:
    """The value of an expression.

    Raises:
        ExpressionError: it has none for this row: it reckons with a value that is not there, or of another kind.
    """
    try:
        return _value(expressions.parse(text), scope)
    except (TypeError, AttributeError, ZeroDivisionError) as exc:
        raise errors.ExpressionError(text, scope.entity, str(exc)) from exc


def holds(text: str, scope: Scope) -> bool:
    """Whether a condition holds."""
    return bool(evaluate(text, scope))


def rendered(template: str, scope: Scope) -> str:
    """A message with its braces filled in."""
    return "".join(str(evaluate(part, scope)) if hole else part for part, hole in expressions.pieces(template))


def check(rules: tuple[language.Rule, ...], scope: Scope) -> None:
    """Raises for the first rule that does not hold.

    Raises:
        Refused: with the message that the tool gives.
    """
    for rule in rules:
        if not holds(rule.require, scope):
            raise Refused(rendered(rule.otherwise, scope), rule.reason)


def assign(text: str, scope: Scope) -> None:
    """Carries a `do` statement out.

    Raises:
        ExpressionError: a value in it is not there, or of another kind.
    """
    try:
        _carry_out(expressions.assignment(text), scope)
    except (TypeError, AttributeError, ZeroDivisionError) as exc:
        raise errors.ExpressionError(text, scope.entity, str(exc)) from exc


def put(scope: Scope, name: str, value: Any) -> None:
    """Sets a field of the scope's row; a reference by the row's id."""
    column = worlds.column(name, scope.state.world.entities[scope.entity].fields[name])
    scope.row[column] = value.id if isinstance(value, Reference) else value  # type: ignore[index]


def _carry_out(statement: ast.Assign | ast.AugAssign | ast.Call, scope: Scope) -> None:
    if isinstance(statement, ast.Call):
        entity = str(ast.literal_eval(statement.args[0]))
        given = {str(keyword.arg): _value(keyword.value, scope) for keyword in statement.keywords}
        scope.state.add(entity, blank(scope.state.world, entity, given))
        return
    target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
    path = expressions.path(target) or ()
    row, name = _row_of(path, scope)
    value = _value(statement.value, scope)
    if isinstance(statement, ast.AugAssign):
        value = row[name] + value if isinstance(statement.op, ast.Add) else row[name] - value
    row[name] = value.id if isinstance(value, Reference) else value


def blank(world: worlds.World, entity: str, given: Mapping[str, Any]) -> Row:
    """A row as the code makes it: the values that are given, the first state, and nothing else."""
    spec = world.entities[entity]
    row: Row = {}
    for name, each in spec.fields.items():
        value = given.get(name)
        row[worlds.column(name, each)] = value.id if isinstance(value, Reference) else value
        if each.type == "stamp" and not each.optional:
            row[name] = world.clock.strftime("%Y-%m-%dT%H:%M:%SZ")
    if spec.states:
        row[spec.states.field] = given.get(spec.states.field, spec.states.start)
    return row


def _row_of(path: tuple[str, ...], scope: Scope) -> tuple[Row, str]:
    """The row that a target is a column of, and the column."""
    if path[0] == "self":
        path = path[1:]
    if path[0] == "me":
        row, entity, rest = scope.state.tables[scope.state.world.user][1], scope.state.world.user, path[1:]
    elif path[0] in scope.inputs and isinstance(scope.inputs[path[0]], Reference):
        found = scope.inputs[path[0]]
        row, entity, rest = scope.state.tables[found.entity][found.id], found.entity, path[1:]
    else:
        row, entity, rest = scope.row, scope.entity, path  # type: ignore[assignment]
    for name in rest[:-1]:
        found = scope.state.value(entity, row, name)
        row, entity = scope.state.tables[found.entity][found.id], found.entity
    field = scope.state.world.entities[entity].fields.get(rest[-1])
    return row, rest[-1] if field is None else worlds.column(rest[-1], field)


def _value(node: ast.expr, scope: Scope) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return scope.name(name)
        case ast.Attribute(value=inner, attr=name):
            found = _value(inner, scope)
            return None if found is None else _attribute(found, name, scope)
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return [_value(part, scope) for part in parts]
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_value(part, scope) for part in parts)
        case ast.BoolOp(values=parts):
            return any(_value(part, scope) for part in parts)
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return not _value(inner, scope)
        case ast.UnaryOp(operand=inner):
            return -_value(inner, scope)
        case ast.BinOp(left=left, op=op, right=right):
            return _ARITHMETIC[type(op)](_value(left, scope), _value(right, scope))
        case ast.IfExp(test=test, body=body, orelse=other):
            return _value(body, scope) if _value(test, scope) else _value(other, scope)
        case ast.Compare(left=left, ops=ops, comparators=rights):
            values = [_value(part, scope) for part in (left, *rights)]
            return all(_COMPARISONS[type(op)](a, b) for op, a, b in zip(ops, values, values[1:], strict=False))
        case ast.Call():
            return _called(node, scope)
    raise ValueError(f"{ast.dump(node)} has no value")  # pragma: no cover - `expressions` lets nothing else pass


def _attribute(found: Reference, name: str, scope: Scope) -> Any:
    row = scope.row if (found.entity, found.id) == (scope.entity, scope.row.get("id")) else None
    if row is None:
        row = scope.state.tables[found.entity][found.id]
    return found.id if name == "id" else scope.state.value(found.entity, row, name)


def _called(call: ast.Call, scope: Scope) -> Any:
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    values = [_value(argument, scope) for argument in call.args]
    match name:
        case "count":
            return len(_matching(values[0], call, scope))
        case "total":
            return sum(row[values[1]] or 0 for row in _matching(values[0], call, scope))
        case "overlapping":
            entity, first, last, begins, ends = values
            rows = _matching(entity, call, scope)
            return sum(1 for row in rows if row[first] < ends and row[last] > begins)
        case "hours_until":
            return int((_moment(values[0]) - scope.moment.replace(tzinfo=None)).total_seconds() // 3600)
        case "days_until":
            return (date.fromisoformat(values[0][:10]) - scope.moment.date()).days
    return _PLAIN[name](*values)


def _matching(entity: str, call: ast.Call, scope: Scope) -> list[Row]:
    wanted = {str(keyword.arg): _value(keyword.value, scope) for keyword in call.keywords}
    found = []
    itself = scope.row.get("id") if entity == scope.entity else None
    for row in scope.state.tables.get(entity, {}).values():
        if row["id"] == itself:
            continue
        values = {name: scope.state.value(entity, row, name) for name in wanted}
        if all(
            values[name] in each if isinstance(each, list) else values[name] == each for name, each in wanted.items()
        ):
            found.append(row)
    return found


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.removesuffix("Z"))


_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
    ast.Is: lambda a, b: a is b,
    ast.IsNot: lambda a, b: a is not b,
}
_PLAIN: dict[str, Callable[..., Any]] = {
    "days": lambda a, b: (date.fromisoformat(b[:10]) - date.fromisoformat(a[:10])).days,
    "plus_days": lambda a, n: (date.fromisoformat(a[:10]) + timedelta(days=n)).isoformat(),
    "plus_minutes": lambda a, n: (_moment(a) + timedelta(minutes=n)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    "day_of": lambda a: a[:10],
    "smaller": min,
    "larger": max,
}
