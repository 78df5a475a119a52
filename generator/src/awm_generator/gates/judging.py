"""Has a task's verifier judge its trials: confined, all of them in one process, each with a module of its own."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from awm_generator.gates import trials
from awm_runtime.bundle import model
from awm_runtime.verification import results, sandbox

RUNS = 20
"""A verifier must say the same of the oracle's state in so many runs, half of them in each of two processes."""
DEADLINE_S = 5.0
"""What one run may take; a verifier has six times as long in an episode."""

Failure = Literal["crashed", "timeout", "malformed", "missing_function", "unavailable"]

_TRIALS = "trials.json"

# What is judged instead of the verifier: a module that runs the verifier's own source for each trial in the folder
# that it is given as the final database. It is confined like any verifier; what it returns is checked like any result.
_BATCH = """
import json as _json, os as _os
_CODE = compile({source}, "<verifier>", "exec")

def _one(initial, final, answer):
    import types
    module = types.ModuleType("verifier")
    exec(_CODE, module.__dict__)
    return module.verify_task_completion(initial, final, answer)

def verify_task_completion(initial, folder, answer=None):
    with open(_os.path.join(folder, "trials.json")) as file:
        wanted = _json.load(file)
    said = []
    for state, answer in wanted:
        try:
            said.append({{"said": _json.dumps(_one(initial, _os.path.join(folder, state), answer), allow_nan=False)}})
        except BaseException as exc:
            said.append({{"failure": f"{{type(exc).__name__}}: {{exc}}"[:300]}})
    return {{"result": "others", "said": said}}
"""


@dataclass(frozen=True)
class Judged:
    """A trial and what the verifier said of it: a result or a failure."""

    trial: trials.Trial
    result: Mapping[str, Any] | None
    failure: Failure | None = None
    detail: str = ""

    @property
    def complete(self) -> bool:
        """Whether the verifier gave all there is to give."""
        return self.result is not None and self.result.get("result") == "complete"

    def reply(self) -> sandbox.JudgeReply:
        """The same as the judge says it of a single verification."""
        return sandbox.JudgeReply(
            result=dict(self.result) if self.result is not None else None, failure=self.failure, detail=self.detail
        )

    def evidence(self) -> dict[str, str]:
        """A counterexample: what was called, what that changed, what the verifier said."""
        said = (
            json.dumps(self.result, ensure_ascii=False) if self.result is not None else f"{self.failure}: {self.detail}"
        )
        answer = {"answer": self.trial.answer} if self.trial.answer is not None else {}
        return {"done": self.trial.what, **answer, "verdict": said, "trace": self.trial.calls, "diff": self.trial.diff}


@dataclass(frozen=True)
class TaskSeen:
    """A task and how its verifier judges.

    Attributes:
        evidence: What a sql mode verifier gathers, where no code mode one judges: no verdict, but there to be compared.
        unplayable: Why its oracle cannot be played, where that is so.
        runs: What repeated runs on the oracle's state said; one distinct text where the verifier is steady.
    """

    task: model.Task
    judged: tuple[Judged, ...] = ()
    evidence: tuple[Judged, ...] = ()
    unplayable: trials.Unplayable | None = None
    runs: frozenset[str] = frozenset()

    def of(self, *kinds: trials.Kind) -> list[Judged]:
        """The judged trials of some kinds."""
        return [judged for judged in self.judged if judged.trial.kind in kinds]


@dataclass(frozen=True)
class Seen:
    """What semantic gates look at."""

    bundle: model.Bundle
    tasks: tuple[TaskSeen, ...] = field(default=())


def judge(bundle: model.Bundle, made: Sequence[trials.Made], folder: Path, judges: sandbox.LocalJudge) -> Seen:
    """Judges all trials of a bundle.

    Args:
        bundle: The bundle.
        made: Its trials.
        folder: Where their states are, `seed.db` among them.
        judges: Who runs verifiers.
    """
    return Seen(bundle, tuple(_task(bundle, task, made, folder, judges) for task in bundle.tasks))


