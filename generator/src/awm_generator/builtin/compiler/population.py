"""Makes a world's seed rows: values that look real and agree with each other, the rules and the clock."""

import random
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from awm_generator.builtin import language, shorthand
from awm_generator.builtin.compiler import expressions, operations, simulation, worlds
from awm_generator.builtin.compiler.simulation import Refused, Row, Scope, State

_TRIES = 40
_OWN_SHARE = 0.6
_EMPTY_SHARE = 0.35


def populate(world: worlds.World) -> State:
    """The rows that a scenario starts with, the same for the same world."""
    state = State(world)
    for entity, spec in world.entities.items():
        rng = random.Random(f"{world.seed}/rows/{entity}")  # noqa: S311 - seeded on purpose
        state.tables.setdefault(entity, {})
        for parents in _places(state, spec, rng):
            for _ in range(_TRIES):
                row = _candidate(state, entity, parents, rng)
                if row is not None:
                    key = state.add(entity, row)
                    for statement in spec.seeded:
                        simulation.assign(statement, Scope(state, entity, state.tables[entity][key]))
                    break
    return state


def value(state: State, entity: str, row: Row, name: str, rng: random.Random) -> Any:
    """A value for a field, as seed rows have it."""
    spec = state.world.entities[entity]
    field = spec.fields[name]
    make = field.make
    if spec.states and row.get(spec.states.field) in field.when:
        make = field.when[row[spec.states.field]]
        if make is None:
            return None
    elif field.optional and rng.random() < _EMPTY_SHARE:
        return None
    return made(state, entity, row, field, make, rng)


def made(
    state: State, entity: str, row: Mapping[str, Any], field: language.Field, make: str | None, rng: random.Random
) -> Any:
    """A value by the way `make`."""
    world = state.world
    match field.type:
        case "text":
            return text(world, row, field, make or "", rng)
        case "integer" | "money":
            low, high, step = shorthand.bounds(make or "1..10")
            return rng.randrange(low, high + 1, step)
        case "choice":
            values = shorthand.choices(make) if make else field.values
            return rng.choices(list(values), list(values.values()))[0]
        case "flag":
            return rng.randrange(100) < int(make or "50")
        case "date" | "moment" | "stamp" if make and make.startswith("after") and row.get(make.split()[1]) is None:
            return None
        case "date":
            return _day(world.clock, row, make or "1..30", rng)
        case "moment" | "stamp":
            default = "-60..-1" if field.type == "stamp" else "1..30"
            return _moment(world.clock, row, make or default, rng)
    raise ValueError(f"{entity}: a {field.type} field is not made from a pattern")  # references have their own way


def text(world: worlds.World, row: Mapping[str, Any], field: language.Field, make: str, rng: random.Random) -> str:
    """A text: a person, an address, a code, a word from a list or a pattern of these."""
    if field.like:
        return "".join(_hole(world, row, part, rng) if hole else part for part, hole in expressions.pieces(field.like))
    kind, _, rest = make.partition(" ")
    match kind:
        case "from":
            return rng.choice(world.vocabulary[rest])
        case "code":
            return re.sub(r"#", lambda _: str(rng.randrange(10)), rest)
        case "email":
            name = str(row[rest.removeprefix("of ").strip()])
            plain = re.sub(r"[^a-z]+", ".", name.lower()).strip(".")
            return f"{plain}@{rng.choice(world.vocabulary['mail_hosts'])}.example"
        case "phone":
            return f"555-{rng.randrange(1000, 10000)}"
        case "street":
            return f"{rng.randrange(1, 120)} {rng.choice(world.vocabulary['streets'])}"
        case "person":
            return f"{rng.choice(world.vocabulary['first_names'])} {rng.choice(world.vocabulary['surnames'])}"
        case "company":
            return f"{rng.choice(world.vocabulary['surnames'])} {rng.choice(world.vocabulary['company_kinds'])}"
    return rng.choice(world.vocabulary[make or "notes"])


