"""Plays a compiled scenario in this process: its tools as served, and whether each oracle does what was planned."""

import asyncio
import itertools
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from awm_generator import oracles
from awm_generator.builtin import errors
from awm_runtime import errors as runtime_errors
from awm_runtime.bundle import database, model
from awm_runtime.determinism import context
from awm_runtime.server import asgi, engines, inline, loading, outcomes, storage, tools

_RESULT_BYTES = 1 << 20
_DATABASE_BYTES = 1 << 26


class Stage:
    """A scenario that was loaded from its own text, with an episode that can be started over.

    The code is our compiler's own, so that it runs unconfined here; whatever comes from elsewhere goes through
    `awm_runtime.server.probe`.

    Raises:
        CompilationError: its database does not build, or its code does not load.
    """

    def __init__(
        self, scenario: model.Scenario, *, schema_sql: str, seed_sql: str, environment: str, folder: Path
    ) -> None:
        inline.install()
        self._clock = scenario.clock
        self.seed, self.final = folder / "seed.db", folder / "final.db"
        report = database.build(schema_sql, seed_sql, scenario.clock, self.seed, "on")
        if report.failures or report.violations:
            raise errors.CompilationError(f"{scenario.name}: {(report.failures or report.violations)[0]}")
        self.tables, self.rows = len(report.tables), report.rows
        scratch = Path(shutil.copy(self.seed, folder / "scratch.db"))
        try:
            self._loaded = loading.load(environment, scratch_database=scratch, clock=scenario.clock, foreign_keys=True)
        except runtime_errors.EnvironmentCodeError as exc:
            raise errors.CompilationError(f"{scenario.name}: {exc}") from exc
        self._app = asgi.StartedApp(self._loaded.app, self._loaded.state)
        self._connections = storage.EpisodeConnections(self.final, foreign_keys=True, max_bytes=_DATABASE_BYTES)
        self._loop = asyncio.new_event_loop()

    @property
    def toolset(self) -> tools.ToolSet:
        """Its tools."""
        return self._loaded.toolset

    def start_over(self) -> None:
        """Begins a fresh episode."""
        self._connections.close()
        shutil.copy(self.seed, self.final)
        self._numbers = itertools.count(1)

    def call(self, tool: str, arguments: dict[str, Any]) -> Any:
        """The reply to a call.

        Raises:
            CompilationError: it does not fit the tool's schema, or is refused.
        """
        known = self.toolset.tools[tool]
        problem = known.problem_with(arguments)
        if problem is not None:
            raise errors.CompilationError(f"{tool} {arguments}: {problem}")
        running = context.CallContext(self._clock, 7, next(self._numbers), connections=self._connections)
        with context.entered(running):
            try:
                reply = self._loop.run_until_complete(asgi.request(self._app, tools.request_for(known, arguments)))
            except Exception as exc:  # whatever generated code raises
                raise errors.CompilationError(f"{tool} {arguments}: its code raised {exc!r}") from exc
            finally:
                engines.release_leaks()
        outcome = outcomes.of_reply(reply, _RESULT_BYTES)
        if outcome.is_error:
            raise errors.CompilationError(f"{tool} {arguments}: {outcome.text}")
        return json.loads(outcome.text)

    def close(self) -> None:
        """Ends the app."""
        self._connections.close()
        self._loaded.shutdown()
        self._loop.close()


def prove(stage: Stage, tasks: tuple[model.Task, ...], verifiers: Mapping[str, str]) -> None:
    """Plays every oracle and has it judged; nothing done, or nothing said, must not be enough.

    Raises:
        CompilationError: an oracle is not judged complete, or idleness is.
    """
    for task in tasks:
        verify = _verifier(verifiers[task.id], task.id)
        stage.start_over()
        if _complete(verify, stage, None):
            raise errors.CompilationError(f"{task.id}: complete although nothing was done: {task.instruction}")
        answer = _played(stage, task)
        verdict = verify(str(stage.seed), str(stage.final), answer)
        if verdict["result"] != "complete":
            raise errors.CompilationError(
                f"{task.id}: {task.instruction!r}: its oracle is not judged complete: {verdict['checks']} ({answer!r})"
            )
        if answer is not None and _complete(verify, stage, None):
            raise errors.CompilationError(f"{task.id}: complete although nothing was said: {task.instruction}")


def _played(stage: Stage, task: model.Task) -> str | None:
    assert task.oracle is not None
    try:
        return oracles.replay(task.oracle, stage.call).answer
    except (oracles.OracleError, errors.CompilationError) as exc:
        raise errors.CompilationError(f"{task.id}: {task.instruction!r}: {exc}") from exc


Verify = Callable[[str, str, str | None], Mapping[str, Any]]


def _complete(verify: Verify, stage: Stage, answer: str | None) -> bool:
    return bool(verify(str(stage.seed), str(stage.final), answer)["result"] == "complete")


def _verifier(source: str, name: str) -> Verify:
    module: dict[str, Any] = {"__name__": f"verifier_{name.replace('-', '_')}"}
    exec(compile(source, f"{name}.code.py", "exec", dont_inherit=True), module)  # noqa: S102 - our own compiler's text
    found: Verify = module["verify_task_completion"]
    return found
