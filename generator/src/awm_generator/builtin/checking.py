"""Checks a blueprint as its author would want: its words, its sense, and whether its scenarios can be lived in."""

import random
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from awm_generator.builtin import errors, language, reading
from awm_generator.builtin.compiler import (
    expressions,
    lookups,
    meaning,
    phrasing,
    population,
    resolving,
    simulation,
    steps,
    weaving,
    worlds,
)

_VARIANTS = 4
_CREATIONS = 12


def check(file: Path) -> language.Blueprint:
    """The blueprint in a file, when it is sound.

    Raises:
        BlueprintError: it is not; file, line and field are named.
    """
    blueprint, document = reading.blueprint(file)
    users = [name for name, entity in blueprint.entities.items() if entity.user]
    if len(users) != 1:
        said = f"there are {len(users)}: {', '.join(users)}" if users else "there is none"
        raise errors.BlueprintError(document.place("entities"), f"exactly one entity has user: true; {said}")
    _check_titles(blueprint, document)
    documents: dict[str, reading.Document] = {}
    for subject in (_subject(blueprint, document), *_attached(blueprint, file)):
        meaning.check(subject)
        documents |= dict.fromkeys(subject.own, subject.document)
    _check_vocabulary(blueprint, document)
    try:
        _live(blueprint, document, documents)
    except errors.ExpressionError as exc:
        places = (each.place_of(exc.text) for each in dict.fromkeys((document, *documents.values())))
        raise errors.BlueprintError(next(filter(None, places), document.place()), str(exc)) from exc
    return blueprint


def _live(blueprint: language.Blueprint, document: reading.Document, documents: Mapping[str, reading.Document]) -> None:
    """Makes some trial worlds, each entity of which must have rows, and each create tool of which must work.

    Raises:
        BlueprintError: one does not; `documents` are the files of the entities.
        ExpressionError: an expression cannot be computed.
    """
    failures: dict[str, list[str]] = {}
    for variant in range(_VARIANTS):
        state = _checked(weaving.weave(blueprint, document.file, variant, seed=0), document, documents)
        for entity, failure in _creations(state):
            failures.setdefault(entity, []).append(failure)
        _try_all(state)
    for entity, found in failures.items():
        if all(found):
            complaint = "no values were found with which one can be made: its rules contradict each other or the values"
            place = documents[entity].place("entities", entity, "create")
            raise errors.BlueprintError(place, f"{complaint}{found[0]}")


def _try_all(state: simulation.State) -> None:
    """Tries each kind of step once, for what only a row brings to light.

    Raises:
        ExpressionError: an expression cannot be computed.
    """
    for key, maker in steps.makers(state.world).items():
        rng = random.Random(f"{state.world.seed}/check/{key}")  # noqa: S311 - seeded on purpose
        maker(lookups.Calls(state), rng, phrasing.Voice("", state.world.clock.date(), "iso"))


def _check_titles(blueprint: language.Blueprint, document: reading.Document) -> None:
    known = {**weaving.shared_vocabulary(), **blueprint.vocabulary}
    for number, title in enumerate(blueprint.titles):
        for name in expressions.holes(title):
            if name not in known:
                raise errors.BlueprintError(document.place("titles", number), f"the vocabulary has no list {name!r}")


def _check_vocabulary(blueprint: language.Blueprint, document: reading.Document) -> None:
    """A list that nothing takes words from is one that was meant for something, under another name."""
    replaced = set(weaving.shared_vocabulary())
    for name in blueprint.attach.keys() & reading.shipped_modules().keys():
        replaced |= reading.module(reading.shipped_modules()[name]).data.get("vocabulary", {}).keys()
    text = blueprint.model_dump_json(exclude={"vocabulary"})
    for name in blueprint.vocabulary:
        if name not in replaced and not re.search(rf"from {re.escape(name)}\b|{{{re.escape(name)}}}", text):
            complaint = "nothing takes words from this list: no field, no title, and no module has one of its name"
            raise errors.BlueprintError(document.place("vocabulary", name), complaint)


def _subject(blueprint: language.Blueprint, document: reading.Document) -> resolving.Subject:
    vocabulary = {**weaving.shared_vocabulary(), **blueprint.vocabulary}
    return resolving.Subject(document, blueprint.entities, tuple(blueprint.entities), vocabulary)


def _attached(blueprint: language.Blueprint, file: Path) -> Iterator[resolving.Subject]:
    for name, subjects in blueprint.attach.items():
        for subject in subjects or ("",):
            module, document = weaving.attached(blueprint, file, name, subject)
            entities = {**module.entities, **blueprint.entities}
            own = tuple(key for key in module.entities if key not in blueprint.entities)
            words = {**weaving.shared_vocabulary(), **module.vocabulary, **blueprint.vocabulary}
            yield resolving.Subject(document, entities, own, words)


def _checked(
    world: worlds.World, document: reading.Document, documents: Mapping[str, reading.Document]
) -> simulation.State:
    """The rows of a world, each of whose entities has some; `documents` are the files of the entities."""
    names = [tool.name for tool in world.tools]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise errors.BlueprintError(document.place("entities"), f"two tools would be called {twice[0]}")
    state = population.populate(world)
    for entity, spec in world.entities.items():
        if not state.tables[entity]:
            rules = "; ".join(rule.require for rule in _always(spec)) or "none"
            complaint = (
                f"no row could be made that keeps the rules that hold always ({rules}): they contradict the values"
            )
            raise errors.BlueprintError(documents[entity].place("entities", entity, "rules"), complaint)
        _check_choices(state, entity, documents[entity])
    return state


def _always(spec: language.Entity) -> list[language.Rule]:
    return [rule for rule in (*spec.rules, *(spec.create.rules if spec.create else ())) if rule.always]


def _check_choices(state: simulation.State, entity: str, document: reading.Document) -> None:
    """Selections and questions must be about what the tools show."""
    spec = state.world.entities[entity]
    if state.world.tool("list", entity) is None:
        return
    choices: list[tuple[str, tuple[language.Selection | language.Question, ...]]]
    choices = [("selections", spec.selections), ("questions", spec.questions)]
    for kind, described in choices:
        for number, each in enumerate(described):
            where = each.where
            for name, values in each.given.items():
                where = where.replace(f"{{{name}}}", str(values[0]))
            try:
                lookups.chosen(lookups.Calls(state), entity, where)
                lookups.matching(state, entity, where)
            except (ValueError, errors.ExpressionError) as exc:
                raise errors.BlueprintError(
                    document.place("entities", entity, kind, number, "where"), str(exc)
                ) from exc


def _creations(state: simulation.State) -> Iterator[tuple[str, str]]:
    """For each entity that a tool makes whether it can be made: nothing, or the last refusal."""
    voice = phrasing.Voice("", state.world.clock.date(), "iso")
    for entity, spec in state.world.entities.items():
        if spec.create is None or not spec.create.say or state.world.tool("create", entity) is None:
            continue
        rng = random.Random(f"{state.world.seed}/check/{entity}")  # noqa: S311 - seeded on purpose
        calls = lookups.Calls(state)
        if any(steps.create(calls, rng, voice, entity) is not None for _ in range(_CREATIONS)):
            yield entity, ""
            continue
        refused = steps.create(calls, rng, voice, entity, refused="by_rule")
        said = refused.answer.shown if refused and refused.answer else "no rows to refer to"
        yield entity, f"; the last one was refused: {said}"