def _hole(world: worlds.World, row: Mapping[str, Any], name: str, rng: random.Random) -> str:
    if name in row and row[name] is not None:
        return str(row[name])
    if name in ("person", "company", "street", "phone"):
        return text(world, row, language.Field(type="text"), name, rng)
    return rng.choice(world.vocabulary[name])


def _places(state: State, spec: language.Entity, rng: random.Random) -> list[dict[str, int]]:
    """For each row to make, the parents that it is made for."""
    if not spec.per:
        low, high, _ = shorthand.bounds(spec.rows)
        return [{} for _ in range(rng.randint(low, high))]
    places: list[dict[str, int]] = []
    for name, amount in spec.per.items():
        low, high, _ = shorthand.bounds(amount)
        for key in state.tables[str(spec.fields[name].to)]:
            places += [{name: key}] * rng.randint(low, high)
    return places


def _candidate(state: State, entity: str, parents: Mapping[str, int], rng: random.Random) -> Row | None:
    """A row that keeps the rules that hold always, or None where this attempt breaks one."""
    spec = state.world.entities[entity]
    row: Row = {}
    if spec.states:
        row[spec.states.field] = rng.choices(list(spec.states.seed), list(spec.states.seed.values()))[0]
    for name, field in spec.fields.items():
        if field.set is not None:
            continue
        if field.type == "ref":
            empty = spec.states is not None and row[spec.states.field] in field.when
            row[f"{name}_id"] = None if empty else parents.get(name) or _referred(state, entity, name, field, rng)
            if row[f"{name}_id"] is None and not field.optional:
                return None
        else:
            row[name] = value(state, entity, row, name, rng)
    ordered = {worlds.column(name, field): None for name, field in spec.fields.items()}
    row = {**ordered, **row}
    scope = Scope(state, entity, row)
    operations.compute(scope, spec.fields)
    try:
        operations.distinct(scope)
        simulation.check(tuple(rule for rule in _rules(spec) if rule.always), scope)
    except Refused:
        return None
    return row


def _rules(spec: language.Entity) -> tuple[language.Rule, ...]:
    return (*spec.rules, *(spec.create.rules if spec.create else ()))


def _referred(state: State, entity: str, name: str, field: language.Field, rng: random.Random) -> int | None:
    """The row that a reference leads to; rows of the signed-in user are preferred, so that there is enough to do."""
    rows = state.tables.get(str(field.to), {})
    if not rows or (field.optional and rng.random() < _EMPTY_SHARE):
        return None
    path = state.world.owner_path(entity)
    if path and path[0] == name and rng.random() < _OWN_SHARE:
        own = [1] if len(path) == 1 else [row["id"] for row in state.visible(str(field.to))]
        if own:
            return rng.choice(own)
    return rng.choice(list(rows))


def _span(make: str, row: Mapping[str, Any], clock: datetime) -> tuple[datetime, str]:
    """What a date counts from, and the range: `3..10`, or `after starts_on 1..4`."""
    words = make.split()
    if words[0] != "after":
        return clock, make
    return datetime.fromisoformat(str(row[words[1]]).removesuffix("Z")), words[2]


def _day(clock: datetime, row: Mapping[str, Any], make: str, rng: random.Random) -> str:
    start, span = _span(make, row, clock)
    low, high, step = shorthand.bounds(span)
    return (start + timedelta(days=rng.randrange(low, high + 1, step))).date().isoformat()


def _moment(clock: datetime, row: Mapping[str, Any], make: str, rng: random.Random) -> str:
    """Days from the clock at an hour of the day; minutes after another field."""
    start, span = _span(make, row, clock)
    low, high, step = shorthand.bounds(span)
    amount = rng.randrange(low, high + 1, step)
    if make.startswith("after"):
        return (start + timedelta(minutes=amount)).strftime("%Y-%m-%dT%H:%M:%SZ")
    day = (start + timedelta(days=amount)).date()
    return f"{day.isoformat()}T{rng.randrange(8, 20):02d}:{rng.choice((0, 0, 15, 30, 30, 45)):02d}:00Z"
