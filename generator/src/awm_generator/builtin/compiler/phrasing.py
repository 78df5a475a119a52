"""How people say things: rows by what they are called, dates, sums; and whether that means exactly one row."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from awm_generator.builtin import language
from awm_generator.builtin.compiler import expressions, worlds
from awm_generator.builtin.compiler.simulation import Reference, Row, State

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip


@dataclass(frozen=True)
class Voice:
    """The way that one task is worded.

    Attributes:
        dates: `day_first` (14 March), `month_first` (March 14) or `iso`.
    """

    currency: str
    dates: str

    def day(self, text: str) -> str:
        """A date as it is said; one of a moment is enough."""
        day = date.fromisoformat(text[:10])
        if self.dates == "iso":
            return day.isoformat()
        month = MONTHS[day.month - 1]
        return f"{day.day} {month}" if self.dates == "day_first" else f"{month} {day.day}"

    def money(self, cents: int) -> str:
        """A sum as it is said."""
        return f"{self.currency}{cents // 100}.{cents % 100:02d}" if cents % 100 else f"{self.currency}{cents // 100}"

    def value(self, field: language.Field, value: Any) -> str:
        """A value of a field as it is said."""
        match field.type:
            case "money":
                return self.money(value)
            case "date":
                return self.day(value)
            case "moment" | "stamp":
                return f"{self.day(value)} at {value[11:16]}"
            case "flag":
                return "yes" if value else "no"
            case "choice":
                return str(value).replace("_", " ")
        return str(value)


def described(state: State, entity: str, row: Mapping[str, Any], voice: Voice) -> str:
    """What people call a row."""
    spec = state.world.entities[entity]
    parts = []
    for part, hole in expressions.pieces(spec.it):
        if not hole:
            parts.append(part)
        elif spec.states and part == spec.states.field:
            parts.append(str(row[part]).replace("_", " "))
        else:
            parts.append(_said(state, spec.fields[part], state.value(entity, row, part), voice))
    return "".join(parts)


def said(state: State, field: language.Field, value: Any, voice: Voice) -> str:
    """A value, or the row that it refers to, as people say it."""
    return _said(state, field, value, voice)


def unmistakable(state: State, entity: str) -> list[Row]:
    """The rows of the signed-in user that no other visible row shares a description with."""
    voice = Voice("", "day_first")
    rows = state.visible(entity)
    texts = [described(state, entity, row, voice).casefold() for row in rows]
    counted = Counter(texts)
    return [
        row
        for row, text in zip(rows, texts, strict=True)
        if counted[text] == 1 and "{" not in text and _complete(state, entity, row)
    ]


def _complete(state: State, entity: str, row: Row) -> bool:
    """Whether everything that the description names is there, and leads on to rows that are described as well."""
    spec = state.world.entities[entity]
    for name in expressions.holes(spec.it):
        value = state.value(entity, row, name)
        if value is None:
            return False
        if isinstance(value, Reference):
            target = state.tables[value.entity][value.id]
            if all(target is not each for each in unmistakable(state, value.entity)):
                return False
    return True


def _said(state: State, field: language.Field, value: Any, voice: Voice) -> str:
    if isinstance(value, Reference):
        return described(state, value.entity, state.tables[value.entity][value.id], voice)
    return voice.value(field, value)


def sentence(clause: str) -> str:
    """A clause as a sentence."""
    text = clause[:1].upper() + clause[1:]
    return text if text.endswith(("?", ".", '."')) else f"{text}."


def title(state: State, found: Reference) -> str | None:
    """The name of a row that replies show."""
    name = worlds.title_field(state.world.entities[found.entity])
    return None if name is None else str(state.tables[found.entity][found.id][name])
