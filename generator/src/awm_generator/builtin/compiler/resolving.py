"""Where the names in a blueprint's expressions and statements lead, and whether what stands there fits."""

import ast
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from awm_generator.builtin import language, reading
from awm_generator.builtin.compiler import expressions

_WORDS = frozenset({"me", "self", "today", "now"})


@dataclass(frozen=True)
class Subject:
    """What is checked: entities with the document that they stand in."""

    document: reading.Document
    entities: Mapping[str, language.Entity]
    own: tuple[str, ...]
    vocabulary: Mapping[str, tuple[str, ...]]


def states_set_elsewhere(subject: Subject, entity: str, states: language.States) -> set[str]:
    """The states that operations on other rows lead to."""
    found: set[str] = set()
    for other, spec in subject.entities.items():
        for _, texts, inputs in statements(spec):
            for text in texts:
                with contextlib.suppress(ValueError):  # told where the statement stands
                    node = expressions.assignment(text)
                    if isinstance(node, ast.Assign):
                        owner, field = _target(subject, other, node.targets[0], inputs)
                        if (owner, field) == (entity, states.field):
                            found |= set(_texts_in(node.value))
    return found


def _texts_in(node: ast.expr) -> Iterator[str]:
    return (each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str))


def statements(
    spec: language.Entity,
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], Mapping[str, language.Field]]]:
    """The statements of an entity: where they stand, what they say, and the inputs that they may read."""
    yield ("seeded",), spec.seeded, {}
    if spec.create:
        yield ("create", "do"), spec.create.do, {}
    for name, action in spec.actions.items():
        yield ("actions", name, "do"), action.do, action.inputs


def statement(subject: Subject, entity: str, text: str, inputs: Mapping[str, language.Field]) -> Iterator[str]:
    """What is wrong with a `do` statement."""
    try:
        node = expressions.assignment(text)
    except ValueError as exc:
        yield str(exc)
        return
    if isinstance(node, ast.Call):
        target = ast.literal_eval(node.args[0]) if node.args else ""
        if target not in subject.entities:
            yield f"{text!r}: {target!r} is no entity"
            return
        yield from _created(subject, target, node, text)
        for keyword in node.keywords:
            yield from _names(subject, entity, keyword.value, inputs, text)
            field = subject.entities[target].fields.get(str(keyword.arg))
            if field is not None:
                yield from fitting(subject, entity, ast.unparse(keyword.value), inputs, field.to)
        return
    yield from _names(subject, entity, node, inputs, text)
    yield from _assigned(subject, entity, node, inputs)
    for call in expressions.calls(node.value):
        if isinstance(call.func, ast.Name) and call.func.id in ("count", "total", "overlapping"):
            yield f"{text!r}: {call.func.id} is for rules and shows, not for do"


def _created(subject: Subject, target: str, node: ast.Call, text: str) -> Iterator[str]:
    """What is wrong with the fields that `create` in a statement is given."""
    spec = subject.entities[target]
    given = {str(keyword.arg) for keyword in node.keywords}
    settable = {*spec.fields, *([spec.states.field] if spec.states else [])}
    for name in sorted(given - settable):
        yield f"{text!r}: {target} has no field {name!r}; there are {', '.join(spec.fields)}"
    for name, field in spec.fields.items():
        if name not in given and not field.optional and field.type != "stamp":
            yield f"{text!r}: leaves {name} of the new {target} empty; give it a value"


def _assigned(
    subject: Subject, entity: str, node: ast.Assign | ast.AugAssign, inputs: Mapping[str, language.Field]
) -> Iterator[str]:
    """What is wrong with what a statement changes."""
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    owner, name = _target(subject, entity, target, inputs)
    text = ast.unparse(node)
    spec = subject.entities.get(owner)
    if spec is None:
        yield f"{text!r}: what changes is a field of a row: field, reference.field or me.field"
        return
    if spec.states and name == spec.states.field:
        if isinstance(node, ast.AugAssign) or not (texts := list(_texts_in(node.value))):
            yield f"{text!r}: a state is set to one of {', '.join(spec.states.seed)}, in quotes"
            return
        for state in texts:
            if state not in spec.states.seed:
                yield f"{text!r}: {state!r} is no state of {owner}; there are {', '.join(spec.states.seed)}"
        return
    field = spec.fields.get(name)
    if field is None:
        yield f"{text!r}: {name!r} is no field of {owner} that can be changed; there are {', '.join(spec.fields)}"
    elif isinstance(node, ast.AugAssign) and field.type not in ("integer", "money"):
        yield f"{text!r}: {name} is no number"
    else:
        yield from fitting(subject, entity, ast.unparse(node.value), inputs, field.to)


