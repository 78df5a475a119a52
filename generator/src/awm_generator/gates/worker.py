"""A worker of the gates: examines one bundle after another. It never runs scenario code itself.

`python -m awm_generator.gates.worker` reads `{"bundle", "level"}` as JSON lines from standard input and answers each
with a line: `{"report"}`, or `{"error"}` where the bundle cannot be read. Each bundle is examined in a process that is
forked for it and ended after it; its verifiers run where verifiers run, in the worker's judge.
"""

import contextlib
import gc
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydantic

from awm_generator.gates import examination, judging, protocol, registry, reports, trials
from awm_runtime import errors
from awm_runtime.bundle import model, reading
from awm_runtime.server import inflight
from awm_runtime.verification import sandbox

PHASE_S = {"build": 60.0, "load": 30.0, "static": 30.0, "runtime": 60.0, "semantic": 120.0}
"""How long a phase of an examination may take, in seconds."""
DISK_BYTES = 512 << 20
"""What an examination may write."""

_PHASES = tuple(PHASE_S)
_LOOK_S = 0.25
_LONGEST_LINE = 4 << 20
_MOST_TRIALS = 4000
_CHUNK = 65536
_MEMORY = Path("/dev/shm")  # noqa: S108 - folders in it have names that nobody can guess
_BLAMED = {"build": "static.sql", "load": "static.loads", "static": "static.loads"}
"""The gate that an examination fails which ends in a phase; in a later one some call ended it."""


@dataclass
class _Heard:
    """What an examination said.

    Attributes:
        found: The defects of each gate that was run.
        ended: Why it ended before its time; None where it came to its end.
    """

    found: dict[str, list[protocol.Defect]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    made: list[trials.Made] = field(default_factory=list)
    phase: str = "build"
    done: bool = False
    ended: str | None = None


def gate(bundle: model.Bundle, level: protocol.Level, judges: sandbox.LocalJudge) -> reports.GateReport:
    """Runs the gates of a bundle up to a level. Never raises for what its code does.

    Args:
        bundle: The bundle.
        level: How far.
        judges: Who runs its verifiers.
    """
    with tempfile.TemporaryDirectory(prefix="awm-gate-", dir=_memory(), ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        heard = _examined(bundle, level, folder)
        if heard.ended is not None:
            _blame(heard, folder)
        elif heard.made:
            seen = judging.judge(bundle, heard.made, folder / examination.TRIALS, judges)
            for each in registry.of("semantic"):
                heard.found[each.id] = each.run(seen)
            heard.facts |= _judged_facts(seen)
        elif heard.phase == "semantic":
            seen = judging.Seen(bundle, tuple(judging.TaskSeen(task) for task in bundle.tasks))
            heard.found |= {each.id: each.run(seen) for each in registry.of("semantic")}
    return reports.report(bundle, level, heard.found, heard.facts)


def _examined(bundle: model.Bundle, level: protocol.Level, folder: Path) -> _Heard:
    """Forks the examination, and listens until it ends or has to be ended."""
    ours, theirs = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        examination.be(bundle, level, folder, theirs, parent=parent)
    os.close(theirs)
    heard = _Heard()
    try:
        heard.ended = _listen(ours, heard, folder)
    finally:
        os.close(ours)
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    if heard.ended is None and not heard.done:
        heard.ended = f"the process ended ({_death(status)})"
    return heard


def _listen(pipe: int, heard: _Heard, folder: Path) -> str | None:
    """Takes in what an examination says; returns why it has to be ended, or None once it has hung up."""
    now = looked = time.monotonic()
    deadline = now + PHASE_S[heard.phase]
    waiting = b""
    while True:
        ready, _, _ = select.select([pipe], [], [], _LOOK_S)
        now = time.monotonic()
        if now > deadline:
            return f"its {heard.phase} phase was not over after {PHASE_S[heard.phase]:g} s"
        if now > looked + _LOOK_S:
            looked = now
            if _size(folder) > DISK_BYTES:
                return f"it wrote more than {DISK_BYTES >> 20} MiB"
        if not ready:
            continue
        data = os.read(pipe, _CHUNK)
        if not data:
            return None
        *lines, waiting = (waiting + data).split(b"\n")
        if len(waiting) > _LONGEST_LINE:
            return "it says more than there is to say"
        for line in lines:
            before = heard.phase
            _take(heard, line)
            if heard.phase != before:
                deadline = time.monotonic() + PHASE_S[heard.phase]


def _take(heard: _Heard, line: bytes) -> None:
    """Takes in one line, as far as it makes sense."""
    try:
        said = json.loads(line)
        if said.get("phase") in _PHASES[_PHASES.index(heard.phase) + 1 :]:  # never back: that would be a new deadline
            heard.phase = said["phase"]
        if "gate" in said:
            gate = registry.named(said["gate"])
            heard.found[gate.id] = [protocol.Defect.model_validate(each) for each in said["defects"]]
        if "trial" in said and len(heard.made) < _MOST_TRIALS:
            trial = trials.Trial.model_validate(said["trial"])
            if Path(trial.state).name == trial.state:
                heard.made.append(trial)
        if "unplayable" in said:
            heard.made.append(trials.Unplayable.model_validate(said["unplayable"]))
        if isinstance(said.get("facts"), dict):
            heard.facts |= said["facts"]
        heard.done |= bool(said.get("done"))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, pydantic.ValidationError):
        return  # scenario code has the pipe as well, and may write there what it likes


def _blame(heard: _Heard, folder: Path) -> None:
    """Makes a defect of an examination that did not come to its end."""
    gate = registry.named(_BLAMED.get(heard.phase, "runtime.survives"))
    running = _in_flight(folder)
    where = f" in a call of {running}" if running else ""
    subject = running or ("seed.sql" if heard.phase == "build" else "environment.py")
    found = protocol.Found(subject, f"{heard.ended}{where}", {"output": _tail(folder)})
    heard.found[gate.id] = [*heard.found.get(gate.id, ()), gate.defect(found)]


def _in_flight(folder: Path) -> str:
    """The tool that was being called."""
    path = folder / "inflight"
    if not path.is_file() or path.is_symlink():
        return ""
    table = inflight.InFlightTable(path)
    try:
        return ", ".join(entry.tool for entry in table.entries() if entry.episode != inflight.EVENT_LOOP)[:200]
    finally:
        table.close()


def _tail(folder: Path) -> str:
    try:
        with (folder / examination.OUTPUT).open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 1500))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _memory() -> Path | None:
    """A folder in memory, where episodes live in production too; None where there is none with room enough."""
    with contextlib.suppress(OSError):
        if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > 2 * DISK_BYTES:
            return _MEMORY
    return None


