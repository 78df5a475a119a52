"""A scenario's rows, and a model that answers from them unless it is told otherwise."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from awm_fleet import examples
from awm_generator.awm_files import exporting, rows
from awm_generator.double import jobs, scripts
from awm_generator.model import language, scripted
from awm_generator.stages import asking, proving, trials
from awm_runtime.bundle import reading

_T = TypeVar("_T")


class Scenario:
    """The example `clinic`, and a model that answers from it.

    Attributes:
        first: Replies that come before those of the script.
        model: The model.
        folder: Where files go.
    """

    def __init__(self, folder: Path) -> None:
        self.first: list[str] = []
        self.folder = folder
        self._script = scripts.Scripts(scripts.load([examples.path("clinic")]))
        self.model = scripted.ScriptedModel(self._answer)
        self.originals = exporting.as_rows(reading.read(examples.path("clinic")))

    @property
    def problems(self) -> list[str]:
        """What the model was told was wrong."""
        return [request.messages[-1].content for request in self.model.requests if len(request.messages) > 2]

    @property
    def tasks(self) -> rows.TasksRow:
        row = self.originals.row(rows.TasksRow)
        assert row is not None
        return row

    @property
    def schema(self) -> rows.DbRow:
        row = self.originals.row(rows.DbRow)
        assert row is not None
        return row

    def gates(self, ran: trials.Trials, level: proving.Level = "none") -> proving.Gates:
        return proving.Gates(self.originals, ran, level)

    def session(self, stage: str, *, max_retry: int = 2) -> asking.Session:
        return asking.Session(model=self.model, stage=stage, scenario="clinic", max_retry=max_retry)

    def run(self, work: Callable[[trials.Trials], Awaitable[_T]], *, code_deadline_s: float = 30) -> _T:
        async def inside() -> _T:
            async with trials.Trials(code_deadline_s=code_deadline_s) as ran:
                return await work(ran)

        return asyncio.run(inside())

    def _answer(self, request: language.Request) -> str:
        if self.first:
            return self.first.pop(0)
        sent = [{"role": each.role, "content": each.content} for each in request.messages]
        return self._script.answer(jobs.recognised(sent))


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    return Scenario(tmp_path)
