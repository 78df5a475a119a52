"""Weaves a blueprint and modules into a world: which parts, which names, which style. Cheap: no code is made here."""

import functools
import random
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from awm_generator.builtin import errors, language, reading, shorthand
from awm_generator.builtin.compiler import naming, worlds

_FIRST_DAY = datetime(2026, 2, 2, 9, tzinfo=UTC)
_DAYS = 300
MAYBE = "maybe "
_KEPT = 0.6
_KEPT_TOOLS = 0.3
_KEPT_BESIDE_A_LIST = 0.35
_COUNTED = re.compile(r"(?:count|total|overlapping|create)\(\s*['\"](\w+)['\"]")
_SLOT = re.compile(r"<(subject|user)(\.label|\.plural)?>")


def weave(blueprint: language.Blueprint, file: Path, variant: int, seed: int, attempt: int = 0) -> worlds.World:
    """One world of a blueprint; the same for the same arguments.

    Args:
        blueprint: What it is made from.
        file: Where that stands, for complaints.
        variant: The how-manieth of this blueprint.
        seed: The run's seed.
        attempt: Counts up where an earlier attempt came out like another scenario.

    Raises:
        BlueprintError: a module is unknown or does not fit.
    """
    key = f"{seed}/{blueprint.blueprint}/{variant}/{attempt}"
    rng = random.Random(key)  # noqa: S311 - seeded on purpose
    entities, modules = _chosen(blueprint, file, rng)
    entities = _thinned(entities, rng)
    vocabulary = {**shared_vocabulary(), **blueprint.vocabulary}
    for name, _ in modules:
        vocabulary = {**_module_vocabulary(name), **vocabulary}
    title = _title(rng.choice(blueprint.titles), vocabulary, rng)
    style = naming.style(rng)
    user = next(name for name, entity in entities.items() if entity.user)
    ordered = _in_order(entities, file)
    return worlds.World(
        blueprint=blueprint.blueprint,
        category=blueprint.category,
        name=re.sub(r"_+", "_", re.sub(r"[^a-z0-9]", "_", title.lower().replace("'", ""))).strip("_"),
        title=title,
        about=blueprint.about,
        clock=_FIRST_DAY + timedelta(days=rng.randrange(_DAYS)),
        currency=blueprint.currency,
        user=user,
        entities=ordered,
        vocabulary=vocabulary,
        style=style,
        tools=naming.tools(ordered, user, style),
        modules=tuple(name for name, _ in modules),
        seed=key,
    )


@functools.cache
def shared_vocabulary() -> dict[str, tuple[str, ...]]:
    """The lists of words that every blueprint may use."""
    file = Path(__file__).parent.parent / "vocabulary.yaml"
    return {name: tuple(map(str, words)) for name, words in reading.parse(file).data.items()}


@functools.cache
def module(
    name: str, subject: str, label: str, plural: str, user: str, user_label: str
) -> tuple[language.Module, reading.Document]:
    """A shipped module with its slots filled, and its document.

    Raises:
        BlueprintError: the module's own file is wrong.
    """
    words = {
        "subject": subject, "subject.label": label, "subject.plural": plural,
        "user": user, "user.label": user_label,
    }  # fmt: skip
    document = reading.module(reading.shipped_modules()[name]).filled(
        lambda text: _SLOT.sub(lambda match: words[match[1] + (match[2] or "")], text)
    )
    return reading.validated(language.Module, document), document


@functools.cache
def _module_vocabulary(name: str) -> Mapping[str, tuple[str, ...]]:
    data = reading.module(reading.shipped_modules()[name]).data
    return {key: tuple(map(str, words)) for key, words in data.get("vocabulary", {}).items()}


def attached(
    blueprint: language.Blueprint, file: Path, name: str, subject: str
) -> tuple[language.Module, reading.Document]:
    """The module as this blueprint attaches it, and its document.

    Raises:
        BlueprintError: there is no such module or entity.
    """
    user, spec = next((key, entity) for key, entity in blueprint.entities.items() if entity.user)
    target = blueprint.entities.get(subject)
    if name not in reading.shipped_modules() or (subject and target is None):
        document = reading.parse(file)
        known = reading.shipped_modules() if target or not subject else blueprint.entities
        what = f"unknown module {name!r}" if name not in reading.shipped_modules() else f"unknown entity {subject!r}"
        raise errors.BlueprintError(document.place("attach", name), f"{what}; there are {', '.join(known)}")
    if not subject and reading.module(reading.shipped_modules()[name]).data.get("slots") != "none":
        place = reading.parse(file).place("attach", name)
        raise errors.BlueprintError(
            place, f"module {name} needs an entity: write {name}: [{next(iter(blueprint.entities))}]"
        )
    label = (target.label if target else "") or subject.replace("_", " ")
    plural = target.plural.replace("_", " ") if target else ""
    return module(name, subject, label, plural, user, spec.label or user.replace("_", " "))


