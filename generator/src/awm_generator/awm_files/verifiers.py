"""The verifiers of an import: their modes, and which of several for one task counts."""

import ast
from collections.abc import Collection, Iterable

from awm_generator.awm_files import parsing, rows
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
    without = sorted(set(tasks) - {task for task, _ in sources}, key=lambda task: (len(task), task))
    findings += [_finding("task_without_verifier", task, "noted", "nothing can judge this task") for task in without]
    return sources, findings


def _finding(kind: str, task: str, action: model.Action, detail: str) -> model.Finding:
    return model.Finding(kind=kind, stage="verifier", subject=task, action=action, detail=detail)
