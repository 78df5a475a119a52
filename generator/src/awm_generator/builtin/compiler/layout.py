"""Lays Python source out as a formatter would: lines that are too long are broken at their brackets."""

import json
from collections.abc import Iterable, Iterator, Sequence

WIDTH = 120
BREAK = "\0"
"""Stands between two literals that are one text, and becomes a new line."""

_OPENING, _CLOSING = "([{", ")]}"


def tidy(source: str) -> str:
    """The source with every line that is too long broken at its brackets, the outermost first."""
    return "\n".join(part for line in source.split("\n") for part in _broken(line))


def call(head: str, parts: Sequence[str], tail: str = ")") -> str:
    """`head`, the parts with commas between them, and `tail`; `tidy` breaks it where it is too long."""
    return f"{head}{', '.join(parts)}{tail}"


def quoted(text: str) -> str:
    """A text as a Python literal in double quotes."""
    return json.dumps(text, ensure_ascii=False)


def long_text(name: str, text: str) -> str:
    """`name="..."`, as several literals one below the other where the text is long."""
    whole = f"{name}={quoted(text)}"
    if len(whole) + 5 <= WIDTH:
        return whole
    return f"{name}=" + "\n    ".join(quoted(piece) for piece in pieces(text))


def pieces(text: str, width: int = 90) -> Iterator[str]:
    """A long text in parts of at most `width` characters, broken at its spaces."""
    while len(text) > width and (space := text.rfind(" ", 0, width)) > 0:
        yield text[: space + 1]
        text = text[space + 1 :]
    yield text


def indented(text: str, by: int = 4) -> str:
    """The lines of a text, further right."""
    pad = " " * by
    return "\n".join(f"{pad}{line}" if line else "" for line in text.split("\n"))


def block(lines: Iterable[str]) -> str:
    """Lines with an indent of one level."""
    return "\n".join(indented(line) for line in lines)


def literal_type(values: Sequence[str]) -> str:
    """`Literal["a", "b"]`."""
    return f"Literal[{', '.join(quoted(value) for value in values)}]"


def _broken(line: str) -> Iterator[str]:
    """A line in parts, each short enough where brackets allow it."""
    pad = line[: len(line) - len(line.lstrip())]
    span = _longest_brackets(line, len(pad)) if len(line) > WIDTH or BREAK in line else None
    if span is None:
        yield from (line if number == 0 else pad + line for number, line in enumerate(line.split(BREAK)))
        return
    start, end = span
    inner = line[start + 1 : end]
    parts, mark = _split(inner)
    yield line[: start + 1]
    if (
        line[start] == "("
        and BREAK not in inner
        and len(pad) + 4 + len(inner) <= WIDTH
        and not line.lstrip().startswith("def ")
    ):
        yield f"{pad}    {inner}"
    elif mark == ", ":
        for part in parts:
            yield from _broken(f"{pad}    {part},")
    else:
        for number, part in enumerate(parts):
            yield from _broken(f"{pad}    {mark.lstrip() if number else ''}{part}")
    yield pad + line[end:]


def _longest_brackets(line: str, begin: int) -> tuple[int, int] | None:
    """The outermost brackets that hold most; of equal ones the last."""
    found: list[tuple[int, int]] = []
    stack: list[int] = []
    for position, character in _code(line):
        if character in _OPENING:
            stack.append(position)
        elif character in _CLOSING and stack:
            start = stack.pop()
            if not stack and start >= begin and position - start > 1:
                found.append((start, position))
    return max(reversed(found), key=lambda span: span[1] - span[0], default=None)


def _split(inner: str) -> tuple[list[str], str]:
    """The parts between the commas that stand in no brackets, or else between words; and what was between them."""
    for mark in (" for ", ", ", " or ", " and "):
        parts = _split_at(inner, mark)
        if len(parts) > 1:
            return parts, mark
    return [inner], ""


def _split_at(inner: str, mark: str) -> list[str]:
    parts, depth, last = [], 0, 0
    for position, character in _code(inner):
        if character in _OPENING:
            depth += 1
        elif character in _CLOSING:
            depth -= 1
        elif depth == 0 and inner.startswith(mark, position) and position >= last:
            parts.append(inner[last:position])
            last = position + len(mark)
    return [*parts, inner[last:]]


def _code(text: str) -> Iterator[tuple[int, str]]:
    """The characters that are in no string."""
    quote, escaped = "", False
    for position, character in enumerate(text):
        if quote:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == quote:
                quote = ""
        elif character in "\"'":
            quote = character
        else:
            yield position, character
