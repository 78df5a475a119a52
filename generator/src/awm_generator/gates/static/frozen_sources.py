"""The code draws time and chance only from sources that the server freezes."""

import ast
from collections.abc import Iterator

from awm_generator.gates import protocol, subjects

_MODULES = {
    "numpy": "numpy has randomness of its own",
    "arrow": "arrow reads the clock by itself",
    "pendulum": "pendulum reads the clock by itself",
    "faker": "Faker has randomness of its own",
    "ulid": "ULIDs are made of the clock",
    "nanoid": "nanoid draws from the system's randomness",
    "threading": "threads end in an order of their own",
    "multiprocessing": "processes end in an order of their own",
    "concurrent": "workers end in an order of their own",
}
_FUNCTIONS = {
    ("os", "getpid"): "a process id differs from run to run",
    ("os", "times"): "processor times differ from run to run",
    ("os", "cpu_count"): "it differs from machine to machine",
    ("time", "sleep"): "it waits on the real clock",
    ("asyncio", "sleep"): "it waits on the real clock",
    ("utils", "localtime"): "email.utils reads the clock by itself",
    ("utils", "formatdate"): "email.utils reads the clock by itself",
    ("importlib", "import_module"): "modules that come by it are not frozen",
}
_BUILT_IN = {"id": "an object's address differs from run to run"}
_FROZEN_BY_ZERO = {"time.sleep", "asyncio.sleep"}


def find(subject: subjects.Subject) -> Iterator[protocol.Found]:
    """A defect per line that reads what is not frozen."""
    lines = subject.bundle.environment.splitlines()
    for node in ast.walk(subject.tree):
        for what, reason in _unfrozen(node):
            line = getattr(node, "lineno", 0)
            source = lines[line - 1].strip() if 0 < line <= len(lines) else ""
            yield protocol.Found(f"line {line}", f"{what}: {reason}", {"code": source})


def _unfrozen(node: ast.AST) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        yield from ((name, _MODULES[name.split(".")[0]]) for name in modules if name.split(".")[0] in _MODULES)
    if not isinstance(node, ast.Call):
        return
    function = node.func
    if isinstance(function, ast.Name) and function.id in _BUILT_IN and len(node.args) == 1:
        yield f"{function.id}()", _BUILT_IN[function.id]
    if isinstance(function, ast.Attribute):
        owner = function.value.attr if isinstance(function.value, ast.Attribute) else getattr(function.value, "id", "")
        what = f"{owner}.{function.attr}"
        if (owner, function.attr) in _FUNCTIONS and not (what in _FROZEN_BY_ZERO and _is_zero(node)):
            yield f"{what}()", _FUNCTIONS[owner, function.attr]


def _is_zero(call: ast.Call) -> bool:
    return bool(call.args) and isinstance(call.args[0], ast.Constant) and not call.args[0].value


GATE = protocol.Gate(
    id="static.frozen-sources",
    severity="fail",
    checks="Time and chance come from what the server freezes: datetime, time, random, uuid, secrets, SQL functions.",
    example="line 12: os.getpid(): a process id differs from run to run",
    mend="Use datetime, random or uuid: they follow the bundle's clock and the episode's seed.",
    find=find,
)
