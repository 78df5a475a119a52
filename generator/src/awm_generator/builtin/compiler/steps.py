"""The steps that tasks are made of: each one thing to do or to ask, with its words, calls and outcome."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from awm_generator.builtin import language
from awm_generator.builtin.compiler import (
    describing,
    expressions,
    lookups,
    operations,
    phrasing,
    population,
    worlds,
)
from awm_generator.builtin.compiler.lookups import Calls, Unreachable
from awm_generator.builtin.compiler.phrasing import Voice
from awm_generator.builtin.compiler.simulation import Reference, Refused, Row, State

_TRIES = 25
_MOST_ROWS = 6


@dataclass(frozen=True)
class Answer:
    """What a task asks for.

    Attributes:
        kind: How it is compared.
        value: What is right; phrases of which one is enough, for a reason.
        others: Names that must not come before the right one.
        source: The oracle's answer: a text, or an expression over what its calls saved.
        shown: How it is written down for people.
    """

    kind: Literal["count", "money", "text", "date", "reason"]
    value: Any
    source: Any
    shown: str
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """One thing that a task asks for.

    Attributes:
        key: What kind of step it is, so that tasks differ.
        about: The row or rows that it is about.
        clause: Its words.
        calls: The oracle so far, this step included.
        refused: Whether the right outcome is that nothing is done.
    """

    key: str
    about: str
    clause: str
    calls: Calls
    answer: Answer | None = None
    refused: bool = False


Refusal = Literal["by_rule", "by_state"]
Maker = Callable[[Calls, random.Random, Voice], Step | None]


def makers(world: worlds.World) -> dict[str, Maker]:
    """For each kind of step that the world offers, the function that tries to make one."""
    found: dict[str, Maker] = {}
    for entity, spec in world.entities.items():
        if world.tool("create", entity) and spec.create and spec.create.say:
            found[f"create:{entity}"] = _bound(create, entity)
        if world.tool("update", entity):
            found[f"update:{entity}"] = _bound(change, entity)
        if world.tool("delete", entity) and spec.delete:
            found[f"delete:{entity}"] = _bound(remove, entity)
        for name in spec.actions:
            found[f"act:{entity}.{name}"] = _bound(act, entity, name)
            if any(selection.each for selection in spec.selections):
                found[f"each:{entity}.{name}"] = _bound(each, entity, name)
        for number, _ in enumerate(spec.questions):
            found[f"ask:{entity}.{number}"] = _bound(ask, entity, number)
        if world.tool("list", entity):
            found[f"look:{entity}"] = _bound(look, entity)
    return found


def _bound(function: Callable[..., Step | None], *arguments: Any) -> Maker:
    return lambda calls, rng, voice: function(calls, rng, voice, *arguments)


def create(
    calls: Calls, rng: random.Random, voice: Voice, entity: str, *, refused: Refusal | None = None
) -> Step | None:
    """Makes a row, its references named or chosen by comparison; with `refused`, one that a rule turns down."""
    spec, world = calls.state.world.entities[entity], calls.state.world
    tool = world.tool("create", entity)
    assert tool is not None
    assert spec.create is not None
    for _ in range(_TRIES):
        clause = rng.choice(spec.create.say)
        holes = expressions.holes(clause)
        fields = {name: field for name, field in spec.fields.items() if field.create and name in holes}
        trial = Calls(calls.state.copy(), list(calls.made))
        try:
            values, words, arguments = _inputs(trial, rng, voice, entity, fields, plain=refused is not None)
            outcome = _attempt(operations.create, trial.state, entity, values)
        except Unreachable:
            continue
        text = phrasing.filled(clause, words)
        if isinstance(outcome, Refused):
            if refused and (step := _turned_down(f"create:{entity}", text, trial, outcome, refused)):
                return step
            continue
        if refused is None:
            trial.write(tool.name, arguments)
            return Step(f"create:{entity}", text, text, trial)
    return None


def act(
    calls: Calls, rng: random.Random, voice: Voice, entity: str, action: str, *, refused: Refusal | None = None
) -> Step | None:
    """Carries an action out on one row, named or chosen by comparison."""
    spec, world = calls.state.world.entities[entity], calls.state.world
    operation = spec.actions[action]
    tool = world.tool("action", entity, action)
    assert tool is not None
    for _ in range(_TRIES):
        trial = Calls(calls.state.copy(), list(calls.made))
        try:
            target, words, source = _one(trial, rng, voice, entity, plain=refused is not None)
            values, more, arguments = _inputs(trial, rng, voice, entity, operation.inputs)
            outcome = _attempt(operations.act, trial.state, entity, target["id"], action, values)
        except Unreachable:
            continue
        text = phrasing.filled(rng.choice(operation.say), {**more, "it": words})
        if isinstance(outcome, Refused):
            if refused and (step := _turned_down(f"act:{entity}.{action}", text, trial, outcome, refused)):
                return step
            continue
        if refused is None and trial.state.tables != calls.state.tables:  # nobody asks for what is so already
            trial.write(tool.name, {f"{entity}_id": source, **arguments})
            return Step(f"act:{entity}.{action}", words, text, trial)
    return None


def each(calls: Calls, rng: random.Random, _voice: Voice, entity: str, action: str) -> Step | None:
    """Carries an action out on all rows that a selection describes, one by one or at once."""
    spec, world = calls.state.world.entities[entity], calls.state.world
    operation = spec.actions[action]
    if operation.inputs:
        return None
    for selection in rng.sample(spec.selections, len(spec.selections)):
        trial = Calls(calls.state.copy(), list(calls.made))
        say, where = _given(selection, rng, world.currency)
        rows = lookups.matching(trial.state, entity, where)
        if not selection.each or not 2 <= len(rows) <= _MOST_ROWS:
            continue
        if any(_attempt(operations.act, trial.state, entity, row["id"], action, {}) for row in rows):
            continue
        found = lookups.chosen(trial, entity, where)
        bulk, one = world.tool("bulk", entity, action), world.tool("action", entity, action)
        assert one is not None
        if bulk and rng.random() < 0.4:
            trial.write(bulk.name, {"ids": {"$from": f"{found}.id"}})
        else:
            for number in range(len(rows)):
                trial.write(one.name, {f"{entity}_id": {"$from": f"{found}.id | [{number}]"}})
        return Step(f"each:{entity}.{action}", say, phrasing.filled(rng.choice(operation.say), {"it": say}), trial)
    return None


def change(calls: Calls, rng: random.Random, voice: Voice, entity: str) -> Step | None:
    """Changes a field of one row."""
    spec, world = calls.state.world.entities[entity], calls.state.world
    tool = world.tool("update", entity)
    assert tool is not None
    editable = {name: field for name, field in spec.fields.items() if field.edit}
    for _ in range(_TRIES):
        name = rng.choice(list(editable))
        trial = Calls(calls.state.copy(), list(calls.made))
        try:
            target, words, keys = _changed_row(trial, rng, voice, entity)
            values, more, arguments = _inputs(trial, rng, voice, entity, {name: editable[name]})
            if values[name] == trial.state.value(entity, target, name):
                continue
            outcome = _attempt(operations.update, trial.state, entity, target["id"], values)
        except Unreachable:
            continue
        if outcome is None:
            trial.write(tool.name, {**keys, **arguments})
            text = phrasing.changed(editable[name], name, None if spec.user else words, more[name])
            return Step(f"update:{entity}", words, text, trial)
    return None


def _changed_row(trial: Calls, rng: random.Random, voice: Voice, entity: str) -> tuple[Row, str, dict[str, Any]]:
    """The row that an update is about, its words, and the argument that names it; the user's own needs none."""
    if trial.state.world.entities[entity].user:
        return trial.state.tables[entity][1], "my record", {}
    target, words, source = _one(trial, rng, voice, entity)
    return target, words, {f"{entity}_id": source}


