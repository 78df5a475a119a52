"""A world: one blueprint with its modules, all choices made. What every later step of the compiler reads."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from awm_generator.builtin import language

_SOUNDS_LIKE_A_CONSONANT = re.compile(r"eu|one\b|once|uni(?!n)|us[aeu]|uti|uro")
Kind = Literal["me", "list", "get", "create", "update", "delete", "summary", "action", "bulk"]


@dataclass(frozen=True)
class Style:
    """How a scenario's interface looks.

    Attributes:
        prefix: Before every path.
        kebab: Whether paths have dashes instead of underscores.
        verbs: The verb of each kind of tool.
        items: The name of the rows in a list's reply.
        offset: Whether lists are paged by offset and limit instead of page and page_size.
        update_method: PATCH or PUT.
        mine: Whether tools of the user's own rows say so in their names.
    """

    prefix: str
    kebab: bool
    verbs: Mapping[str, str]
    items: str
    offset: bool
    update_method: str
    mine: bool


@dataclass(frozen=True)
class Tool:
    """One operation of the app."""

    kind: Kind
    name: str
    method: str
    path: str
    entity: str
    action: str = ""

    @property
    def reads(self) -> bool:
        """Whether it changes nothing."""
        return self.method == "GET"


@dataclass(frozen=True, eq=False)
class World:
    """What a scenario is made from. Two are equal only when they are the same one, so that they can be keys.

    Attributes:
        name: The scenario's name.
        user: The entity that the signed-in user is a row of.
        entities: In an order in which none refers to a later one.
        categories: By entity, whether the blueprint or which module it comes from.
    """

    blueprint: str
    category: str
    name: str
    title: str
    about: str
    clock: datetime
    currency: str
    user: str
    entities: Mapping[str, language.Entity]
    vocabulary: Mapping[str, tuple[str, ...]]
    style: Style
    tools: tuple[Tool, ...]
    modules: tuple[str, ...]
    seed: str

    def tool(self, kind: Kind, entity: str, action: str = "") -> Tool | None:
        """The tool of this kind, if the scenario has it."""
        return next((t for t in self.tools if (t.kind, t.entity, t.action) == (kind, entity, action)), None)

    def children(self, entity: str) -> Iterator[tuple[str, str]]:
        """Entities and their fields that refer to `entity`."""
        for key, other in self.entities.items():
            for name, field in other.fields.items():
                if field.type == "ref" and field.to == entity:
                    yield key, name

    def owner_path(self, entity: str) -> tuple[str, ...]:
        """The references that lead from a row to the user that it belongs to; empty where it belongs to nobody."""
        owner = self.entities[entity].owner
        return tuple(owner.split(".")) if owner else ()


def label(world: World, entity: str) -> str:
    """What people call one of them: `boat booking`."""
    return world.entities[entity].label or entity.replace("_", " ")


def article(word: str) -> str:
    """`a` or `an`, as the word sounds."""
    word = word.casefold()
    vowel = word.startswith(tuple("aeiou")) and not _SOUNDS_LIKE_A_CONSONANT.match(word)
    return "an" if vowel or word.startswith(("hour", "honest", "heir")) else "a"


def plural(world: World, entity: str) -> str:
    """What people call several of them."""
    return world.entities[entity].plural.replace("_", " ")


def field_label(name: str, field: language.Field) -> str:
    """What people call a field."""
    if name == "phone" and not field.label:
        return "phone number"
    return field.label or name.removesuffix("_cents").removesuffix("_on").removesuffix("_at").replace("_", " ")


def column(name: str, field: language.Field) -> str:
    """The field's column."""
    return f"{name}_id" if field.type == "ref" else name


def class_name(entity: str) -> str:
    """The name of its class in the code."""
    return "".join(part.title() for part in entity.split("_"))


def state_values(entity: language.Entity) -> tuple[str, ...]:
    """The states of its life cycle."""
    return tuple(entity.states.seed) if entity.states else ()


def title_field(entity: language.Entity) -> str | None:
    """The text field that names a row for people, where one does."""
    for name in ("name", "title", "number", "code", "subject", "reference"):
        if name in entity.fields and entity.fields[name].type == "text":
            return name
    return next((name for name, field in entity.fields.items() if field.type == "text" and field.unique), None)
