"""Reads task texts: what they name, and whether they make something new."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from awm_generator.gates import seeds

_CREATING = re.compile(
    r"\b(?:add|append|assign|book|build|compose|create|draft|enter|file|generate|insert|invite|issue|leave|log|make"
    r"|new|open|order|place|plan|post|publish|put|record|register|request|reserve|rename|save|schedule|send|set up"
    r"|sign|start|submit|upload|write)\b",
    re.IGNORECASE,
)
_NAMING = re.compile(
    r"(?:\b(?:called|named|titled|entitled|labell?ed|saying|says|text|message|note|notes|comment|description|reason"
    r"|subject|title|name|body|content|with|to|as|reading|caption|headline|bio|tag|tagged|keyword|keywords)"
    r"[\s:]*(?:is|of|be|to|as|the|a)?[\s:]*)$",
    re.IGNORECASE,
)
_CREATED = re.compile(
    r"\b(?:create|start|set up|open|make|register|add)\b[^.!?]{0,60}?\b(?:called|named|titled|entitled)\s*$",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"'(?P<single>[^'\n]{2,80})'(?!\w)|\"(?P<double>[^\"\n]{2,80})\"|“(?P<curly>[^”\n]{2,80})”")
_NUMBERED = re.compile(
    r"\b(?P<noun>[a-z]{3,})(?:\s+(?:id|number|no\.?|#))?\s*#?(?P<id>\d{1,9})\b(?![-/.:,]\d)", re.IGNORECASE
)
_WHEN = re.compile(r"[\d\s/.:+-]+(?:T[\d:.+-]+Z?)?$")
_EMAIL = re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b")


@dataclass(frozen=True)
class Named:
    """Something that a task names.

    Attributes:
        text: As it stands in the task.
        introduced: Whether the words before it say that it is a value to be written, which need not be there yet.
        created: Whether they say that something of this name is to be made, which must not be there yet.
    """

    text: str
    introduced: bool
    created: bool


def creates(text: str) -> bool:
    """Whether a task makes something that was not there before, as far as its verbs tell."""
    return _CREATING.search(text) is not None


def stem(word: str) -> str:
    """What the singular and the plural of a noun begin with."""
    single = seeds.singular(word)
    return single[:-1] if single.endswith("y") and len(single) > 3 else single


def named(text: str) -> Iterator[Named]:
    """The quoted names and the e-mail addresses in a task."""
    for match in [*_QUOTED.finditer(text), *_EMAIL.finditer(text)]:
        said = next((part for part in match.groups() if part), None) or match.group()
        if match.start() and text[match.start() - 1].isalnum():
            continue  # an apostrophe
        before = text[: match.start()].rstrip()
        introduced = _NAMING.search(before) is not None or _WHEN.match(said) is not None
        yield Named(said.strip(" .,;"), introduced, _CREATED.search(before) is not None)


def numbered(text: str) -> Iterator[tuple[str, int]]:
    """Each `order 42` or `order #42`: the noun and the number."""
    for match in _NUMBERED.finditer(text):
        yield match["noun"].casefold(), int(match["id"])
