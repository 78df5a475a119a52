"""Finds module state that outlives a call: such code needs a process of its own per episode."""

import ast
from collections.abc import Iterator

from awm_generator.awm_files import parsing

_CONTAINERS = frozenset(
    {"list", "dict", "set", "bytearray", "deque", "defaultdict", "OrderedDict", "Counter", "count", "cycle"}
)
_MUTATORS = frozenset(
    {"add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem", "popleft", "remove"}
    | {"reverse", "setdefault", "sort", "update"}
)
_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def mutations(source: str) -> tuple[str, ...]:
    """Where functions of `source` change state of their module, as `line 12: _cache[...]`; empty for none."""
    tree = parsing.parsed(source)
    if tree is None:
        return ()
    bound, containers = _module_names(tree)
    found = {
        (node.lineno, what)
        for function in ast.walk(tree)
        if isinstance(function, _Function)
        for node, what in _changes(function, bound - _locals(function), containers - _locals(function))
    }
    return tuple(f"line {line}: {what}" for line, what in sorted(found))


def _module_names(tree: ast.Module) -> tuple[set[str], set[str]]:
    """The names that the module binds to values or classes, and those of them that are containers."""
    bound, containers = set(), set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            plain = {target.id for target in targets if isinstance(target, ast.Name)}
            bound |= plain
            if node.value is not None and _is_container(node.value):
                containers |= plain
    return bound, containers


def _is_container(value: ast.expr) -> bool:
    if isinstance(value, ast.Call):
        name = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
        return name in _CONTAINERS
    return isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)


def _locals(function: _Function) -> set[str]:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    stores = {node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return {argument.arg for argument in named if argument} | stores


def _changes(function: _Function, bound: set[str], containers: set[str]) -> Iterator[tuple[ast.stmt | ast.expr, str]]:
    for node in ast.walk(function):
        if isinstance(node, ast.Global):
            yield node, f"global {', '.join(node.names)}"
        elif isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            if _root(node) in bound:
                yield node, f"{_root(node)}{'[...]' if isinstance(node, ast.Subscript) else '.' + node.attr} is set"
        elif isinstance(node, ast.Call):
            yield from _call_changes(node, containers)


def _call_changes(call: ast.Call, containers: set[str]) -> Iterator[tuple[ast.expr, str]]:
    function = call.func
    if isinstance(function, ast.Attribute) and function.attr in _MUTATORS and _root(function.value) in containers:
        yield call, f"{_root(function.value)}.{function.attr}()"
    if isinstance(function, ast.Name) and function.id == "next" and call.args and _root(call.args[0]) in containers:
        yield call, f"next({_root(call.args[0])})"


def _root(node: ast.expr) -> str | None:
    while isinstance(node, ast.Subscript | ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None
