"""Steps that weigh: which of two rows has more of something, and one deed or another as a value stands."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from awm_generator.builtin import language
from awm_generator.builtin.compiler import describing, expressions, lookups, phrasing, steps, worlds
from awm_generator.builtin.compiler.lookups import Calls, Unreachable
from awm_generator.builtin.compiler.phrasing import Voice
from awm_generator.builtin.compiler.simulation import Row, State
from awm_generator.builtin.compiler.steps import Answer, Step

_TRIES = 6


@dataclass(frozen=True)
class Condition:
    """Whether a value lies on one side of a bound.

    Attributes:
        words: How it is said: `the fee of my loan is above $20`.
        holds: Whether it does.
        about: The row that is looked at.
        calls: The oracle so far, with the call that shows the value.
    """

    words: str
    holds: bool
    about: str
    calls: Calls


def makers(world: worlds.World) -> dict[str, steps.Maker]:
    """For each entity whose rows can be compared, the function that tries to ask which of two has more."""
    return {f"which:{entity}": _bound(entity) for entity in world.entities if _weighed(world, entity)}


def which(calls: Calls, rng: random.Random, voice: Voice, entity: str) -> Step | None:
    """Asks which of two rows that are named has more of something, or less."""
    world, spec = calls.state.world, calls.state.world.entities[entity]
    title, fields = worlds.title_field(spec), _weighed(world, entity)
    rows = phrasing.unmistakable(calls.state, entity)
    if title is None or title not in expressions.holes(spec.it) or len(rows) < 2:
        return None
    for _ in range(_TRIES):
        name = rng.choice(list(fields))
        first, second = rng.sample(rows, 2)
        highest = rng.random() < 0.6
        if first[name] == second[name]:
            continue
        best, other = (first, second) if (first[name] > second[name]) == highest else (second, first)
        trial = Calls(calls.state, list(calls.made))
        try:
            pair = ", ".join(lookups.row(trial, entity, each) for each in (first, second))
        except Unreachable:
            continue
        source = {"$from": f"{'max_by' if highest else 'min_by'}([{pair}], &{name}).{title}"}
        if not _is_told_apart(world, best[title], other[title]):
            continue
        said = [phrasing.described(trial.state, entity, each, voice) for each in (first, second)]
        text = f"Which has the {_most(fields[name], name, highest=highest)}: {said[0]} or {said[1]}?"
        answer = Answer("text", best[title], source, best[title], (other[title],))
        return Step(f"which:{entity}", said[0], text, trial, answer)
    return None


def condition(calls: Calls, rng: random.Random, voice: Voice) -> Condition | None:
    """A bound that a value of some row lies above or below of."""
    world = calls.state.world
    entities = [entity for entity in world.entities if _weighed(world, entity)]
    for _ in range(_TRIES if entities else 0):
        entity = rng.choice(entities)
        rows = phrasing.unmistakable(calls.state, entity)
        if not rows:
            continue
        name, row = rng.choice(list(_weighed(world, entity))), rng.choice(rows)
        trial = Calls(calls.state, list(calls.made))
        try:
            lookups.row(trial, entity, row)
        except Unreachable:
            continue
        above = rng.random() < 0.5
        bound = _bound_beside(row[name], rng, world.entities[entity].fields[name])
        if bound is not None:
            words = _said(trial.state, entity, row, name, bound, voice, above=above)
            holds = bool(row[name] > bound if above else row[name] < bound)
            return Condition(words, holds, phrasing.described(trial.state, entity, row, voice), trial)
    return None


def either(condition: Condition, first: Step, second: Step) -> Step:
    """One deed where the condition holds, else the other; `first` and `second` begin with the condition's calls."""
    chosen = first if condition.holds else second
    clause = f"if {condition.words}, {first.clause}; otherwise {second.clause}"
    return Step(f"either:{first.key}", condition.about, clause, chosen.calls)


def _bound(entity: str) -> steps.Maker:
    return lambda calls, rng, voice: which(calls, rng, voice, entity)


def _weighed(world: worlds.World, entity: str) -> Mapping[str, language.Field]:
    """The numbers of an entity's rows that people speak of as theirs, where a tool lists them."""
    spec = world.entities[entity]
    if world.tool("list", entity) is None:
        return {}
    named = expressions.holes(spec.it)
    return {
        name: field
        for name, field in spec.fields.items()
        if field.type in ("integer", "money") and not field.optional and not field.ask and name not in named
    }


def _is_told_apart(world: worlds.World, best: str, other: str) -> bool:
    """Whether an answer that names one of them cannot be taken for the other, or be read off the tools."""
    plain, beside = describing.plain(best), describing.plain(other)
    return plain not in beside and beside not in plain and plain not in describing.words(world)


def _most(field: language.Field, name: str, *, highest: bool) -> str:
    label = worlds.field_label(name, field)
    if phrasing.is_number_of(field, label):
        return f"{'larger' if highest else 'smaller'} number of {label}"
    return f"{'higher' if highest else 'lower'} {label}"


def _bound_beside(value: int, rng: random.Random, field: language.Field) -> int | None:
    """A round number near a value, and not the value; None where there is none above zero."""
    step = 100 if field.type == "money" else 1
    away = max(step, value // rng.choice((3, 4, 6)))
    bound = (value + rng.choice((-away, away))) // step * step
    return bound if bound > 0 and bound != value else None


def _said(state: State, entity: str, row: Row, name: str, bound: int, voice: Voice, *, above: bool) -> str:
    field = state.world.entities[entity].fields[name]
    label, words = worlds.field_label(name, field), phrasing.described(state, entity, row, voice)
    if phrasing.is_number_of(field, label):
        label = f"number of {label}"
    return f"the {label} of {words} is {'above' if above else 'below'} {voice.value(field, bound)}"
