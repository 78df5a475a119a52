"""The operations that a scenario's tools offer, simulated on rows in memory."""

from collections.abc import Mapping
from typing import Any

from awm_generator.builtin import language
from awm_generator.builtin.compiler import expressions, simulation, worlds
from awm_generator.builtin.compiler.simulation import Reference, Refused, Scope, State


def create(state: State, entity: str, inputs: Mapping[str, Any]) -> int:
    """Makes a row as the create tool does, and returns its id.

    Raises:
        Refused: a rule does not hold; nothing is changed.
    """
    spec = state.world.entities[entity]
    row = simulation.blank(state.world, entity, {**owned(state.world, entity), **inputs})
    scope = Scope(state, entity, row, inputs)
    for name, field in spec.fields.items():
        if field.begins:
            simulation.put(scope, name, simulation.evaluate(field.begins, scope))
    compute(scope, spec.fields)
    distinct(scope)
    simulation.check((*(spec.create.rules if spec.create else ()), *spec.rules), scope)
    key = state.add(entity, row)
    for statement in spec.create.do if spec.create else ():
        simulation.assign(statement, Scope(state, entity, state.tables[entity][key], inputs))
    return key


def act(state: State, entity: str, key: int, action: str, inputs: Mapping[str, Any]) -> None:
    """Carries an action out on a row.

    Raises:
        Refused: the row's state or a rule does not allow it, or a value is taken. The state is spoiled then: work on a
            copy.
    """
    spec = state.world.entities[entity]
    operation, row = spec.actions[action], state.tables[entity][key]
    if spec.states and operation.start and row[spec.states.field] not in operation.start:
        now = row[spec.states.field].replace("_", " ")
        raise Refused(_wrong_state(state.world, entity, now, operation), (now,), by_state=True)
    scope = Scope(state, entity, row, inputs)
    simulation.check(operation.rules, scope)
    for statement in operation.do:
        simulation.assign(statement, scope)
    distinct(scope, reasons=())  # here it is the database that refuses, in words of its own
    if spec.states and operation.to:
        row[spec.states.field] = operation.to


def update(state: State, entity: str, key: int, values: Mapping[str, Any]) -> None:
    """Changes fields of a row as the update tool does.

    Raises:
        Refused: the row is final, a value is taken or a rule does not hold. The state is spoiled then: work on a copy.
    """
    spec = state.world.entities[entity]
    row = state.tables[entity][key]
    if spec.states and row[spec.states.field] in spec.states.final:
        now = row[spec.states.field].replace("_", " ")
        said = f"This {worlds.label(state.world, entity)} is {now} and can no longer be changed."
        raise Refused(said, (now,), by_state=True)
    for name, value in values.items():
        row[worlds.column(name, spec.fields[name])] = value.id if isinstance(value, Reference) else value
    scope = Scope(state, entity, row)
    compute(scope, recomputed(spec))
    distinct(scope)
    simulation.check(spec.rules, scope)


def delete(state: State, entity: str, key: int) -> None:
    """Removes a row.

    Raises:
        Refused: other rows refer to it.
    """
    for child, name in state.world.children(entity):
        if any(row.get(f"{name}_id") == key for row in state.tables.get(child, {}).values()):
            words = worlds.plural(state.world, child)
            raise Refused(f"This {worlds.label(state.world, entity)} still has {words}.", (words,))
    del state.tables[entity][key]


def owned(world: worlds.World, entity: str) -> dict[str, Reference]:
    """The owner of a new row, where it belongs to the user directly."""
    path = world.owner_path(entity)
    taken = len(path) == 1 and not world.entities[entity].fields[path[0]].create
    return {path[0]: Reference(world.user, 1)} if taken else {}


def recomputed(spec: language.Entity) -> dict[str, language.Field]:
    """The computed fields that depend on a field that the update tool takes."""
    editable = {name for name, field in spec.fields.items() if field.edit}
    return {name: field for name, field in spec.fields.items() if field.set and _mentions(field.set, editable)}


def compute(scope: Scope, fields: Mapping[str, language.Field]) -> None:
    """Fills the computed fields in."""
    for name, field in fields.items():
        if field.set:
            simulation.put(scope, name, simulation.evaluate(field.set, scope))


def distinct(scope: Scope, *, reasons: tuple[str, ...] = ("already", "taken", "exists", "another")) -> None:
    """Raises where a value that must be unique is taken.

    Raises:
        Refused: for these reasons.
    """
    world = scope.state.world
    for names in keys(world.entities[scope.entity]):
        mine = [scope.state.value(scope.entity, scope.row, name) for name in names]
        for key, row in scope.state.tables.get(scope.entity, {}).items():
            other = [scope.state.value(scope.entity, row, name) for name in names]
            if key != scope.row.get("id") and None not in mine and mine == other:
                raise Refused(taken(world, scope.entity, names), reasons)


def keys(spec: language.Entity) -> list[tuple[str, ...]]:
    """The fields, or fields together, that are unique."""
    return [(name,) for name, field in spec.fields.items() if field.unique] + list(spec.unique)


def taken(world: worlds.World, entity: str, names: tuple[str, ...]) -> str:
    """What is said of a value that is taken."""
    fields = world.entities[entity].fields
    words = " and ".join(worlds.field_label(name, fields[name]) for name in names)
    label = worlds.label(world, entity)
    return f"There is already {worlds.article(label)} {label} with this {words}."


def _wrong_state(world: worlds.World, entity: str, now: str, operation: language.Action) -> str:
    allowed = " or ".join(each.replace("_", " ") for each in operation.start)
    return f"This {worlds.label(world, entity)} is {now}; it has to be {allowed}."


def _mentions(text: str, names: set[str]) -> bool:
    return any(path[0] in names for path in expressions.paths(expressions.parse(text)))
