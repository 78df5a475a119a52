"""The code does what a web service over SQLite needs, and nothing else: no files, network, processes, eval."""

import ast
from collections.abc import Iterator

from awm_generator.awm_files import parsing
from awm_generator.gates import protocol, subjects

_IMPORTS = frozenset(
    """
    __future__ abc annotationlib base64 bisect calendar collections contextlib contextvars copy dataclasses datetime
    dateutil decimal difflib email enum fastapi fractions functools hashlib heapq hmac html itertools json logging math
    numbers operator os pydantic pydantic_core random re secrets sqlalchemy sqlite3 starlette statistics string sys
    textwrap time traceback types typing typing_extensions unicodedata urllib uuid uvicorn warnings zoneinfo asyncio
    fastapi_mcp
    """.split()  # noqa: SIM905 - one name a line would fill a page
)
_WITHIN = {"urllib": ("urllib.parse", "urllib"), "email": ("email.utils", "email")}
_OS = frozenset({"environ", "getenv", "path", "urandom", "getpid", "linesep", "sep"})
_SYS = frozenset({"maxsize", "version_info", "float_info", "version", "stdout", "stderr", "argv", "path", "exit"})
_BUILT_INS = frozenset({"open", "eval", "exec", "compile", "__import__", "input", "breakpoint", "globals", "vars"})
_ATTRIBUTES = frozenset(
    {"__subclasses__", "__globals__", "__builtins__", "__bases__", "__mro__", "__code__", "__closure__", "__loader__"}
)
_ASYNCIO = frozenset({"create_subprocess_exec", "create_subprocess_shell", "open_connection", "start_server"})
_PATHS = frozenset({"read_text", "write_text", "read_bytes", "write_bytes", "unlink", "rmdir", "mkdir"})


def find(subject: subjects.Subject) -> Iterator[protocol.Found]:
    """A defect per use of what is not allowed."""
    lines = subject.bundle.environment.splitlines()
    for line, what in violations(subject.bundle.environment):
        source = lines[line - 1].strip() if 0 < line <= len(lines) else ""
        yield protocol.Found(f"line {line}", f"{what} is not allowed", {"code": source})


def violations(source: str) -> list[tuple[int, str]]:
    """What code does that it must not: the line, and what; nothing where it is not Python."""
    tree = parsing.parsed(source) or ast.Module([], [])
    return list(dict.fromkeys((getattr(node, "lineno", 0), what) for node in ast.walk(tree) for what in _uses(node)))


def _uses(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (f"import of {alias.name}" for alias in node.names if not _importable(alias.name))
    elif isinstance(node, ast.ImportFrom):
        yield from _from_import(node)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        yield from _call(node.func.id, node.args)
    elif isinstance(node, ast.Attribute):
        yield from _attribute(node)


def _from_import(node: ast.ImportFrom) -> Iterator[str]:
    module = node.module or "."
    names = [alias.name for alias in node.names]
    if not _importable(module) and not any(_importable(f"{module}.{name}") for name in names):
        yield f"import of {module}"
    allowed = {"os": _OS, "sys": _SYS}.get(module)
    yield from (f"import of {module}.{name}" for name in names if allowed is not None and name not in allowed)


def _importable(module: str) -> bool:
    package = module.split(".")[0]
    return package in _IMPORTS and (package not in _WITHIN or module in _WITHIN[package])


def _call(function: str, arguments: list[ast.expr]) -> Iterator[str]:
    if function in _BUILT_INS:
        yield f"{function}()"
    elif function == "getattr" and arguments and getattr(arguments[0], "id", "") in ("os", "sys"):
        yield "getattr() of a module"


def _attribute(node: ast.Attribute) -> Iterator[str]:
    owner = getattr(node.value, "id", "")
    if owner == "os" and node.attr not in _OS:
        yield f"os.{node.attr}"
    elif (owner == "sys" and node.attr not in _SYS) or (owner == "asyncio" and node.attr in _ASYNCIO):
        yield f"{owner}.{node.attr}"
    elif node.attr in _ATTRIBUTES or node.attr in _PATHS:
        yield f".{node.attr}"


GATE = protocol.Gate(
    id="static.code",
    severity="quarantine",
    checks="The code imports what a FastAPI service over SQLite needs; it touches no files, network or processes, "
    "and makes no code out of text.",
    example="line 3: import of subprocess is not allowed",
    mend="Do it with rows of the database, or leave it out: at run time it is refused anyway.",
    find=find,
)
