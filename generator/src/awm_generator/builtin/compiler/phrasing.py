"""How people say things: rows by what they are called, dates, sums; and whether that means exactly one row."""

import re
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

_SAME_YEAR_DAYS = 180
_ARTICLE = re.compile(r"\b(?:a|an) $")
_COUNTED = re.compile(r"^ ([a-z]+)")
_AFTER_THE_NOUN = re.compile(r" (?:in|of|per|for|at|from|to|with|on|before|after|that|which|so|still|left|paid) ")
_SINGULARS = {
    "people": "person", "children": "child", "men": "man", "women": "woman", "feet": "foot", "mice": "mouse",
    "loaves": "loaf", "shelves": "shelf", "knives": "knife", "halves": "half", "leaves": "leaf",
    "is": "is", "was": "was", "has": "has", "as": "as", "us": "us", "this": "this", "its": "its", "plus": "plus",
}  # fmt: skip
"""Plurals that do not go by a rule, and words that only look like one."""

_ASKING = (
    "How", "Which", "What", "Who", "Whose", "When", "Where", "At", "In", "On", "By", "For", "To", "From", "Of", "Under"
)  # fmt: skip


@dataclass(frozen=True)
class Voice:
    """The way that one task is worded.

    Attributes:
        today: The day of the scenario's clock.
        dates: `day_first` (14 March), `month_first` (March 14) or `iso`.
    """

    currency: str
    today: date
    dates: str

    def day(self, text: str) -> str:
        """A date as it is said, with the year where it is far from today; one of a moment is enough."""
        day = date.fromisoformat(text[:10])
        if self.dates == "iso":
            return day.isoformat()
        month, year = MONTHS[day.month - 1], day.year if is_far(day, self.today) else None
        if self.dates == "day_first":
            return f"{day.day} {month} {year}" if year else f"{day.day} {month}"
        return f"{month} {day.day}, {year}" if year else f"{month} {day.day}"

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
                yes, no = field.words or ("yes", "no")
                return yes if value else no
            case "choice":
                return str(value).replace("_", " ")
        return str(value)


def is_far(day: date, today: date) -> bool:
    """Whether a day is so far from today that people say its year: another day of its name may be as near."""
    return abs((day - today).days) > _SAME_YEAR_DAYS


def described(state: State, entity: str, row: Mapping[str, Any], voice: Voice) -> str:
    """What people call a row."""
    spec = state.world.entities[entity]
    words = {
        name: str(row[name]).replace("_", " ")
        if spec.states and name == spec.states.field
        else _said(state, spec.fields[name], state.value(entity, row, name), voice)
        for name in expressions.holes(spec.it)
    }
    return filled(spec.it, words)


def filled(template: str, words: Mapping[str, str]) -> str:
    """A text with words in its holes: after an article that fits, and what is counted in the singular after a one."""
    parts: list[str] = []
    counts_one = False
    for part, hole in expressions.pieces(template):
        if hole:
            if parts and _ARTICLE.search(parts[-1]):
                parts[-1] = _ARTICLE.sub(f"{worlds.article(words.get(part, ''))} ", parts[-1])
            parts.append(words.get(part, f"{{{part}}}"))
            counts_one = parts[-1] == "1"
        else:
            parts.append(_COUNTED.sub(lambda match: f" {_singular(match[1])}", part) if counts_one else part)
            counts_one = False
    return "".join(parts)


def _singular(word: str) -> str:
    if word in _SINGULARS:
        return _SINGULARS[word]
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    if word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def changed(field: language.Field, name: str, row: str | None, value: str) -> str:
    """The clause for a new value of a field, in words, of a row; with None for the row, of the user's own."""
    label = worlds.field_label(name, field)
    if field.type == "flag":
        if field.words and row:
            return f"mark {row} as {value}"
        return f"set {label} to {value} for {row}" if row else f"set my {label} to {value}"
    if is_number_of(field, label):
        label = f"number of {label}"
    shown = f'"{value}"' if field.type == "text" else value
    return f"change the {label} of {row} to {shown}" if row else f"change my {label} to {shown}"


def asked(field: language.Field, name: str, row: str) -> str:
    """The question for a field of a row."""
    label = worlds.field_label(name, field)
    if field.ask:
        return field.ask.replace("{it}", row)
    return f"how many {label} does {row} have?" if is_number_of(field, label) else f"what is the {label} of {row}?"


def is_number_of(field: language.Field, label: str) -> bool:
    """Whether a field counts what its label names: pages, parking spaces, places in all; but not terms in days."""
    noun = _AFTER_THE_NOUN.split(label)[0].split()[-1]
    measured = " in " in label and not label.endswith(" in all")
    counted = noun in _SINGULARS or (noun.endswith("s") and not noun.endswith("ss"))
    return field.type == "integer" and counted and not measured


def said(state: State, field: language.Field, value: Any, voice: Voice) -> str:
    """A value, or the row that it refers to, as people say it."""
    return _said(state, field, value, voice)


def unmistakable(state: State, entity: str) -> list[Row]:
    """The rows of the signed-in user that no other visible row shares a description with."""
    return list(_unmistakable(state, entity, {}).values())


def _unmistakable(state: State, entity: str, known: dict[str, dict[int, Row]]) -> dict[int, Row]:
    """The same by id; `known` holds those of the entities that were asked for before."""
    if entity not in known:
        voice = Voice("", state.world.clock.date(), "day_first")
        rows = state.visible(entity)
        texts = [described(state, entity, row, voice).casefold() for row in rows]
        counted = Counter(texts)
        known[entity] = {
            row["id"]: row
            for row, text in zip(rows, texts, strict=True)
            if counted[text] == 1 and "{" not in text and _complete(state, entity, row, known)
        }
    return known[entity]


def _complete(state: State, entity: str, row: Row, known: dict[str, dict[int, Row]]) -> bool:
    """Whether everything that the description names is there, and leads on to rows that are described as well."""
    for name in expressions.holes(state.world.entities[entity].it):
        value = state.value(entity, row, name)
        if value is None:
            return False
        if isinstance(value, Reference) and value.id not in _unmistakable(state, value.entity, known):
            return False
    return True


def _said(state: State, field: language.Field, value: Any, voice: Voice) -> str:
    if isinstance(value, Reference):
        return described(state, value.entity, state.tables[value.entity][value.id], voice)
    return voice.value(field, value)


def within(clause: str) -> str:
    """A clause as it goes on in a sentence: a question's first word in lower case."""
    first = clause.split(" ", 1)[0]
    return clause[:1].lower() + clause[1:] if first in _ASKING else clause


def sentence(clause: str) -> str:
    """A clause as a sentence."""
    text = clause[:1].upper() + clause[1:]
    return text if text.endswith(("?", ".", '."')) else f"{text}."


def title(state: State, found: Reference) -> str | None:
    """The name of a row that replies show."""
    name = worlds.title_field(state.world.entities[found.entity])
    return None if name is None else str(state.tables[found.entity][found.id][name])
