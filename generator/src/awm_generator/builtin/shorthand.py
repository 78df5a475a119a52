"""The one-line form of a field: `choice kayak|canoe*2, filter` instead of a table of keys."""

import re
from typing import Any

TYPES = ("text", "integer", "money", "date", "moment", "choice", "flag", "ref", "stamp")
FLAGS = ("unique", "optional", "search", "filter", "sort", "create", "edit", "input")

_RANGE = re.compile(r"([+-]?\d+)\.\.([+-]?\d+)(?:/(\d+))?")


def expand(text: str) -> dict[str, Any]:
    """A field's keys from its one-line form: a type with its argument, then flags, with commas between them.

    Raises:
        ValueError: a word is not known; the message says what is.
    """
    head, *flags = (part.strip() for part in text.split(","))
    kind, _, argument = head.partition(" ")
    if kind not in TYPES:
        raise ValueError(f"unknown type {kind!r}; there are {', '.join(TYPES)}")
    field: dict[str, Any] = {"type": kind, **_argument(kind, argument.strip())}
    for flag in flags:
        if flag not in FLAGS:
            raise ValueError(f"unknown flag {flag!r}; there are {', '.join(FLAGS)}")
        field |= {"create": True, "edit": True} if flag == "input" else {flag: True}
    return field


def bounds(text: str) -> tuple[int, int, int]:
    """`-3..40/5` as (low, high, step).

    Raises:
        ValueError: it is not a range, or ends before it begins.
    """
    match = _RANGE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a range; write LOW..HIGH or LOW..HIGH/STEP, for example 5..40/5")
    low, high, step = int(match[1]), int(match[2]), int(match[3] or 1)
    if low > high or step == 0:
        raise ValueError(f"{text!r} is an empty range: its first number is above its second, or its step is 0")
    return low, high, step


def choices(text: str) -> dict[str, int]:
    """`red*3|green` as the values with their weights."""
    weighted = [part.strip().partition("*") for part in text.split("|")]
    return {name: int(weight) if weight.isdigit() else 1 for name, _, weight in weighted}


def _argument(kind: str, argument: str) -> dict[str, Any]:
    if kind == "choice":
        values = choices(argument)
        if len(values) < 2:
            raise ValueError("a choice needs two values or more: choice red|green|blue")
        return {"values": values}
    if kind == "ref":
        return {"to": argument}
    if kind == "flag":
        return {"make": argument.removesuffix("%") or "50"}
    return {"make": argument} if argument else {}
