"""`isolation: process`: each episode has a process of its own, which is confined and ends with the episode."""

import json
import sqlite3
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import bundles
import instances
import psutil
import pytest

from awm_registry import client
from awm_runtime.bundle import model
from awm_runtime.contract import episodes, problems

WORKSHOP = """
import ctypes
import errno
import os
import pathlib
import signal
import sys

from fastapi import FastAPI
from sqlalchemy import create_engine, text

app = FastAPI()
engine = create_engine(os.environ["DATABASE_PATH"])
basket = []


@app.post("/basket", operation_id="put")
def put(item: str):
    basket.append(item)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO items (name) VALUES (:name)"), {"name": item})
    return basket


@app.get("/basket", operation_id="look")
def look():
    return {"basket": basket, "pid": os.getpid()}


@app.post("/exit", operation_id="exit_process")
def exit_process():
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO items (name) VALUES ('before the end')"))
    os._exit(0)


@app.post("/loop", operation_id="loop")
def loop():
    while True:
        pass


@app.post("/ignore", operation_id="loop_that_ignores_its_deadline")
def loop_that_ignores_its_deadline():
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    while True:
        pass


@app.post("/nonsense", operation_id="answer_nonsense")
def answer_nonsense():
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b"\\xff" * 64)
        except OSError:
            pass
    return "not reached by the caller"


@app.get("/descriptors", operation_id="open_descriptors")
def open_descriptors():
    found = {}
    for descriptor in range(4096):
        try:
            mode = os.fstat(descriptor).st_mode
        except OSError:
            continue
        found[descriptor] = oct(mode >> 12)
    return found


@app.get("/attempt", operation_id="attempt")
def attempt(what: str, target: str):
    attempts = {
        "read": lambda: pathlib.Path(target).read_bytes().hex(),
        "write": lambda: pathlib.Path(target).write_text("mine"),
        "list": lambda: os.listdir(target),
        "fork": lambda: os.fork() or os._exit(0),
        "kill": lambda: os.kill(int(target), signal.SIGKILL),
        "connect": lambda: __import__("socket").create_connection(("127.0.0.1", int(target)), 1),
        "setsid": os.setsid,
    }
    try:
        return {"done": attempts[what]()}
    except OSError as exc:
        return {"refused": errno.errorcode[exc.errno]}


def of_the_server(name):
    # An attribute of the server that this process was forked from.
    frame = sys._getframe()
    while frame:
        for held in list(frame.f_locals.values()):
            found = getattr(held, name, None)
            if found is not None:
                return found
        frame = frame.f_back


@app.post("/table", operation_id="write_into_the_table_of_calls")
def write_into_the_table_of_calls():
    of_the_server("_in_flight")._map[:64] = b"x" * 64


@app.get("/store", operation_id="known_episodes")
def known_episodes():
    return [each.id for each in of_the_server("_store")]
"""
VERIFIER = """
import sqlite3


def verify_task_completion(initial_db_path, final_db_path, final_answer=None):
    count = sqlite3.connect(final_db_path).execute("SELECT count(*) FROM items").fetchone()[0]
    return {"result": "complete" if count == 2 else "others"}
"""


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[instances.Running]:
    folder = tmp_path_factory.mktemp("process")
    bundle = bundles.make(
        folder / "workshop",
        WORKSHOP,
        tasks=[model.Task(id="two", instruction="Have two items.")],
        verifiers={("two", "code"): VERIFIER},
        isolation="process",
    )
    with instances.running(bundle, folder / "state", call_deadline_s=1, call_grace_s=2) as running:
        yield running


def pid_of(instance: instances.Running, episode: episodes.EpisodeView) -> int:
    return int(instance.call(episode, "look").data()["pid"])


def children(instance: instances.Running) -> set[int]:
    return {child.pid for child in instance.process("awm_runtime.server.instance").children(recursive=True)}


def test_a_module_keeps_its_state_for_its_episode_alone(instance: instances.Running) -> None:
    first, second = instance.open(), instance.open()
    instance.call(first, "put", item="a")
    instance.call(second, "put", item="b")
    assert instance.call(first, "put", item="c").data() == ["a", "c"]
    assert instance.call(second, "look").data()["basket"] == ["b"]


def test_a_reset_forgets_the_modules_state(instance: instances.Running) -> None:
    episode = instance.open()
    instance.call(episode, "put", item="a")
    before = pid_of(instance, episode)
    fresh = instance.control.reset(episode.id)
    assert fresh.state_hash == episode.state_hash
    assert instance.call(episode, "look").data()["basket"] == []
    instances.wait_for(lambda: before not in children(instance))