def remove(calls: Calls, rng: random.Random, voice: Voice, entity: str) -> Step | None:
    """Deletes a row."""
    spec, world = calls.state.world.entities[entity], calls.state.world
    tool = world.tool("delete", entity)
    assert tool is not None
    for _ in range(_TRIES):
        trial = Calls(calls.state.copy(), list(calls.made))
        try:
            target, words, source = _one(trial, rng, voice, entity)
        except Unreachable:
            continue
        if _attempt(operations.delete, trial.state, entity, target["id"]) is None:
            trial.write(tool.name, {f"{entity}_id": source})
            return Step(f"delete:{entity}", words, phrasing.filled(rng.choice(spec.delete), {"it": words}), trial)
    return None


def ask(calls: Calls, rng: random.Random, voice: Voice, entity: str, number: int) -> Step | None:
    """Asks a question that the rows answer."""
    question = calls.state.world.entities[entity].questions[number]
    trial = Calls(calls.state, list(calls.made))
    say, where = _given(question, rng, voice.currency)
    rows = lookups.matching(trial.state, entity, where)
    if len(rows) < 2:
        return None
    try:
        found = lookups.chosen(trial, entity, where)
    except Unreachable:
        return None
    answer = _answer(trial.state, entity, question, rows, found, voice)
    return None if answer is None else Step(f"ask:{entity}.{number}", say, say, trial, answer)


