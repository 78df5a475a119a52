"""What a tool call comes to: isolation of episodes, the frozen clock, whose fault an error is, what an agent sees."""

import json
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import bundles
import instances
import pytest

from awm_registry import client
from awm_runtime.bundle import model
from awm_runtime.contract import problems

WORKSHOP = """
import asyncio
import contextvars
import os
import random
import sys
import threading
import time
import uuid
from datetime import datetime

from fastapi import Body, FastAPI, HTTPException, Response
from fastapi.responses import JSONResponse
from sqlalchemy import Column, Integer, String, create_engine, text
from sqlalchemy.orm import declarative_base, sessionmaker

engine = create_engine(os.environ["DATABASE_PATH"], connect_args={"check_same_thread": False})
new_session = sessionmaker(bind=engine)
Base = declarative_base()
shared = new_session()
app = FastAPI()
late = []
print("printed while loading")


class Item(Base):
    __tablename__ = "items"
    id = Column(Integer, primary_key=True)
    name = Column(String, nullable=False)


def names(session):
    return [item.name for item in session.query(Item).order_by(Item.id)]


@app.get("/items", operation_id="list_items")
async def list_items():
    session = new_session()
    found = names(session)
    session.close()
    return found


@app.post("/items", operation_id="add_item")
async def add_item(name: str):
    session = new_session()
    session.add(Item(name=name))
    session.commit()
    return {"added": name}  # the session is left open


@app.post("/items/uncommitted", operation_id="flush_and_leak")
async def flush_and_leak(name: str):
    late.append(new_session())
    late[-1].add(Item(name=name))
    late[-1].flush()
    return {"flushed": name}


@app.post("/items/crash", operation_id="flush_and_raise")
async def flush_and_raise(name: str):
    session = new_session()
    session.add(Item(name=name))
    session.flush()
    raise RuntimeError("SELECT secret FROM /etc/hidden")


@app.post("/items/shared", operation_id="add_by_shared_session")
async def add_by_shared_session(name: str, commit: bool = True):
    shared.add(Item(name=name))
    shared.commit() if commit else shared.flush()
    return names(shared)


@app.post("/items/two", operation_id="add_by_two_sessions")
async def add_by_two_sessions(name: str):
    first, second = new_session(), new_session()
    before = names(second)
    second.close()
    first.add(Item(name=name))
    first.commit()
    return {"before": before, "after": names(second)}


@app.post("/items/thread", operation_id="add_in_thread")
async def add_in_thread():
    failures = []

    def work():
        try:
            names(new_session())
        except BaseException as exc:
            failures.append(type(exc).__name__)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return failures


@app.post("/items/later", operation_id="add_later")
async def add_later(name: str):
    async def work():
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        session = new_session()
        session.add(Item(name=name))
        session.commit()

    late.append(asyncio.get_running_loop().create_task(work()))
    return "later"


@app.post("/count", operation_id="count_up")
async def count_up():
    session = new_session()
    seen = int(session.get(Item, 1).name) if session.get(Item, 1).name.isdigit() else 0
    for _ in range(5):
        await asyncio.sleep(0)
    session.get(Item, 1).name = str(seen + 1)
    session.commit()
    return seen + 1


@app.get("/fork", operation_id="fork")
async def fork():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    return pid


@app.get("/clock", operation_id="read_clock")
async def read_clock():
    session = new_session()
    sql = session.execute(text("SELECT CURRENT_TIMESTAMP, datetime('now'), date('now', '-1 day')")).one()
    return {"python": datetime.utcnow().isoformat(timespec="seconds"), "time": int(time.time()), "sql": list(sql)}


@app.get("/chance", operation_id="draw")
async def draw():
    session = new_session()
    return [str(uuid.uuid4()), random.random(), session.execute(text("SELECT random()")).scalar(), os.urandom(4).hex()]


@app.get("/number", operation_id="take_number")
async def take_number(number: int):
    return number


@app.get("/strict", operation_id="validate_in_code")
async def validate_in_code():
    from pydantic import BaseModel
    from fastapi.exceptions import RequestValidationError

    raise RequestValidationError([{"loc": ("query", "amount"), "msg": "must be even", "type": "value_error"}])


@app.get("/answer", operation_id="answer")
async def answer(status: int, detail: str = "no"):
    raise HTTPException(status, detail)


@app.get("/own", operation_id="answer_own_422")
async def answer_own_422(kind: int):
    bodies = [{"detail": [{"loc": []}]}, {"detail": [{"loc": None}]}, {"message": "own words"}, ["a", "b"]]
    return JSONResponse(bodies[kind], status_code=422)


@app.get("/raise", operation_id="raise_by_name")
async def raise_by_name(kind: str):
    class Strange(BaseException):
        pass

    if kind == "Exit":
        sys.exit(3)
    raise {"Strange": Strange, "KeyboardInterrupt": KeyboardInterrupt, "RecursionError": RecursionError,
           "CancelledError": asyncio.CancelledError, "Group": ExceptionGroup}[kind](
        *(("SELECT 1 FROM /etc/hidden", [ValueError()]) if kind == "Group" else ("SELECT 1 FROM /etc/hidden",)))


@app.get("/long", operation_id="answer_long")
async def answer_long(size: int, status: int = 200):
    if status >= 400:
        raise HTTPException(status, "x" * size)
    return Response("x" * size, media_type="text/plain")


@app.post("/noise", operation_id="print_much")
async def print_much():
    for _ in range(2000):
        print("x" * 100)
    return "printed"


@app.post("/body", operation_id="take_body")
async def take_body(text: str = Body(embed=True)):
    return len(text)


@app.post("/fill", operation_id="fill_database")
async def fill_database(size: int):
    session = new_session()
    session.add(Item(name="y" * size))
    session.commit()
    return size
"""

