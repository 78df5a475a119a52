"""Parses machine-written Python, without running it."""

import ast
import threading
import warnings

# Imports parse in several threads, while the filters of warnings are the whole process's, and so is the depth that
# Python before 3.11.5 counts in (SystemError: AST constructor recursion depth mismatch, gh-106905).
_ONE_AT_A_TIME = threading.Lock()


def parsed(source: str) -> ast.Module | None:
    """The syntax tree of `source`, or None where it is not Python."""
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such code is full of invalid escapes, which are not our caller's business
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