def _chosen(
    blueprint: language.Blueprint, file: Path, rng: random.Random
) -> tuple[dict[str, language.Entity], list[tuple[str, str]]]:
    """The blueprint's entities with those of some modules."""
    low, high, _ = shorthand.bounds(blueprint.modules)
    offered = list(blueprint.attach)
    count = min(rng.randint(low, high), len(offered))
    entities = dict(blueprint.entities)
    chosen: list[tuple[str, str]] = []
    for name in sorted(rng.sample(offered, count), key=offered.index):
        subject = rng.choice(blueprint.attach[name]) if blueprint.attach[name] else ""
        for key, entity in attached(blueprint, file, name, subject)[0].entities.items():
            entities.setdefault(key, entity)
        chosen.append((name, subject))
    return entities, chosen


def _thinned(entities: Mapping[str, language.Entity], rng: random.Random) -> dict[str, language.Entity]:
    """The entities without some of what may be left out; what another part needs stays."""
    kept = {name for name, entity in entities.items() if not entity.maybe or rng.random() < _KEPT}
    while missing := {other for name in kept for other in needs(entities[name]) if other in entities} - kept:
        kept |= missing
    return {name: _thin(entity, rng) for name, entity in entities.items() if name in kept}


def needs(entity: language.Entity) -> Iterator[str]:
    """The entities that an entity cannot do without: what it refers to, and what its expressions count."""
    for field in entity.fields.values():
        if field.type == "ref":
            yield str(field.to)
    for text in _expressions(entity):
        yield from _COUNTED.findall(text)


def _expressions(entity: language.Entity) -> Iterator[str]:
    rules = [*entity.rules, *(rule for action in entity.actions.values() for rule in action.rules)]
    yield from entity.shows.values()
    yield from entity.seeded
    yield from (text for field in entity.fields.values() for text in (field.set, field.begins) if text)
    for action in entity.actions.values():
        yield from action.do
    if entity.create:
        rules += entity.create.rules
        yield from entity.create.do
    yield from (rule.require for rule in rules)


def _thin(entity: language.Entity, rng: random.Random) -> language.Entity:
    tools = _thin_tools(entity.tools, rng)
    fields = {name: field for name, field in entity.fields.items() if not field.maybe or rng.random() < 0.5}
    actions = {
        name: action.model_copy(update={"bulk": action.bulk and rng.random() < _KEPT_BESIDE_A_LIST})
        for name, action in entity.actions.items()
        if not action.maybe or rng.random() < 0.66
    }
    return entity.model_copy(update={"tools": tools, "fields": fields, "actions": actions})


def _thin_tools(offered: tuple[str, ...], rng: random.Random) -> tuple[str, ...]:
    """The kinds of tools that stay; a list's rows say all that `get` says, so that both are seldom needed."""
    listed = "list" in offered
    return tuple(
        each.removeprefix(MAYBE)
        for each in offered
        if (not each.startswith(MAYBE) or rng.random() < _KEPT_TOOLS)
        and (each != "get" or not listed or rng.random() < _KEPT_BESIDE_A_LIST)
    )


def _in_order(entities: Mapping[str, language.Entity], file: Path) -> dict[str, language.Entity]:
    """The entities, each after those that it refers to."""
    ordered: dict[str, language.Entity] = {}
    waiting = dict(entities)
    while waiting:
        ready = [
            name
            for name, entity in waiting.items()
            if all(field.to in ordered or field.to == name for field in entity.fields.values() if field.type == "ref")
        ]
        if not ready:
            name = next(iter(waiting))
            place = reading.parse(file).place("entities", name)
            raise errors.BlueprintError(place, f"refers in a circle: {', '.join(waiting)}; make one reference a text")
        for name in ready:
            ordered[name] = waiting.pop(name)
    return ordered


def _title(pattern: str, vocabulary: Mapping[str, tuple[str, ...]], rng: random.Random) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: rng.choice(vocabulary[match[1]]), pattern)