def look(calls: Calls, rng: random.Random, voice: Voice, entity: str) -> Step | None:
    """Asks for one field of one row."""
    spec, world = calls.state.world.entities[entity], calls.state.world
    named = set(expressions.holes(spec.it))
    fields = [
        name
        for name, field in spec.fields.items()
        if name not in named and field.type in ("integer", "money", "date") and not field.optional
    ]
    rows = phrasing.unmistakable(calls.state, entity)
    if not fields or len(rows) < 2:
        return None
    name, target = rng.choice(fields), rng.choice(rows)
    trial = Calls(calls.state, list(calls.made))
    words = phrasing.described(trial.state, entity, target, voice)
    try:
        source = lookups.row(trial, entity, target)
        tool = world.tool("get", entity)
        if tool is not None and rng.random() < 0.5:
            saved = trial.save(tool.name, {f"{entity}_id": {"$from": lookups.member(source, "id")}}, entity)
            source = f"{saved}.{name}"
        else:
            source = lookups.member(source, name)
    except Unreachable:
        return None
    answer = _field_answer(spec.fields[name], target[name], source, voice)
    return Step(f"look:{entity}", words, phrasing.asked(spec.fields[name], name, words), trial, answer)


def refusal(calls: Calls, rng: random.Random, voice: Voice, key: str, *, by_state: bool) -> Step | None:
    """The step of this key as one that is turned down: by the row's state, or by a rule."""
    kind, _, rest = key.partition(":")
    entity, _, action = rest.partition(".")
    refused: Refusal = "by_state" if by_state else "by_rule"
    if kind == "act":
        return act(calls, rng, voice, entity, action, refused=refused)
    return create(calls, rng, voice, entity, refused=refused) if kind == "create" and not by_state else None


def _turned_down(key: str, text: str, trial: Calls, outcome: Refused, wanted: Refusal) -> Step | None:
    if not outcome.reasons or outcome.by_state != (wanted == "by_state"):
        return None
    answer = Answer("reason", outcome.reasons, outcome.message, outcome.message)
    return Step(f"refused:{key}", text, text, trial, answer, refused=True)


def _attempt(operation: Callable[..., Any], *arguments: Any) -> Refused | None:
    try:
        operation(*arguments)
    except Refused as refused:
        return refused
    return None


def _one(
    trial: Calls, rng: random.Random, voice: Voice, entity: str, *, plain: bool = False
) -> tuple[Row, str, dict[str, str]]:
    """A row, its words and the source of its id: named, or chosen by comparison."""
    spec = trial.state.world.entities[entity]
    single = [selection for selection in spec.selections if not selection.each]
    if single and not plain and rng.random() < 0.5:
        say, where = _given(selection := rng.choice(single), rng, voice.currency)
        rows = lookups.matching(trial.state, entity, where)
        name = str(selection.lowest or selection.highest)
        best = _extreme(trial.state, entity, rows, name, highest=selection.highest is not None)
        if best is not None and len(rows) > 1:
            found = lookups.chosen(trial, entity, where)
            function = "max_by" if selection.highest else "min_by"
            return best, say, {"$from": f"{function}({found}, &{name}).id"}
    rows = phrasing.unmistakable(trial.state, entity)
    if not rows:
        raise Unreachable(f"{entity}: no row with a description of its own")
    target = rng.choice(rows)
    return (
        target,
        phrasing.described(trial.state, entity, target, voice),
        lookups.identified(trial, Reference(entity, target["id"])),
    )


