"""Loads a scenario's code: runs environment.py as a module, finds its app, starts it up and reads its tools."""

import asyncio
import builtins
import contextlib
import linecache
import os
import sys
import traceback
import types
import typing
import warnings
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import fastapi

from awm_runtime import errors
from awm_runtime.determinism import context, modules
from awm_runtime.server import engines, storage, tools

FILE_NAME = "environment.py"
MODULE_NAME = "environment"

_SCRATCH_BYTES = 1 << 30
_REASON_LENGTH = 300


@dataclass(frozen=True)
class LoadedScenario:
    """A scenario that is ready to be called.

    Attributes:
        app: The scenario's app, started up.
        toolset: Its tools.
        state: What its lifespan yielded; requests carry it as `scope["state"]`.
    """

    app: fastapi.FastAPI
    toolset: tools.ToolSet
    state: MutableMapping[str, Any]
    _lifespan: "_Lifespan" = field(repr=False)
    _connections: storage.EpisodeConnections = field(repr=False)

    def shutdown(self) -> None:
        """Ends the app's lifespan.

        Raises:
            EnvironmentCodeError: the scenario's own shutdown failed; there is nothing left to end.
        """
        try:
            with _blamed("its shutdown"):
                self._lifespan.end()
        finally:
            self._connections.close()


def load(
    source: str, *, scratch_database: Path, clock: datetime, seed: int = 0, foreign_keys: bool = False
) -> LoadedScenario:
    """Runs a scenario's code up to the point where its app can be called.

    Import and start-up see call number 0 of an episode of their own, on a copy of the seed: tables that they create and
    rows that they insert never touch the seed.

    Args:
        source: The text of environment.py.
        scratch_database: A copy of the seed; it must stay until `shutdown`.
        clock: The bundle's clock.
        seed: For randomness at import.
        foreign_keys: Whether SQLite enforces them, as the bundle says.

    Raises:
        EnvironmentCodeError: the code cannot be used, and why.
    """
    engines.install()
    connections = storage.EpisodeConnections(scratch_database, foreign_keys=foreign_keys, max_bytes=_SCRATCH_BYTES)
    call = context.CallContext(clock=clock, seed=seed, number=0, connections=connections)
    _set_environment(scratch_database)
    _forget_types()
    with context.entered(call), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations are the scenario's affair
        try:
            with _blamed("its code"):
                module = _run(source)
            app = _app_of(module)
            app.debug = False  # its error pages show code
            with _blamed("its start-up"):
                lifespan = _Lifespan(app)
                lifespan.begin()
            with _blamed("its OpenAPI document"):
                toolset = tools.from_app(app)
        finally:
            engines.release_leaks()
    return LoadedScenario(app, toolset, lifespan.state, lifespan, connections)


def described(failure: BaseException) -> str:
    """What scenario code raised, and in which of its lines, in a line of text."""
    return _reason("the code", failure)


def _set_environment(database: Path) -> None:
    """What the code of an AWM scenario reads from the process's environment."""
    os.environ["DATABASE_PATH"] = f"sqlite:///{database}"
    os.environ.setdefault("HOST", "127.0.0.1")
    os.environ.setdefault("PORT", "8001")


def _forget_types() -> None:
    """Empties what `typing` remembers of code that was loaded before.

    `Literal["a", "b"]` equals `Literal["b", "a"]`: a later `Literal["b", "a"] | None` is answered from the cache
    with the values of an earlier scenario in their order, and the order is part of a tool's schema. CPython's own test
    runner empties these caches in the same way.
    """
    for forget in getattr(typing, "_cleanups", ()):
        forget()


def _run(source: str) -> types.ModuleType:
    """Executes the source as a module that `sys.modules` knows: forward references and pickling look it up there."""
    code = compile(source, FILE_NAME, "exec", dont_inherit=True)
    linecache.cache[FILE_NAME] = (len(source), None, source.splitlines(keepends=True), FILE_NAME)
    module = types.ModuleType(MODULE_NAME)
    module.__file__ = FILE_NAME
    vars(module)["__builtins__"] = vars(builtins) | {"__import__": _import}
    sys.modules[MODULE_NAME] = module
    exec(code, vars(module))  # noqa: S102 - running the scenario's code is what this process is for
    return module