KIB = 1024


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[instances.Running]:
    folder = tmp_path_factory.mktemp("calls")
    task = model.Task(id="1", instruction="Add something.")
    bundle = bundles.make(folder / "workshop", WORKSHOP, tasks=[task])
    limits = {"result_bytes": 2 * KIB, "request_bytes": 256 * KIB, "episode_bytes": 256 * KIB}
    with instances.running(bundle, folder / "state", **limits) as instance:
        yield instance


def _items(instance: instances.Running, episode: Any) -> list[str]:
    found = instance.call(episode, "list_items").data()
    assert isinstance(found, list)
    return found


# Isolation


def test_an_episode_does_not_see_what_another_one_wrote(workshop: instances.Running) -> None:
    one, other = workshop.control.open(count=2)
    workshop.call(one, "add_item", name="mine")
    assert _items(workshop, one) == ["first", "mine"]
    assert _items(workshop, other) == ["first"]


def test_what_a_leaked_session_flushed_is_never_committed_by_a_later_call(workshop: instances.Running) -> None:
    episode = workshop.open()
    assert not workshop.call(episode, "flush_and_leak", name="leaked").is_error
    workshop.call(episode, "add_item", name="committed")
    assert _items(workshop, episode) == ["first", "committed"]


def test_what_a_crashed_call_flushed_is_never_committed_by_a_later_call(workshop: instances.Running) -> None:
    episode = workshop.open()
    assert workshop.call(episode, "flush_and_raise", name="crashed").is_error
    workshop.call(episode, "add_item", name="committed")
    assert _items(workshop, episode) == ["first", "committed"]


def test_a_session_of_the_module_works_on_the_episode_that_is_called(workshop: instances.Running) -> None:
    one, other = workshop.control.open(count=2)
    assert workshop.call(one, "add_by_shared_session", name="of one").data() == ["first", "of one"]
    assert workshop.call(other, "add_by_shared_session", name="of other").data() == ["first", "of other"]
    workshop.call(one, "add_by_shared_session", name="uncommitted", commit=False)
    assert workshop.call(other, "add_by_shared_session", name="again").data() == ["first", "of other", "again"]
    assert _items(workshop, one) == ["first", "of one"]


def test_two_sessions_of_one_call_share_the_episode(workshop: instances.Running) -> None:
    episode = workshop.open()
    seen = workshop.call(episode, "add_by_two_sessions", name="second").data()
    assert seen == {"before": ["first"], "after": ["first", "second"]}


def test_a_thread_of_a_handler_has_no_episode(workshop: instances.Running) -> None:
    assert workshop.call(workshop.open(), "add_in_thread").data() == ["OutsideEpisode"]


def test_a_task_that_outlives_its_call_cannot_reach_the_episode_any_more(workshop: instances.Running) -> None:
    episode = workshop.open()
    assert workshop.call(episode, "add_later", name="late").data() == "later"
    assert _items(workshop, episode) == ["first"]
    assert workshop.control.get(episode.id).state_hash == episode.state_hash


def test_calls_of_one_episode_at_once_run_one_after_another(workshop: instances.Running) -> None:
    one, other = workshop.control.open(count=2)
    with futures.ThreadPoolExecutor(8) as pool:
        counted = [pool.submit(_count_up, each.mcp_url) for each in (one, other) * 8]
    assert sorted(each.result() for each in counted) == sorted([*range(1, 9)] * 2)
    assert [line["n"] for line in workshop.control.trace(one.id)] == [*range(1, 9)]