def _inputs(
    trial: Calls,
    rng: random.Random,
    voice: Voice,
    entity: str,
    fields: Mapping[str, language.Field],
    *,
    plain: bool = False,
) -> tuple[dict[str, Any], dict[str, str], dict[str, Any]]:
    """Values for the inputs of an operation: as they are, in words, and as arguments."""
    values: dict[str, Any] = {}
    words: dict[str, str] = {}
    arguments: dict[str, Any] = {}
    for name, field in fields.items():
        if field.type == "ref":
            target, words[name], arguments[f"{name}_id"] = _one(trial, rng, voice, str(field.to), plain=plain)
            values[name] = Reference(str(field.to), target["id"])
            continue
        row = {key: value for key, value in values.items() if not isinstance(value, Reference)}
        values[name] = population.made(trial.state, entity, row, field, field.make, rng)
        words[name] = voice.value(field, values[name])
        arguments[name] = values[name]
    return values, words, arguments


def _given(described: language.Selection | language.Question, rng: random.Random, currency: str) -> tuple[str, str]:
    """Words and condition with values for their placeholders."""
    chosen = {name: str(rng.choice(values)) for name, values in described.given.items()}
    where = described.where
    for name, value in chosen.items():
        where = where.replace(f"{{{name}}}", value)
    words = {name: value.replace("_", " ") for name, value in chosen.items()}
    return phrasing.filled(described.say, {**words, "currency": currency}), where


def _extreme(state: State, entity: str, rows: list[Row], name: str, *, highest: bool) -> Row | None:
    """The one row at the end of an order, or None where several share it."""
    values = [state.value(entity, row, name) for row in rows]
    if not rows or None in values:
        return None
    best = max(values) if highest else min(values)
    return rows[values.index(best)] if values.count(best) == 1 else None


def _answer(
    state: State, entity: str, question: language.Question, rows: list[Row], found: str, voice: Voice
) -> Answer | None:
    spec = state.world.entities[entity]
    if question.count:
        return Answer("count", len(rows), {"$from": f"length({found})"}, str(len(rows)))
    if question.total:
        total = sum(row[question.total] for row in rows)
        summed = {"$from": f"sum({found}.{question.total})"}
        if spec.fields[question.total].type == "money":
            return Answer("money", total, summed, voice.money(total))
        return Answer("count", total, summed, str(total))
    name = str(question.lowest or question.highest)
    best = _extreme(state, entity, rows, name, highest=question.highest is not None)
    if best is None:
        return None
    function = "max_by" if question.highest else "min_by"
    source = f"{function}({found}, &{name}).{question.tell}"
    value = state.value(entity, best, str(question.tell))
    if isinstance(value, Reference):
        names = [phrasing.title(state, Reference(value.entity, key)) for key in state.tables[value.entity]]
        return _text_answer(state.world, phrasing.title(state, value), names, source)
    field = spec.fields[str(question.tell)]
    if field.type == "text":
        names = [row[str(question.tell)] for row in state.visible(entity)]
        return _text_answer(state.world, value, names, source)
    return _field_answer(field, value, source, voice)


def _text_answer(world: worlds.World, value: str | None, names: list[Any], source: str) -> Answer | None:
    if value is None or describing.plain(value) in describing.words(world):
        return None
    others = tuple(dict.fromkeys(str(name) for name in names if name and name != value))
    if any(value.casefold() in other.casefold() for other in others):
        return None
    return Answer("text", value, {"$from": source}, value, others)


def _field_answer(field: language.Field, value: Any, source: str, voice: Voice) -> Answer:
    if field.type == "money":
        return Answer("money", value, {"$from": source}, voice.money(value))
    if field.type == "integer":
        return Answer("count", value, {"$from": source}, str(value))
    return Answer("date", value[:10], {"$from": source}, voice.day(value))
