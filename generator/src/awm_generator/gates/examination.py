"""The examination of one bundle, in a confined process of its own: scenario code runs here, and may do its worst.

It says what it finds as JSON lines on a pipe, as soon as it has found it. Whoever reads them trusts none of it.
"""

import asyncio
import gc
import json
import os
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

from awm_generator.gates import hosting, observing, protocol, registry, subjects, trials
from awm_runtime import confinement, families
from awm_runtime.bundle import model
from awm_runtime.server import engines, inline

MEMORY_BYTES = 2 << 30
"""How much more address space it may take than the process had that it was forked from."""
CPU_S = 240
_FILE_BYTES = 128 << 20
_OPEN_FILES = 512
_GC_THRESHOLD = 50_000, 20, 20
TRIALS = "trials"
"""The folder of the trials' states, in the examination's own."""
OUTPUT = "output"
"""What the code prints."""


def be(bundle: model.Bundle, level: protocol.Level, folder: Path, pipe: int, *, parent: int) -> NoReturn:
    """The whole life of a forked process.

    Args:
        bundle: What to examine.
        level: How far.
        folder: An empty folder: all that it may write.
        pipe: Where it says what it finds.
        parent: The process that reads there, with which it ends.
    """
    status = 1
    try:
        families.die_with(parent)
        os.setsid()
        os.closerange(3, pipe)
        os.closerange(pipe + 1, os.sysconf("SC_OPEN_MAX"))
        _leave(folder)
        gc.enable()
        _confine(bundle, folder)
        with os.fdopen(pipe, "w", encoding="utf-8", errors="backslashreplace") as out:
            _Examination(bundle, level, folder, out).run()
        status = 0
    except BaseException:  # noqa: BLE001 - the last frame of a process: whatever it was stands in its output
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


class _Examination:
    def __init__(self, bundle: model.Bundle, level: protocol.Level, folder: Path, out: Any) -> None:
        self._bundle = bundle
        self._levels = protocol.LEVELS[: protocol.LEVELS.index(level) + 1]
        self._folder = folder
        self._out = out
        self._unusable = False

    def run(self) -> None:
        """Runs the gates, level by level, until one finds that the scenario is of no use."""
        built = subjects.build(self._bundle, self._folder)
        self._say(phase="load")
        engines.install()
        inline.install()
        reached = observing.Reached()
        subject = subjects.prepare(self._bundle, self._folder, built)
        gc.freeze()  # the app stays; what its calls leave is collected now and then
        gc.set_threshold(*_GC_THRESHOLD)
        self._say(phase="static")
        self._gates("static", subject)
        if subject.code is not None and not self._unusable and "runtime" in self._levels:
            asyncio.run(self._calling(subject, reached))
        self._say(done=True)

    async def _calling(self, subject: subjects.Subject, reached: observing.Reached) -> None:
        assert subject.code is not None
        async with hosting.hosted(subject, subject.code) as host:
            self._say(phase="runtime")
            seen = await observing.observe(host, reached)
            self._gates("runtime", seen)
            self._say(facts=_facts(seen))
            if self._unusable or "semantic" not in self._levels:
                return
            self._say(phase="semantic")
            states = self._folder / TRIALS
            states.mkdir()
            shutil.copyfile(subject.seed, states / "seed.db")
            spoilers = [*seen.walks.first.calls, *seen.walks.second.calls]
            async for made in trials.Examiner(host, states, spoilers).all():
                kind = "trial" if isinstance(made, trials.Trial) else "unplayable"
                self._say(**{kind: made.model_dump(mode="json")})

    def _gates(self, level: protocol.Level, seen: Any) -> None:
        for gate in registry.of(level):
            defects = gate.run(seen)
            self._unusable |= any(defect.severity == "quarantine" for defect in defects)
            self._say(gate=gate.id, defects=[defect.model_dump(mode="json") for defect in defects])

    def _say(self, **what: Any) -> None:
        self._out.write(json.dumps(what, ensure_ascii=True) + "\n")
        self._out.flush()


def _facts(seen: observing.Observed) -> dict[str, Any]:
    failing = dict.fromkeys(
        f"{probe.method} {probe.path}" for probe in seen.probes if probe.call.blame == "environment"
    )
    return {"tools": len(seen.subject.bundle.tools), "endpoints_with_5xx": list(failing)}


def _leave(folder: Path) -> None:
    """Parts from what the parent has: its standard files, its working directory, its variables."""
    os.chdir(folder)
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(folder / OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(output)
    os.environ.update({"HOME": str(folder), "TMPDIR": str(folder)})


def _confine(bundle: model.Bundle, folder: Path) -> None:
    # A kernel that cannot confine still examines; its verifiers are refused by the judge.
    confinement.confine(
        confinement.Policy(
            read=confinement.runtime_read_paths(),
            write=(folder,),
            processes=bundle.scenario.isolation == "process",
            memory_bytes=_mapped_bytes() + MEMORY_BYTES,
            cpu_s=CPU_S,
            open_files=_OPEN_FILES,
            file_bytes=_FILE_BYTES,
        )
    )


def _mapped_bytes() -> int:
    """Address space that this process has already (``statm`` of proc(5)): the kernel's limit counts it too."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")