def _count_up(url: str) -> Any:
    with client.ToolClient(url) as tools:
        return tools.call("count_up", {}).data()


def test_a_handler_cannot_fork_and_the_environment_is_to_blame(workshop: instances.Running) -> None:
    episode = workshop.open()
    assert workshop.call(episode, "fork").is_error
    assert workshop.control.get(episode.id).errors.environment == 1


# Clock and chance


def test_each_call_is_a_second_after_the_last_in_python_and_in_sql(workshop: instances.Running) -> None:
    episode = workshop.open()
    first = {
        "python": "2026-01-15T09:00:01",
        "time": 1768467601,
        "sql": ["2026-01-15 09:00:01", "2026-01-15 09:00:01", "2026-01-14"],
    }
    assert workshop.call(episode, "read_clock").data() == first
    workshop.call(episode, "no_such_tool")
    assert workshop.call(episode, "read_clock").data()["python"] == "2026-01-15T09:00:03"


def test_the_same_seed_draws_the_same_and_another_seed_draws_otherwise(workshop: instances.Running) -> None:
    one, same, other = (workshop.open(seed=seed) for seed in (5, 5, 6))
    drawn = [[workshop.call(each, "draw").data() for _ in range(2)] for each in (one, same, other)]
    assert drawn[0] == drawn[1]
    values = [value for draws in (drawn[0], drawn[2]) for draw in draws for value in draw]
    assert len(set(map(str, values))) == len(values)


# Whose fault it is


@pytest.mark.parametrize(
    ("tool", "arguments", "code", "status", "says"),
    [
        ("no_such_tool", {}, "unknown_tool", None, "no_such_tool"),
        ("take_number", {}, "invalid_arguments", None, "number"),
        ("take_number", {"number": "many"}, "invalid_arguments", None, "number"),
        ("take_number", {"number": 1, "unasked": 2}, "invalid_arguments", None, "unasked"),
        ("validate_in_code", {}, "invalid_arguments", 422, "amount: must be even"),
    ],
)
def test_a_malformed_call_is_the_agents_fault_and_counted_as_such(
    workshop: instances.Running, tool: str, arguments: dict[str, Any], code: str, status: int | None, says: str
) -> None:
    episode = workshop.open()
    reply = workshop.call(episode, tool, **arguments)
    assert (reply.is_error, says in reply.text) == (True, True)
    assert workshop.control.get(episode.id).errors.model_dump() == _counts(malformed=1)
    [line] = workshop.control.trace(episode.id)
    assert (line["class"], line["code"], line["status"], line["tool"]) == ("agent", code, status, tool)


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422])
def test_a_4xx_of_the_scenario_is_a_refusal_with_its_words(workshop: instances.Running, status: int) -> None:
    episode = workshop.open()
    reply = workshop.call(episode, "answer", status=status, detail="Order 7 has shipped.")
    assert (reply.is_error, reply.text) == (True, f"Refused ({status}): Order 7 has shipped.")
    assert workshop.control.get(episode.id).errors.model_dump() == _counts(refused=1)
    [line] = workshop.control.trace(episode.id)
    assert (line["class"], line["code"], line["status"]) == ("agent", "refused", status)


@pytest.mark.parametrize(
    ("kind", "says"), [(0, '[{"loc":[]}]'), (1, '[{"loc":null}]'), (2, "own words"), (3, '["a","b"]')]
)
def test_a_422_of_the_scenarios_own_making_is_a_refusal(workshop: instances.Running, kind: int, says: str) -> None:
    episode = workshop.open()
    assert workshop.call(episode, "answer_own_422", kind=kind).text == f"Refused (422): {says}"
    assert workshop.control.get(episode.id).errors.model_dump() == _counts(refused=1)


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("answer", {"status": 500, "detail": "SELECT 1 FROM /etc/hidden"}),
        ("answer", {"status": 503, "detail": "SELECT 1 FROM /etc/hidden"}),
        ("flush_and_raise", {"name": "crashed"}),
        *(
            ("raise_by_name", {"kind": kind})
            for kind in ("Exit", "Strange", "KeyboardInterrupt", "RecursionError", "CancelledError", "Group")
        ),
    ],
)
def test_a_failure_of_the_scenarios_code_is_the_environments_fault_and_tells_nothing(
    workshop: instances.Running, tool: str, arguments: dict[str, Any]
) -> None:
    episode = workshop.open()
    reply = workshop.call(episode, tool, **arguments)
    assert reply.is_error
    assert not any(word in reply.text for word in ("SELECT", "/etc", "Traceback", ".py"))
    assert workshop.control.get(episode.id).errors.model_dump() == _counts(environment=1)
    [line] = workshop.control.trace(episode.id)
    assert (line["n"], line["class"], line["is_error"]) == (1, "environment", True)
    assert _items(workshop, episode) == ["first"]