def _task(
    bundle: model.Bundle, task: model.Task, made: Sequence[trials.Made], folder: Path, judges: sandbox.LocalJudge
) -> TaskSeen:
    source = bundle.verifiers.get((task.id, "code"))
    own = [each for each in made if each.task == task.id]
    unplayable = next((each for each in own if isinstance(each, trials.Unplayable)), None)
    wanted = [each for each in own if isinstance(each, trials.Trial) and (folder / each.state).is_file()]
    evidence = bundle.verifiers.get((task.id, "sql"))
    if source is None and evidence is not None:
        return TaskSeen(task, evidence=_evidence(evidence, wanted, folder, judges), unplayable=unplayable)
    if source is None or not wanted:
        return TaskSeen(task, unplayable=unplayable)
    shown = next((each for each in wanted if each.kind == "oracle"), wanted[0])
    repeated = [(shown.state, shown.answer)] * (RUNS // 2)
    said = _batch(source, [(each.state, each.answer) for each in wanted] + repeated, folder, judges)
    if all(result is None for result, _, _ in said):
        single = judges.run(_request(source, folder, folder / shown.state, shown.answer))
        if single.failure in ("timeout", "missing_function", "unavailable"):  # so would all of them
            failed = tuple(Judged(each, None, single.failure, single.detail) for each in wanted)
            return TaskSeen(task, failed, unplayable=unplayable)
    again = _batch(source, repeated, folder, judges)
    judged = tuple(Judged(each, *what) for each, what in zip(wanted, said, strict=False))
    runs = frozenset(map(_text, [*said[len(wanted) :], *again]))
    return TaskSeen(task, judged, unplayable=unplayable, runs=runs)


def _evidence(
    source: str, wanted: Sequence[trials.Trial], folder: Path, judges: sandbox.LocalJudge
) -> tuple[Judged, ...]:
    replies = [judges.run(_request(source, folder, folder / each.state, None, mode="sql")) for each in wanted]
    return tuple(
        Judged(each, reply.result, reply.failure, reply.detail) for each, reply in zip(wanted, replies, strict=True)
    )


_Said = tuple[dict[str, Any] | None, Failure | None, str]


def _batch(
    source: str, rows: Sequence[tuple[str, str | None]], folder: Path, judges: sandbox.LocalJudge
) -> list[_Said]:
    """What a verifier says of several states: a result, or a failure and its detail, for each."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="batch-") as name:
        batch = Path(name)
        for state in {state for state, _ in rows}:
            (batch / state).hardlink_to(folder / state)
        (batch / _TRIALS).write_text(json.dumps(rows), encoding="utf-8")
        deadline = DEADLINE_S * 2
        reply = judges.run(_request(_BATCH.format(source=repr(source)), folder, batch, None, deadline_s=deadline))
    said = reply.result.get("said") if reply.result is not None else None
    if not isinstance(said, list) or len(said) != len(rows):
        failure: Failure = reply.failure or "malformed"
        return [(None, failure, reply.detail or "not what was asked for")] * len(rows)
    return [_checked(each) for each in said]


def _checked(said: Any) -> _Said:
    if not isinstance(said, dict) or "said" not in said:
        detail = said.get("failure", "") if isinstance(said, dict) else ""
        return None, "crashed", str(detail)
    try:
        return results.parse(str(said["said"]).encode(), "code"), None, ""
    except results.MalformedResult as exc:
        return None, "malformed", str(exc)


def _text(said: _Said) -> str:
    result, failure, detail = said
    return json.dumps(result, sort_keys=True) if result is not None else f"{failure}: {detail}"


def _request(
    source: str,
    folder: Path,
    final: Path,
    answer: str | None,
    *,
    mode: Literal["code", "sql"] = "code",
    deadline_s: float = DEADLINE_S,
) -> sandbox.JudgeRequest:
    return sandbox.JudgeRequest(
        source=source, mode=mode, initial=folder / "seed.db", final=final, answer=answer, deadline_s=deadline_s
    )
