"""Runs an import's verifiers on the untouched database, where none may say complete."""

import dataclasses
import tempfile
from pathlib import Path

from awm_generator.awm_files import verifiers
from awm_runtime.bundle import database, model
from awm_runtime.verification import sandbox


def tried(bundle: model.Bundle) -> tuple[model.Bundle, list[model.Finding]]:
    """`bundle` without the code mode verifiers that can judge nothing, and what is wrong with these and with others."""
    findings = [found for task, reply in _replies(bundle).items() for found in of_reply(task, reply)]
    dropped = {finding.subject for finding in findings if finding.action == "dropped"}
    kept = {key: source for key, source in bundle.verifiers.items() if key not in {(task, "code") for task in dropped}}
    findings += verifiers.unjudged(sorted(dropped), kept)
    return dataclasses.replace(bundle, verifiers=kept), findings


def _replies(bundle: model.Bundle) -> dict[str, sandbox.JudgeReply]:
    """What each code mode verifier says, by task, where nothing was done."""
    sources = {task.id: source for task in bundle.tasks if (source := bundle.verifiers.get((task.id, "code")))}
    if not sources:
        return {}
    with tempfile.TemporaryDirectory(prefix="awm-untouched-") as folder, sandbox.local_judge() as judge:
        initial, final = Path(folder, "initial.db"), Path(folder, "final.db")
        database.build(bundle.schema_sql, bundle.seed_sql, bundle.clock, initial, bundle.scenario.foreign_keys)
        final.write_bytes(initial.read_bytes())
        return {
            task: judge.run(sandbox.JudgeRequest(source=source, mode="code", initial=initial, final=final))
            for task, source in sources.items()
        }


def of_reply(task: str, reply: sandbox.JudgeReply) -> list[model.Finding]:
    """What a reply about the untouched database says about a task's verifier; nothing where all is well.

    A verifier that raises is kept: many look up the row that the task is to make, and only fail where there is none.
    """
    if reply.failure == "unavailable":
        return [_finding("verifier_untried", task, "noted", f"it could not be tried here: {reply.detail}")]
    if reply.result is None:
        action: model.Action = "noted" if reply.failure == "crashed" else "dropped"
        detail = f"on the untouched database: {reply.failure}: {reply.detail}"
        return [_finding("verifier_fails", task, action, detail)]
    if reply.result["result"] == "complete":
        detail = "it says complete on the untouched database, so that doing nothing is rewarded"
        return [_finding("complete_on_untouched", task, "noted", detail)]
    return []


def _finding(kind: str, task: str, action: model.Action, detail: str) -> model.Finding:
    return model.Finding(kind=kind, stage="verifier", subject=task, action=action, detail=detail)
