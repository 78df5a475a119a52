"""Handlers that never return or end their process: nothing hangs, episodes come back, nobody is blamed wrongly."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bundles
import instances
import pytest

from awm_registry import client
from awm_runtime.bundle import model
from awm_runtime.contract import episodes, problems, verdicts

STUCK = '''
import asyncio
import os
import re
import signal
import sys
import time

from fastapi import Depends, FastAPI
from sqlalchemy import create_engine, text
from sqlalchemy.orm import sessionmaker
from starlette.middleware.base import BaseHTTPMiddleware

engine = create_engine(os.environ["DATABASE_PATH"])
new_session = sessionmaker(bind=engine)
app = FastAPI()
left = []


class ForSome:
    """Runs some handlers in a task of their own, as BaseHTTPMiddleware does with all."""

    def __init__(self, app):
        self.app = app
        self.in_task = BaseHTTPMiddleware(app, dispatch=lambda request, call_next: call_next(request))

    async def __call__(self, scope, receive, send):
        in_task = scope.get("path") in ("/exit", "/dependency")
        await (self.in_task if in_task else self.app)(scope, receive, send)


app.add_middleware(ForSome)


@app.get("/items", operation_id="list_items")
def list_items():
    return list(new_session().execute(text("SELECT name FROM items ORDER BY id")).scalars())


@app.post("/items", operation_id="add_item")
def add_item(name: str):
    session = new_session()
    session.execute(text("INSERT INTO items (name) VALUES (:name)"), {"name": name})
    session.commit()
    return name


def slow_dependency():
    while True:
        pass


@app.get("/dependency", operation_id="wait_in_dependency")
def wait_in_dependency(_=Depends(slow_dependency)):
    return None


@app.post("/stuck", operation_id="get_stuck")
async def get_stuck(how: str):
    session = new_session()
    session.execute(text("INSERT INTO items (name) VALUES ('half')"))
    if how == "loop":
        while True:
            pass
    if how == "sleep":
        time.sleep(3600)
    if how == "await":
        await asyncio.Event().wait()
    if how == "excepting":
        while True:
            try:
                time.sleep(3600)
            except Exception:
                pass
    if how == "sql":
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
        session.execute(text(endless)).scalar()
    if how == "regex":
        re.match("(a+)+$", "a" * 64 + "b")
    if how == "swallowing sql":
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
        try:
            session.execute(text(endless)).scalar()
        except Exception:
            return {"done": True}
    if how == "slow cancellation":
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.6)


@app.post("/immortal", operation_id="never_return")
async def never_return(how: str):
    session = new_session()
    session.execute(text("INSERT INTO items (name) VALUES ('half')"))
    while how == "swallowing":
        try:
            while True:
                pass
        except BaseException:
            pass
    while how == "swallowing cancellation":
        try:
            await asyncio.Event().wait()
        except BaseException:
            pass
    if how == "interpreter held in C":
        sum(range(10**12))


@app.post("/die", operation_id="die")
async def die(how: str):
    session = new_session()
    session.execute(text("INSERT INTO items (name) VALUES ('half')"))
    if how == "exit":
        os._exit(0)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "leave":
        with open("uvicorn.py", "w") as file:
            file.write("raise SystemExit('a module from the state folder was imported')")
        os._exit(0)


@app.post("/task", operation_id="leave_a_task")
async def leave_a_task():
    async def spin():
        await asyncio.sleep(0)
        while True:
            try:
                while True:
                    pass
            except BaseException:
                pass

    left.append(asyncio.get_running_loop().create_task(spin()))


@app.post("/spoil", operation_id="spoil_meta")
async def spoil_meta(id: str):
    meta = f"episodes/{id}/meta.json"
    os.remove(meta)
    os.mkdir(meta)


@app.post("/exit", operation_id="leave_politely")
async def leave_politely(how: str):
    if how == "exit":
        sys.exit(3)
    raise KeyboardInterrupt
'''

CAN_BE_STOPPED = ["loop", "sleep", "await", "excepting", "regex", "sql", "swallowing sql", "slow cancellation"]
MUST_BE_KILLED = ["swallowing", "swallowing cancellation", "interpreter held in C"]
VERIFIER = 'def verify_task_completion(initial, final, answer=None):\n    return {"result": "others"}\n'


@pytest.fixture(scope="module")
def stuck(tmp_path_factory: pytest.TempPathFactory) -> Iterator[instances.Running]:
    folder = tmp_path_factory.mktemp("deadlines")
    task = model.Task(id="1", instruction="Wait.")
    bundle = bundles.make(folder / "stuck", STUCK, tasks=[task], verifiers={("1", "code"): VERIFIER})
    with instances.running(bundle, folder / "state", call_deadline_s=0.3, call_grace_s=0.5) as instance:
        yield instance


def _seen(stuck: instances.Running, id: str) -> episodes.EpisodeView:
    return instances.wait_for(lambda: stuck.control.get(id))


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [*(("get_stuck", {"how": how}) for how in CAN_BE_STOPPED), ("wait_in_dependency", {})],
)
def test_a_handler_past_its_deadline_is_stopped_and_nobody_of_the_episode_is_to_blame(
    stuck: instances.Running, tool: str, arguments: dict[str, Any]
) -> None:
    episode = stuck.open(task="1")
    instance = stuck.process("awm_runtime.server.instance").pid
    with pytest.raises(problems.ProblemError) as caught:
        stuck.call(episode, tool, **arguments)
    assert (caught.value.code, caught.value.blame) == (problems.Code.TIMEOUT, "infrastructure")
    [line] = stuck.control.trace(episode.id)
    assert (line["class"], line["code"], line["is_error"]) == ("infrastructure", "timeout", True)
    stuck.call(episode, "add_item", name="after")
    assert stuck.call(episode, "list_items").data() == ["first", "after"]
    assert stuck.process("awm_runtime.server.instance").pid == instance


def test_a_timeout_masks_a_failed_verdict(stuck: instances.Running) -> None:
    episode = stuck.open(task="1")
    with pytest.raises(problems.ProblemError):
        stuck.call(episode, "get_stuck", how="await")
    verdict = stuck.control.verify(episode.id)
    assert (verdict.outcome, verdict.mask, verdict.blame) == ("failed", True, "infrastructure")
    assert verdict.calls_to_blame == [1]


@pytest.mark.parametrize("how", MUST_BE_KILLED)
def test_a_handler_that_cannot_be_stopped_is_killed_and_every_episode_comes_back(
    stuck: instances.Running, how: str
) -> None:
    hanging, other = stuck.control.open(count=2)
    stuck.call(hanging, "add_item", name="before")
    stuck.call(other, "add_item", name="of other")
    with pytest.raises(client.Unreachable):
        stuck.call(hanging, "never_return", how=how)
    assert _seen(stuck, hanging.id).interrupted == 2
    assert f"call 2 of {hanging.id} (never_return) is past its hard deadline" in stuck.log()
    assert _seen(stuck, other.id).interrupted is None
    assert stuck.call(hanging, "list_items").data() == ["first", "before"]
    assert stuck.call(other, "list_items").data() == ["first", "of other"]


@pytest.mark.parametrize("how", ["exit", "kill"])
def test_a_handler_that_ends_its_process_interrupts_its_episode_until_it_is_reset(
    stuck: instances.Running, how: str
) -> None:
    episode = stuck.open(task="1")
    stuck.call(episode, "add_item", name="before")
    with pytest.raises(client.Unreachable):
        stuck.call(episode, "die", how=how)
    seen = _seen(stuck, episode.id)
    assert (seen.interrupted, seen.calls, seen.errors.infrastructure) == (2, 2, 1)
    last = stuck.control.trace(episode.id)[-1]
    assert (last["tool"], last["code"]) == ("die", "episode_interrupted")
    verdict = stuck.control.verify(episode.id)
    assert (verdict.mask, verdict.blame, verdict.calls_to_blame) == (True, "infrastructure", [2])
    assert set(stuck.control.diff(episode.id)["items"]["added"][0].values()) == {2, "before"}
    assert stuck.control.reset(episode.id).interrupted is None
    verdict = stuck.control.verify(episode.id)
    assert (verdict.outcome, verdict.mask) == ("failed", False)


def test_a_task_that_outlives_its_call_and_holds_the_event_loop_is_killed(stuck: instances.Running) -> None:
    guilty, other = stuck.control.open(count=2)
    stuck.call(other, "add_item", name="kept")
    instance = stuck.process("awm_runtime.server.instance")
    with contextlib.suppress(client.Unreachable):  # the task may begin before the answer is sent
        stuck.call(guilty, "leave_a_task")
    instance.wait(20)
    said = "the event loop, which code that outlived its call may hold, is past its hard deadline"
    assert instances.wait_for(lambda: said in stuck.log())
    assert _seen(stuck, other.id).interrupted is None
    assert stuck.call(other, "list_items").data() == ["first", "kept"]


def test_an_episode_whose_meta_a_handler_spoiled_is_lost_alone_when_its_instance_comes_back(
    stuck: instances.Running,
) -> None:
    spoiled, other = stuck.control.open(count=2)
    stuck.call(other, "add_item", name="kept")
    stuck.call(spoiled, "spoil_meta", id=spoiled.id)
    with pytest.raises(client.Unreachable):
        stuck.call(spoiled, "die", how="kill")
    assert _seen(stuck, other.id).interrupted is None
    assert stuck.call(other, "list_items").data() == ["first", "kept"]
    for ask in (lambda: stuck.control.get(spoiled.id), lambda: stuck.call(spoiled, "list_items")):
        with pytest.raises(problems.ProblemError) as caught:
            ask()
        assert (caught.value.code, caught.value.blame) == ("episode_lost", "infrastructure")


def test_a_module_that_a_handler_left_in_the_state_folder_is_not_imported_when_it_comes_back(
    stuck: instances.Running,
) -> None:
    episode = stuck.open()
    with pytest.raises(client.Unreachable):
        stuck.call(episode, "die", how="leave")
    assert _seen(stuck, episode.id).interrupted == 1
    assert "a module from the state folder" not in stuck.log()


@pytest.mark.parametrize("how", ["exit", "interrupt"])
def test_a_handler_that_exits_under_a_middleware_fails_its_own_call_only(stuck: instances.Running, how: str) -> None:
    instance = stuck.process("awm_runtime.server.instance").pid
    _fail_by_leaving(stuck, how)
    assert stuck.process("awm_runtime.server.instance").pid == instance


def test_a_handler_that_exits_in_its_episodes_own_process_fails_its_own_call_only(tmp_path: Path) -> None:
    bundle = bundles.make(tmp_path / "stuck", STUCK, isolation="process")
    with instances.running(bundle, tmp_path / "state") as running:
        for how in ("exit", "interrupt"):
            _fail_by_leaving(running, how)


def _fail_by_leaving(running: instances.Running, how: str) -> None:
    episode = running.open()
    assert running.call(episode, "leave_politely", how=how).is_error
    seen = running.control.get(episode.id)
    assert (seen.errors, seen.interrupted) == (verdicts.ErrorCounts(environment=1), None)
    assert running.call(episode, "list_items").data() == ["first"]


def test_verdicts_are_given_again_after_the_judge_was_killed(stuck: instances.Running) -> None:
    episode = stuck.open(task="1")
    stuck.call(episode, "add_item", name="kept")
    judge = stuck.process("awm_runtime.verification.judge")
    judge.kill()
    assert instances.wait_for(lambda: stuck.control.verify(episode.id).outcome == "failed")
    assert stuck.call(episode, "list_items").data() == ["first", "kept"]
    assert stuck.process("awm_runtime.verification.judge").pid != judge.pid
