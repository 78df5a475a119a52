"""Runs an import's verifiers on the untouched database, where none may say complete."""

import tempfile
from pathlib import Path

from awm_runtime.bundle import database, model
from awm_runtime.verification import sandbox


def findings(bundle: model.Bundle) -> list[model.Finding]:
    """A finding for each code mode verifier that says complete, or fails, where nothing was done."""
    sources = {task.id: source for task in bundle.tasks if (source := bundle.verifiers.get((task.id, "code")))}
    if not sources:
        return []
    with tempfile.TemporaryDirectory(prefix="awm-untouched-") as folder, sandbox.local_judge() as judge:
        initial, final = Path(folder, "initial.db"), Path(folder, "final.db")
        database.build(bundle.schema_sql, bundle.seed_sql, bundle.clock, initial, bundle.scenario.foreign_keys)
        final.write_bytes(initial.read_bytes())
        replies = {
            task: judge.run(sandbox.JudgeRequest(source=source, mode="code", initial=initial, final=final))
            for task, source in sources.items()
        }
    return [found for task, reply in replies.items() for found in of_reply(task, reply)]


def of_reply(task: str, reply: sandbox.JudgeReply) -> list[model.Finding]:
    """What a reply about the untouched database says about a task's verifier; nothing where all is well."""
    if reply.failure == "unavailable":
        return [_finding("verifier_untried", task, f"it could not be tried here: {reply.detail}")]
    if reply.result is None:
        return [_finding("verifier_fails", task, f"on the untouched database: {reply.failure}: {reply.detail}")]
    if reply.result["result"] == "complete":
        detail = "it says complete on the untouched database, so that doing nothing is rewarded"
        return [_finding("complete_on_untouched", task, detail)]
    return []


def _finding(kind: str, task: str, detail: str) -> model.Finding:
    return model.Finding(kind=kind, stage="verifier", subject=task, detail=detail)
