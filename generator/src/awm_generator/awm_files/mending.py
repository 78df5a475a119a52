"""Mends unambiguous slips in machine-written SQL. Pure: whether a statement works is asked of the caller."""

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Works = Callable[[str], bool]

_MOST_APOSTROPHES = 8  # each doubles the ways to mend a statement
_LITERALS = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/""", re.DOTALL)
_APOSTROPHE = re.compile(r"(?<=[^\s'(,=])'(?!')(?!\s*(?:[,);]|\|\||$))")


@dataclass(frozen=True)
class Mend:
    """A statement that works now, and what was wrong with it."""

    statement: str
    kind: str
    detail: str


def mend(statement: str, works: Works) -> Mend | None:
    """A mended `statement`, or None where nothing helps or several readings of one kind do.

    The kinds are tried from the safest to the boldest.
    """
    for readings in (_backslashes, _parenthesis, _apostrophes):
        working = [reading for reading in readings(statement) if works(reading.statement)]
        if working:
            return working[0] if len(working) == 1 else None
    return None


def _backslashes(statement: str) -> Iterator[Mend]:
    mended = statement.replace("\\'", "''").replace('\\"', '"')
    if mended != statement:
        yield Mend(mended, "backslash_quotes", "quotes escaped with a backslash are now doubled")


def _parenthesis(statement: str) -> Iterator[Mend]:
    plain = _LITERALS.sub("", statement)
    if plain.count("(") == plain.count(")") + 1:
        mended = statement.rstrip().removesuffix(";").rstrip() + ");"
        yield Mend(mended, "missing_parenthesis", "the closing parenthesis at the end was missing")


def _apostrophes(statement: str) -> Iterator[Mend]:
    """Every way to double some of the quotes that stand where neither an opening nor a closing one does."""
    places = [match.start() for match in _APOSTROPHE.finditer(statement)]
    if len(places) > _MOST_APOSTROPHES:
        return
    for count in range(1, len(places) + 1):
        for chosen in itertools.combinations(places, count):
            mended = "".join(letter * 2 if at in chosen else letter for at, letter in enumerate(statement))
            yield Mend(mended, "unescaped_apostrophe", f"{count} unescaped apostrophe(s) are now doubled")