def _target(subject: Subject, entity: str, node: ast.expr, inputs: Mapping[str, language.Field]) -> tuple[str, str]:
    """The entity and the field that an assignment changes; empty where it changes none."""
    path = expressions.path(node) or ()
    if len(path) == 1 and path[0] not in _WORDS and path[0] not in inputs:
        return entity, path[0]
    owner, complaint = _end(subject, entity, path[:-1], inputs) if len(path) > 1 else (None, None)
    return (owner, path[-1]) if owner and not complaint else ("", "")


def fitting(
    subject: Subject, entity: str, text: str, inputs: Mapping[str, language.Field], wanted: str | None
) -> Iterator[str]:
    """What is wrong with a value that has to be a row of the entity `wanted`; with None, no row at all."""
    try:
        leaves = list(_leaves(expressions.parse(text)))
    except ValueError:
        return  # told before
    for leaf in leaves:
        path = expressions.path(leaf)
        found = _end(subject, entity, path, inputs)[0] if path else None
        empty = isinstance(leaf, ast.Constant) and leaf.value is None
        if found != wanted and not empty:
            said = ast.unparse(leaf)
            if wanted is None:
                yield f"{text!r}: {said} is a row; name one of its fields"
            else:
                yield f"{text!r}: {said} is {f'a row of {found}' if found else 'no row'}; it has to be one of {wanted}"


def _leaves(node: ast.expr) -> Iterator[ast.expr]:
    """The values that an expression may come to."""
    if isinstance(node, ast.IfExp):
        yield from _leaves(node.body)
        yield from _leaves(node.orelse)
    else:
        yield node


def expression(subject: Subject, entity: str, text: str, inputs: Mapping[str, language.Field]) -> Iterator[str]:
    """What is wrong with an expression."""
    try:
        node = expressions.parse(text)
    except ValueError as exc:
        yield str(exc)
        return
    yield from _names(subject, entity, node, inputs, text)
    for call in expressions.calls(node):
        yield from _call(subject, call, text)


def _names(
    subject: Subject, entity: str, node: ast.AST, inputs: Mapping[str, language.Field], text: str
) -> Iterator[str]:
    for path in expressions.paths(node):
        complaint = _end(subject, entity, path, inputs)[1]
        if complaint:
            yield f"{text!r}: {complaint}"


def _end(
    subject: Subject, entity: str, path: tuple[str, ...], inputs: Mapping[str, language.Field]
) -> tuple[str | None, str | None]:
    """The entity of the row that a path leads to, None for a value; and what is wrong with it."""
    at: str | None = entity
    for number, name in enumerate(path):
        if at is None:
            return None, f"{'.'.join(path[:number])} is no reference, so that .{name} leads nowhere"
        spec = subject.entities[at]
        field = inputs.get(name) if number == 0 else None
        field = field or spec.fields.get(name)
        if number == 0 and name in _WORDS:
            at = (
                next(k for k, e in subject.entities.items() if e.user)
                if name == "me"
                else entity
                if name == "self"
                else None
            )
        elif field is not None:
            at = str(field.to) if field.type == "ref" else None
        elif name in spec.shows or (spec.states and name == spec.states.field):
            at = None
        else:
            return None, f"{at} has no field {name!r}; there are {', '.join([*inputs, *spec.fields])}"
    return at, None


def _call(subject: Subject, call: ast.Call, text: str) -> Iterator[str]:
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    if name not in ("count", "total", "overlapping"):
        return
    first = call.args[0] if call.args else None
    if not isinstance(first, ast.Constant) or first.value not in subject.entities:
        yield f"{text!r}: {name} begins with the name of an entity in quotes"
        return
    spec = subject.entities[str(first.value)]
    states = {spec.states.field} if spec.states else set()
    fields = [str(keyword.arg) for keyword in call.keywords]
    fields += [str(each.value) for each in call.args[1:3] if isinstance(each, ast.Constant) and name != "count"]
    for field in fields:
        if field not in spec.fields and field not in states:
            yield f"{text!r}: {first.value!r} has no field {field!r}; there are {', '.join([*spec.fields, *states])}"
