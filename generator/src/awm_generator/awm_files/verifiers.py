"""The verifiers of an import: their modes, and which of several for one task counts."""

import ast
import difflib
from collections.abc import Collection, Iterable
from pathlib import Path

from awm_generator.awm_files import parsing, rows
from awm_runtime import errors, names
from awm_runtime.bundle import model
from awm_runtime.contract import verdicts

_FUNCTIONS: dict[str, verdicts.Mode] = {"verify_task_completion": "code", "verify_task": "sql"}


def mode(source: str) -> verdicts.Mode | None:
    """What mode a verifier has, by the function that it defines; None where it defines neither or is not Python."""
    tree = parsing.parsed(source)
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)} if tree else set()
    return next((mode for name, mode in _FUNCTIONS.items() if name in defined), None)


def chosen(
    found: Iterable[rows.VerifierRow], tasks: Collection[str]
) -> tuple[dict[model.VerifierKey, str], list[model.Finding]]:
    """The verifiers by task and mode, and what is wrong. Of several for one task the last usable one counts."""
    sources: dict[model.VerifierKey, str] = {}
    findings: list[model.Finding] = []
    for row in found:
        task, code = str(row.task_idx), row.verification.code or ""
        kind = mode(code)
        if task not in tasks:
            findings.append(_finding("verifier_without_task", task, "dropped", "there is no such task"))
        elif kind is None:
            detail = "it is not Python that defines verify_task_completion or verify_task"
            findings.append(_finding("unusable_verifier", task, "dropped", detail))
        else:
            if (task, kind) in sources:
                detail = f"several {kind} mode verifiers; the last one counts"
                findings.append(_finding("duplicate_verifier", task, "resolved", detail))
            sources[task, kind] = code
    return sources, [*findings, *unjudged(tasks, sources)]


def unjudged(tasks: Iterable[str], sources: Collection[model.VerifierKey]) -> list[model.Finding]:
    """A finding for each of these tasks that has a verifier of neither mode."""
    without = sorted(set(tasks) - {task for task, _ in sources}, key=lambda task: (len(task), task))
    return [_finding("task_without_verifier", task, "noted", "nothing can judge this task") for task in without]


def in_file(path: Path, scenario: str, task: int, wanted: verdicts.Mode) -> str:
    """The source of one task's verifier in a verifier file; of several usable ones the last counts.

    Raises:
        BundleError: a line of the file is broken, or it has no such verifier; the message says what it has.
    """
    name = names.normalise(scenario)
    found: dict[str, dict[tuple[int, verdicts.Mode | None], str]] = {}
    for row in rows.read(path, rows.VerifierRow):
        code = row.verification.code or ""
        found.setdefault(names.normalise(row.scenario), {})[row.task_idx, mode(code)] = code
    if name not in found:
        close = difflib.get_close_matches(name, found, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else f"it has: {', '.join(list(found)[:5]) or 'none'}"
        raise errors.BundleError(f"{path}: no verifiers for the scenario {scenario!r}; {hint}")
    if (task, wanted) not in found[name]:
        other = [kind for number, kind in found[name] if number == task and kind is not None]
        tasks = sorted(number for number, kind in found[name] if kind == wanted)
        hint = f"it has one in {other[0]} mode" if other else f"tasks with one: {', '.join(map(str, tasks)) or 'none'}"
        raise errors.BundleError(f"{path}: no {wanted} mode verifier for task {task} of {scenario!r}; {hint}")
    return found[name][task, wanted]


def _finding(kind: str, task: str, action: model.Action, detail: str) -> model.Finding:
    return model.Finding(kind=kind, stage="verifier", subject=task, action=action, detail=detail)