def test_a_closed_episode_leaves_no_process(instance: instances.Running) -> None:
    episode = instance.open()
    pid = pid_of(instance, episode)
    assert pid in children(instance)
    instance.control.close(episode.id)
    instances.wait_for(lambda: pid not in children(instance))


def test_an_expired_episode_leaves_no_process(instance: instances.Running) -> None:
    [episode] = instance.control.open_batch(episodes.OpenRequest(episodes=[episodes.EpisodeSpec()], ttl_s=0.5)).episodes
    pid = pid_of(instance, episode)
    instances.wait_for(lambda: pid not in children(instance))
    assert instance.control.get(episode.id).state == "expired"


def test_diff_snapshot_verdict_and_fork_see_what_the_process_committed(
    instance: instances.Running, tmp_path: Path
) -> None:
    episode = instance.open(task="two")
    instance.call(episode, "put", item="a")
    copy = tmp_path / "copy.db"
    copy.write_bytes(instance.control.snapshot(episode.id))
    with sqlite3.connect(copy) as connection:
        assert connection.execute("SELECT name FROM items").fetchall() == [("first",), ("a",)]
    connection.close()
    assert [row["name"] for row in instance.control.diff(episode.id)["items"]["added"]] == ["a"]
    assert instance.control.verify(episode.id).outcome == "completed"
    fork = instance.open(source=episode.id)
    assert fork.state_hash == instance.control.get(episode.id).state_hash
    instance.call(fork, "put", item="b")
    assert instance.control.verify(episode.id).outcome == "completed"
    assert instance.control.verify(fork.id).outcome == "failed"


def test_a_process_that_exits_interrupts_its_episode_and_no_other(instance: instances.Running) -> None:
    broken, other = instance.open(task="two"), instance.open()
    instance.call(other, "put", item="kept")
    with pytest.raises(problems.ProblemError) as caught:
        instance.call(broken, "exit_process")
    assert caught.value.code is problems.Code.EPISODE_INTERRUPTED
    assert instance.control.get(broken.id).interrupted == 1
    assert [line["class"] for line in instance.control.trace(broken.id)] == ["infrastructure"]
    assert instance.control.verify(broken.id).mask  # although the database has what the task asks for
    assert instance.call(other, "look").data()["basket"] == ["kept"]
    assert instance.control.get(other.id).interrupted is None
    assert instance.control.reset(broken.id).interrupted is None
    assert not instance.control.verify(broken.id).mask


def test_a_call_past_its_deadline_is_stopped_in_its_process(instance: instances.Running) -> None:
    episode = instance.open()
    pid = pid_of(instance, episode)
    with pytest.raises(problems.ProblemError) as caught:
        instance.call(episode, "loop")
    assert caught.value.code is problems.Code.TIMEOUT
    assert pid_of(instance, episode) == pid


def test_a_process_that_ignores_its_deadline_is_killed_alone(instance: instances.Running) -> None:
    stuck, other = instance.open(), instance.open()
    server = instance.process("awm_runtime.server.instance").pid
    pid = pid_of(instance, stuck)
    instance.call(other, "put", item="kept")
    with pytest.raises(problems.ProblemError) as caught:
        instance.call(stuck, "loop_that_ignores_its_deadline")
    assert caught.value.code is problems.Code.EPISODE_INTERRUPTED
    instances.wait_for(lambda: pid not in children(instance))
    assert instance.call(other, "look").data()["basket"] == ["kept"]
    assert instance.process("awm_runtime.server.instance").pid == server


def test_an_answer_that_is_nonsense_interrupts_the_episode(instance: instances.Running) -> None:
    episode = instance.open()
    with pytest.raises(problems.ProblemError) as caught:
        instance.call(episode, "answer_nonsense")
    assert caught.value.code is problems.Code.EPISODE_INTERRUPTED
    assert instance.call(episode, "look").data()["basket"] == []


def test_fifty_episodes_have_fifty_processes(instance: instances.Running) -> None:
    opened = instance.control.open(count=50)

    def fill(episode: episodes.EpisodeView) -> tuple[list[str], int]:
        for number in range(3):
            instance.call(episode, "put", item=f"{episode.id} {number}")
        seen = instance.call(episode, "look").data()
        return seen["basket"], seen["pid"]

    with futures.ThreadPoolExecutor(8) as pool:
        filled = list(pool.map(fill, opened))
    assert [basket for basket, _ in filled] == [[f"{each.id} {number}" for number in range(3)] for each in opened]
    assert len({pid for _, pid in filled}) == 50
    for each in opened:
        instance.control.close(each.id)
    instances.wait_for(lambda: not {pid for _, pid in filled} & children(instance))


