"""Exits of scenario code end the task that they happen in, and never the event loop."""

import asyncio
from datetime import UTC, datetime

import pytest

from awm_runtime.determinism import context
from awm_runtime.server import exits

CALL = context.CallContext(clock=datetime(2026, 1, 15, 9, tzinfo=UTC), seed=0, number=1)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_an_exit_in_a_task_of_a_call_is_its_tasks_failure(kind: type[BaseException]) -> None:
    async def leave() -> None:
        raise kind

    async def serve() -> str:
        exits.install(asyncio.get_running_loop())
        with context.entered(CALL):
            task = asyncio.create_task(leave())
        with pytest.raises(exits.ScenarioExit, match=kind.__name__):
            await task
        return "still serving"

    assert asyncio.run(serve()) == "still serving"


def test_an_exit_in_a_task_of_the_server_ends_it() -> None:
    async def leave() -> None:
        raise SystemExit(3)

    async def serve() -> None:
        exits.install(asyncio.get_running_loop())
        await asyncio.create_task(leave())

    with pytest.raises(SystemExit):
        asyncio.run(serve())


def test_what_a_task_of_a_call_returns_or_raises_is_left_alone() -> None:
    async def answer() -> int:
        return 7

    async def fail() -> None:
        raise ValueError("no")

    async def serve() -> int:
        exits.install(asyncio.get_running_loop())
        with context.entered(CALL):
            failing = asyncio.create_task(fail(), name="failing")
            answering = asyncio.create_task(answer())
        with pytest.raises(ValueError, match="no"):
            await failing
        assert failing.get_name() == "failing"
        return await answering

    assert asyncio.run(serve()) == 7