def test_what_the_scenarios_code_raised_is_in_the_log(workshop: instances.Running) -> None:
    workshop.call(workshop.open(), "flush_and_raise", name="crashed")
    assert "RuntimeError: SELECT secret FROM /etc/hidden" in workshop.log()


def test_what_the_scenarios_code_prints_goes_to_the_log_and_holds_nothing_up(workshop: instances.Running) -> None:
    assert workshop.call(workshop.open(), "print_much").data() == "printed"
    assert "printed while loading" in workshop.log()


# Limits


def test_a_long_result_is_cut_with_a_note(workshop: instances.Running) -> None:
    episode = workshop.open()
    for status in (200, 404):
        text = workshop.call(episode, "answer_long", size=5000, status=status).text
        assert "[cut: the first 2048 of 5000 bytes" in text
        assert len(text) < 2200
    assert workshop.call(episode, "answer_long", size=2048).text == "x" * 2048


def test_what_a_malformed_call_is_told_does_not_repeat_all_of_it(workshop: instances.Running) -> None:
    episode = workshop.open()
    assert len(workshop.call(episode, "n" * 100_000).text) < 4000
    assert len(workshop.call(episode, "take_number", number="n" * 100_000).text) < 4000


def test_a_request_of_ten_megabytes_is_refused_on_both_planes(workshop: instances.Running) -> None:
    body = b'{"text": "' + b"x" * 10_000_000 + b'"}'
    headers = {"Content-Type": "application/json"}
    agent = workshop.http.post(workshop.open().mcp_url, content=body, headers=headers)
    control = workshop.http.post("/v1/episodes", content=body, headers=headers)
    assert (agent.status_code, agent.json()["error"]["data"]["code"]) == (413, "too_large")
    assert (control.status_code, control.json()["code"]) == (413, "too_large")


def test_an_episode_whose_database_is_full_says_so_and_keeps_its_rows(workshop: instances.Running) -> None:
    episode = workshop.open()
    workshop.call(episode, "add_item", name="kept")
    with pytest.raises(problems.ProblemError) as caught:
        workshop.call(episode, "fill_database", size=500_000)
    assert (caught.value.code, caught.value.blame) == (problems.Code.AT_CAPACITY, "infrastructure")
    assert workshop.control.get(episode.id).errors.infrastructure == 1
    assert _items(workshop, episode) == ["first", "kept"]


# Records


def test_the_trace_holds_each_call_with_its_arguments_and_what_the_agent_read(workshop: instances.Running) -> None:
    episode = workshop.open()
    reply = workshop.call(episode, "take_body", text="ünïcode\n" * 3)
    workshop.call(episode, "answer", status=404)
    first, second = workshop.control.trace(episode.id)
    assert (first["n"], first["tool"], first["arguments"]) == (1, "take_body", {"text": "ünïcode\n" * 3})
    assert (first["result"], first["is_error"], first["class"], first["status"]) == (reply.text, False, None, 200)
    assert (second["n"], second["result"]) == (2, "Refused (404): no")
    assert workshop.control.get(episode.id).calls == 2


def test_metrics_count_calls_by_outcome_and_name_no_episode_and_no_tool(workshop: instances.Running) -> None:
    before = {kind: workshop.metric(f'awm_calls_total{{outcome="{kind}"}}') for kind in _OUTCOMES}
    episode = workshop.open()
    for tool, arguments in (
        ("list_items", {}),
        ("no_such_tool", {}),
        ("answer", {"status": 404}),
        ("answer", {"status": 500}),
    ):
        workshop.call(episode, tool, **arguments)
    after = {kind: workshop.metric(f'awm_calls_total{{outcome="{kind}"}}') for kind in _OUTCOMES}
    assert {kind: after[kind] - before[kind] for kind in _OUTCOMES} == dict.fromkeys(_OUTCOMES, 1)
    text = workshop.http.get("/metrics").text
    assert episode.id not in text
    assert "list_items" not in text
    assert "no_such_tool" not in text


def test_the_tool_list_is_the_bundles(workshop: instances.Running) -> None:
    listed = workshop.tools(workshop.open().mcp_url).tools()
    assert listed == json.loads((workshop.state.parent / "workshop" / "tools.json").read_text())


_OUTCOMES = ("ok", "malformed", "refused", "environment")


def _counts(**errors: int) -> dict[str, int]:
    return {"malformed": 0, "refused": 0, "environment": 0, "infrastructure": 0, **errors}