def test_a_process_inherits_nothing_but_its_own_files(instance: instances.Running) -> None:
    episode = instance.open()
    kinds = list(instance.call(episode, "open_descriptors").data().values())
    # Beside the standard ones: the socket of its calls, its event loop's socket pair and epoll, its database.
    assert kinds.count("0o14") <= 3 + 2  # standard ones may be sockets too
    server = psutil.Process(pid_of(instance, episode))
    assert not [each for each in server.net_connections() if each.laddr]


@pytest.mark.parametrize("what", ["read", "write", "list", "fork", "kill", "connect", "setsid"])
def test_a_process_cannot_leave_its_episode(instance: instances.Running, what: str) -> None:
    episode, other = instance.open(), instance.open()
    instance.call(other, "put", item="private")
    folder = next(instance.state.glob(f"*/episodes/{other.id}"))
    before = (folder / "0.db").read_bytes()
    targets = {
        "read": folder / "0.db",
        "write": folder / "0.db",
        "list": folder,
        "kill": instance.process("awm_runtime.server.instance").pid,
        "connect": instance.address.control_url.rpartition(":")[2],
    }
    answer = instance.call(episode, "attempt", what=what, target=str(targets.get(what, ""))).data()
    assert answer in ({"refused": "EACCES"}, {"refused": "EPERM"})
    assert (folder / "0.db").read_bytes() == before


def test_a_process_cannot_write_into_the_table_of_calls(instance: instances.Running) -> None:
    """The table tells the keeper which calls are stuck: who writes there has the instance killed."""
    episode = instance.open()
    server = instance.process("awm_runtime.server.instance").pid
    with pytest.raises(problems.ProblemError) as caught:
        instance.call(episode, "write_into_the_table_of_calls")
    assert caught.value.code is problems.Code.EPISODE_INTERRUPTED  # where the table was, nothing is
    assert instance.process("awm_runtime.server.instance").pid == server


def test_a_process_has_nothing_of_other_episodes_in_memory(instance: instances.Running) -> None:
    other = instance.open()
    instance.call(other, "put", item="private")
    assert other.id not in instance.call(instance.open(), "known_episodes").data()


def test_an_instance_that_can_fork_no_more_is_restarted(instance: instances.Running) -> None:
    server = instance.process("awm_runtime.server.instance")
    [nursery] = server.children()
    episode = instance.open()
    nursery.kill()
    instances.wait_for(lambda: not nursery.is_running() or nursery.status() == psutil.STATUS_ZOMBIE)
    with pytest.raises((problems.ProblemError, client.Unreachable)):
        instance.call(episode, "look")
    server.wait(20)
    assert json.loads(instances.wait_for(lambda: instance.call(episode, "look")).text)["basket"] == []


def test_stopping_the_keeper_leaves_no_process(tmp_path: Path) -> None:
    bundle = bundles.make(tmp_path / "workshop", WORKSHOP, isolation="process")
    with instances.running(bundle, tmp_path / "state", call_deadline_s=60, shutdown_s=1) as running:
        idle, busy = running.open(), running.open()
        pids = [pid_of(running, idle), pid_of(running, busy)]
        with futures.ThreadPoolExecutor(1) as pool:
            stuck = pool.submit(running.call, busy, "loop_that_ignores_its_deadline")
            instances.wait_for(lambda: psutil.Process(pids[1]).cpu_percent(0.1) > 50)
            running.keeper.terminate()
            running.keeper.wait(30)
            assert stuck.exception(30) is not None
    instances.wait_for(lambda: not [pid for pid in pids if psutil.pid_exists(pid)])


def test_a_killed_instance_leaves_no_process_and_says_that_its_state_is_gone(instance: instances.Running) -> None:
    episode = instance.open()
    instance.call(episode, "put", item="a")
    pid = pid_of(instance, episode)
    server = instance.process("awm_runtime.server.instance")
    server.kill()
    server.wait(20)  # else it may still take the next call, and count it
    assert json.loads(instances.wait_for(lambda: instance.call(episode, "look")).text)["basket"] == []
    assert instance.control.get(episode.id).interrupted == 2
    instances.wait_for(lambda: not psutil.pid_exists(pid))