def _import(name: str, *arguments: Any, **options: Any) -> types.ModuleType:
    """The import statement of scenario code: frozen clock and randomness, and `sqlite3` on the episode's database."""
    if name.startswith("sqlalchemy.ext.asyncio"):
        raise errors.EnvironmentCodeError("its code uses SQLAlchemy's async engines: only create_engine is served")
    module = modules.scenario_import(name, *arguments, **options)
    return _SQLITE_STAND_INS.get(module.__name__, module)


def _sqlite_stand_in(real: types.ModuleType) -> types.ModuleType:
    module = types.ModuleType(real.__name__, real.__doc__)
    vars(module).update(vars(real), connect=engines.connect_raw)
    return module


_SQLITE_STAND_INS = {name: _sqlite_stand_in(sys.modules[name]) for name in ("sqlite3", "sqlite3.dbapi2")}


def _app_of(module: types.ModuleType) -> fastapi.FastAPI:
    named = vars(module).get("app")
    if isinstance(named, fastapi.FastAPI):
        return named
    found = {id(value): value for value in vars(module).values() if isinstance(value, fastapi.FastAPI)}
    if len(found) != 1:
        reason = "it defines no FastAPI app" if not found else f"it defines {len(found)} FastAPI apps, none named 'app'"
        raise errors.EnvironmentCodeError(reason)
    return next(iter(found.values()))


class _Lifespan:
    """The app's lifespan, in one task of a loop of its own that runs while it begins and while it ends.

    One task, because what start-up enters (a task group, a cancel scope) must be left where it was entered.
    """

    def __init__(self, app: fastapi.FastAPI) -> None:
        self.state: MutableMapping[str, Any] = {}
        self._app = app
        self._asked = False
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._started = asyncio.Event()
        self._ending = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Runs the start-up; raises what it raises."""
        try:
            self._runner.run(self._begin())
        except BaseException:
            self._runner.close()
            raise

    def end(self) -> None:
        """Runs the shutdown; raises what it raises."""
        with self._runner:
            self._runner.run(self._end())

    async def _begin(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        self._task = asyncio.create_task(self._app(scope, self._receive, self._send))
        waiting = asyncio.create_task(self._started.wait())
        await asyncio.wait({self._task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            waiting.cancel()
            self._task.result()

    async def _end(self) -> None:
        self._ending.set()
        if self._task is not None:
            await self._task

    async def _receive(self) -> MutableMapping[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "lifespan.startup"}
        await self._ending.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "lifespan.startup.complete":
            self._started.set()


@contextlib.contextmanager
def _blamed(what: str) -> Iterator[None]:
    """Turns whatever the scenario's code raises into an `EnvironmentCodeError` about `what`."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except errors.EnvironmentCodeError as exc:
        raise errors.EnvironmentCodeError(str(exc), detail=_detail(exc)) from exc
    except BaseException as exc:  # sys.exit at import is no reason for this process to end
        raise errors.EnvironmentCodeError(_reason(what, exc), detail=_detail(exc)) from exc


def _reason(what: str, exc: BaseException) -> str:
    if isinstance(exc, SystemExit):
        return f"{what} exits the process"
    if isinstance(exc, SyntaxError):
        return f"{what} is not Python: {exc.msg} (line {exc.lineno})"
    message = " ".join(str(exc).split())
    text = f"{what} raised {type(exc).__name__}" + (f": {message}" if message else "")
    short = text if len(text) <= _REASON_LENGTH else text[: _REASON_LENGTH - 1] + "…"
    frames = _own_frames(exc)
    return f"{short} (line {frames[-1].lineno})" if frames else short


def _detail(exc: BaseException) -> str:
    """The traceback, with the scenario's own frames only."""
    return "".join(traceback.format_list(_own_frames(exc)) + traceback.format_exception_only(exc))


def _own_frames(exc: BaseException) -> list[traceback.FrameSummary]:
    return [frame for frame in traceback.extract_tb(exc.__traceback__) if frame.filename == FILE_NAME]
