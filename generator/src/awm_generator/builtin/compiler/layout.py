"""Small helpers that lay Python source out as a formatter would: one line where it fits, else one part per line."""

import json
from collections.abc import Iterable, Sequence

WIDTH = 120


def call(head: str, parts: Sequence[str], tail: str = ")", *, indent: int = 0) -> str:
    """`head`, the parts with commas between them, and `tail`; broken where the line would be too long."""
    one = f"{' ' * indent}{head}{', '.join(parts)}{tail}"
    if len(one) <= WIDTH and "\n" not in one:
        return one
    pad = " " * indent
    inner = f"{pad}    {', '.join(parts)}"
    if (
        not head.endswith(("def", "[", "{"))
        and len(inner) <= WIDTH
        and "=" not in ", ".join(parts)
        and "\n" not in inner
    ):
        return f"{pad}{head}\n{inner}\n{pad}{tail}"
    lines = "".join(f"{pad}    {part},\n" for part in parts)
    return f"{pad}{head}\n{lines}{pad}{tail}"


def quoted(text: str) -> str:
    """A text as a Python literal in double quotes."""
    return json.dumps(text, ensure_ascii=False)


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