def _size(folder: Path) -> int:
    """How many bytes are in a folder, all that is below it included."""
    total = 0
    for place, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                total += Path(place, name).lstat().st_size
    return total


def _judged_facts(seen: judging.Seen) -> dict[str, Any]:
    """Figures about verifiers."""
    mutants = [judged for each in seen.tasks for judged in each.of("mutant")]
    rewarding = [each.task.id for each in seen.tasks if any(judged.complete for judged in each.of("untouched"))]
    return {
        "tasks": len(seen.tasks),
        "verifiers_that_reward_nothing": rewarding,
        "mutants": len(mutants),
        "mutants_caught": sum(not judged.complete for judged in mutants),
        "trials": sum(len(each.judged) for each in seen.tasks),
    }


def _death(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


def _answer(line: str, judges: sandbox.LocalJudge) -> dict[str, Any]:
    wanted = json.loads(line)
    try:
        bundle = reading.read(Path(wanted["bundle"]))
    except errors.BundleError as exc:
        return {"error": str(exc)}
    return {"report": gate(bundle, wanted["level"], judges).model_dump(mode="json")}


def main() -> None:
    """Works until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with sandbox.local_judge() as judges:
        requests = os.fdopen(os.dup(0), encoding="utf-8")
        replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)  # whatever else is printed is not for whoever reads the replies
        gc.collect()
        gc.freeze()  # what is loaded now is shared with every examination
        for line in requests:
            replies.write(json.dumps(_answer(line, judges)) + "\n")
            replies.flush()


if __name__ == "__main__":
    main()
