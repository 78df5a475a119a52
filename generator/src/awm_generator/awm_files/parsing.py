"""Parses machine-written Python, without running it."""

import ast
import warnings


def parsed(source: str) -> ast.Module | None:
    """The syntax tree of `source`, or None where it is not Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such code is full of invalid escapes, which are not our caller's business
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
