import asyncio
import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path

import psutil
import pytest
import uvloop

from awm_runtime.verification import results, sandbox, wire

CODE = "def verify_task_completion(initial, final, answer=None):\n    "
SQL = "def verify_task(initial, final):\n    "


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An order that is open before and cancelled after: read-only files in a folder without write right."""
    folder = tmp_path_factory.mktemp("snapshots")
    for name, status in (("initial.db", "open"), ("final.db", "cancelled")):
        connection = sqlite3.connect(folder / name)
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT, note TEXT)")
        rows = ((number, status, "n" * 200) for number in range(40_000))
        connection.executemany("INSERT INTO orders VALUES (?, ?, ?)", rows)
        connection.commit()
        connection.close()
        (folder / name).chmod(0o444)
    folder.chmod(0o555)
    return folder / "initial.db", folder / "final.db"


@pytest.fixture(scope="module")
def judge() -> Iterator[sandbox.LocalJudge]:
    with sandbox.local_judge() as running:
        yield running


def request(source: str, databases: tuple[Path, Path], **changes: object) -> sandbox.JudgeRequest:
    initial, final = databases
    settings = {"mode": "sql" if source.startswith("def verify_task(") else "code", **changes}
    return sandbox.JudgeRequest(source=source, initial=initial, final=final, **settings)  # type: ignore[arg-type]


def test_verifier_compares_the_databases_and_the_answer(
    judge: sandbox.LocalJudge, databases: tuple[Path, Path]
) -> None:
    source = """
import sqlite3

def status(path):
    with sqlite3.connect(path) as connection:
        return connection.execute("SELECT status FROM orders WHERE id = 7").fetchone()[0]

def verify_task_completion(initial_db_path, final_db_path, final_answer=None):
    checks = {"was open": status(initial_db_path) == "open", "is cancelled": status(final_db_path) == "cancelled"}
    return {"result": "complete" if all(checks.values()) else "others", "checks": checks, "heard": final_answer}
"""

    reply = judge.run(request(source, databases, answer="Done."))

    assert reply.failure is None, reply
    checks = {"was open": True, "is cancelled": True}
    assert reply.result == {"result": "complete", "checks": checks, "heard": "Done."}
    assert reply.ms > 0


READS = {
    "a plain path": "sqlite3.connect(final)",
    "a read-only URI": "sqlite3.connect(f'file:{final}?mode=ro', uri=True)",
    "an immutable URI": "sqlite3.connect(f'file:{final}?immutable=1', uri=True)",
}


@pytest.mark.parametrize("connect", READS.values(), ids=READS.keys())
def test_verifier_sorts_more_than_fits_the_cache_of_a_read_only_copy(
    connect: str, judge: sandbox.LocalJudge, databases: tuple[Path, Path]
) -> None:
    sort = f"{connect}.execute('SELECT * FROM orders ORDER BY note || id').fetchall()"

    reply = judge.run(request(f"{CODE}import sqlite3; return {{'result': 'complete', 'n': len({sort})}}", databases))

    assert reply.result == {"result": "complete", "n": 40_000}, reply


def test_sql_mode_returns_evidence(judge: sandbox.LocalJudge, databases: tuple[Path, Path]) -> None:
    reply = judge.run(request(f"{SQL}return {{'rows': [1, None, 'x']}}", databases))

    assert reply.result == {"rows": [1, None, "x"]}


def test_verifiers_see_a_fixed_hash_seed_utc_and_nothing_of_the_callers_environment(
    databases: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWM_SECRET", "s3cret")
    source = f"{SQL}import os, time; return {{'environ': dict(os.environ), 'zone': time.tzname[0]}}"

    reply = sandbox.judge_once(request(source, databases))

    assert reply.result is not None, reply
    assert reply.result["environ"].get("PYTHONHASHSEED") == "0"
    assert reply.result["zone"] == "UTC"
    assert "s3cret" not in json.dumps(reply.result)


FAILURES = {
    "raises": (f"{CODE}raise KeyError('orders')", "crashed", "KeyError: 'orders'"),
    "does not compile": ("def verify_task_completion(:", "crashed", "SyntaxError"),
    "raises at import": ("1 / 0", "crashed", "ZeroDivisionError"),
    "exits": (f"{CODE}raise SystemExit(0)", "crashed", "SystemExit"),
    "ends the process": (f"{CODE}import os; os._exit(0)", "crashed", "status 0"),
    "kills itself": (f"{CODE}import os; os.kill(os.getpid(), 9)", "crashed", "signal 9"),
    "breaks the interpreter": (f"{CODE}import ctypes; ctypes.string_at(0)", "crashed", "signal 11"),
    "allocates without end": (f"{CODE}x = ['x']\n    while True: x += x", "crashed", "MemoryError"),
    "recurses without end": (f"{CODE}return verify_task_completion(initial, final)", "crashed", "RecursionError"),
    "loops": (f"{CODE}while True: pass", "timeout", "not done after"),
    "sleeps": (f"{CODE}import time; time.sleep(60)", "timeout", "not done after"),
    "holds the interpreter": (f"{CODE}import re; re.match('(a+)+$', 'a' * 60 + 'b')", "timeout", "not done after"),
    "has another function": ("def verify(initial, final): return {}", "missing_function", "verify_task_completion"),
    "returns nothing": (f"{CODE}return None", "malformed", "NoneType"),
    "returns a list": (f"{CODE}return ['complete']", "malformed", "list"),
    "returns an unknown result": (f"{CODE}return {{'result': 'done'}}", "malformed", "'done'"),
    "returns an object": (f"{CODE}return {{'result': object()}}", "malformed", "not JSON"),
    "returns a score that is no number": (
        f"{CODE}return {{'result': 'others', 'score': float('nan')}}",
        "malformed",
        "not JSON",
    ),
    "returns a score above one": (f"{CODE}return {{'result': 'others', 'score': 2}}", "malformed", "score '2'"),
    "returns itself": (f"{CODE}x = {{}}; x['x'] = x; return x", "malformed", "Circular"),
    "returns too much": (f"{CODE}return {{'result': 'complete', 'x': 'x' * 10**6}}", "malformed", "larger than"),
    "writes over its report": (f"{CODE}import os; os.write(3, b'X'); os._exit(0)", "malformed", "nonsense"),
    "blames the machine": (
        f"{CODE}import os; os.write(3, b'Funavailable\\nno judge'); os._exit(0)",
        "malformed",
        "nonsense",
    ),
    "floods its report": (f"{CODE}import os\n    while True: os.write(3, b'R' * 4096)", "malformed", "larger than"),
    "closes its report": (f"{CODE}import os; os.close(3)\n    while True: pass", "crashed", "signal 9"),
}


@pytest.mark.parametrize(("source", "failure", "detail"), FAILURES.values(), ids=FAILURES.keys())
def test_verifier_that(
    source: str, failure: str, detail: str, judge: sandbox.LocalJudge, databases: tuple[Path, Path]
) -> None:
    reply = judge.run(request(source, databases, deadline_s=0.5 if failure == "timeout" else 30))

    assert reply.failure == failure, reply
    assert detail in reply.detail
    assert reply.result is None
    assert judge.run(request(f"{CODE}return {{'result': 'others'}}", databases)).result == {"result": "others"}


def test_missing_database_is_the_machines_failure(judge: sandbox.LocalJudge, tmp_path: Path) -> None:
    absent = (tmp_path / "initial.db", tmp_path / "final.db")

    reply = judge.run(request(f"{CODE}return {{'result': 'complete'}}", absent))

    assert reply.failure == "unavailable"
    assert "FileNotFoundError" in reply.detail


def test_output_is_cut_and_kept_for_the_log(judge: sandbox.LocalJudge, databases: tuple[Path, Path]) -> None:
    reply = judge.run(request(f"{CODE}print('seen ' + 'x' * 10**6); return {{'result': 'others'}}", databases))

    assert reply.result == {"result": "others"}
    assert reply.log.startswith("seen xxx")
    assert len(reply.log) < 20_000


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_many_requests_at_once_get_their_own_replies(
    run: Callable[[Coroutine[None, None, list[sandbox.JudgeReply]]], list[sandbox.JudgeReply]],
    databases: tuple[Path, Path],
) -> None:
    source = f"{CODE}return {{'result': 'others', 'heard': answer}}"

    async def replies() -> list[sandbox.JudgeReply]:
        async with connected() as judge:
            runs = [judge.run(request(source, databases, answer=str(number))) for number in range(20)]
            return await asyncio.gather(*runs)

    heard = [reply.result and reply.result["heard"] for reply in run(replies())]

    assert heard == [str(number) for number in range(20)]


def test_cancelled_requests_are_ended_at_once(databases: tuple[Path, Path]) -> None:
    endless = request(f"{CODE}while True: pass", databases, deadline_s=3600)
    quick = request(f"{CODE}return {{'result': 'complete'}}", databases)

    async def story() -> list[int]:
        process, sock = sandbox.spawn()
        judge = sandbox.Judge(sock)
        tasks = [asyncio.create_task(judge.run(endless)) for _ in range(wire.AT_ONCE - 1)]
        children = []
        for _ in range(2):
            await judge.run(quick)  # answered in order: the judge has read all that was sent before
            children.append(len(psutil.Process(process.pid).children()))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await judge.aclose()
        process.wait()
        return children

    assert asyncio.run(story()) == [wire.AT_ONCE - 1, 0]


def test_request_that_is_cancelled_while_connecting_leaves_the_judge_usable(databases: tuple[Path, Path]) -> None:
    quick = request(f"{CODE}return {{'result': 'complete'}}", databases)

    async def story() -> sandbox.JudgeReply:
        async with connected() as judge:
            first = asyncio.create_task(judge.run(quick))
            await asyncio.sleep(0)
            first.cancel()
            return await judge.run(quick)

    assert asyncio.run(story()).result == {"result": "complete"}


def test_killed_judge_is_the_machines_failure(databases: tuple[Path, Path]) -> None:
    async def story() -> list[sandbox.JudgeReply]:
        process, sock = sandbox.spawn()
        judge = sandbox.Judge(sock)
        running = asyncio.create_task(judge.run(request(f"{CODE}while True: pass", databases, deadline_s=3600)))
        await judge.run(request(f"{CODE}return {{'result': 'complete'}}", databases))
        process.kill()
        replies = [await running, await judge.run(request(f"{CODE}return {{'result': 'complete'}}", databases))]
        await judge.aclose()
        process.wait()
        return replies

    assert [reply.failure for reply in asyncio.run(story())] == ["unavailable", "unavailable"]


def test_judge_and_its_children_end_with_their_client(databases: tuple[Path, Path]) -> None:
    process, sock = sandbox.spawn()
    with sock:
        sock.sendall(wire.frame(request(f"{CODE}while True: pass", databases, deadline_s=3600).message(1)))

    assert process.wait(timeout=30) == 0


def test_local_judge_says_when_it_is_gone(databases: tuple[Path, Path]) -> None:
    process, sock = sandbox.spawn()
    process.kill()
    process.wait()
    with sock:
        reply = sandbox.LocalJudge(sock).run(request(f"{CODE}return {{'result': 'complete'}}", databases))

    assert reply.failure == "unavailable"


def test_frames_come_together_however_they_are_cut() -> None:
    messages = [{"id": 1, "text": "a" * 300}, {"id": 2}, {"id": 3, "text": "ü"}]
    stream = b"".join(map(wire.frame, messages))
    frames = wire.Frames()

    received = [message for start in range(0, len(stream), 7) for message in frames.feed(stream[start : start + 7])]

    assert received == messages


NONSENSE = {
    "deep": b'{"result": "complete", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "somewhat deep": b'{"result": "complete", "x": ' + b"[" * 60 + b"]" * 60 + b"}",
    "not JSON": b'{"result": ',
    "not text": b"\xff\xfe",
    "a constant": b'{"result": "others", "score": Infinity}',
    "a huge number": b'{"result": "others", "score": 1' + b"0" * 10_000 + b"}",
    "a true score": b'{"result": "others", "score": true}',
    "a negative score": b'{"result": "others", "score": -0.1}',
    "checks that are no booleans": b'{"result": "others", "checks": {"x": 1}}',
    "checks that are a list": b'{"result": "others", "checks": [true]}',
    "a result that is a list": b'{"result": ["complete"]}',
}


@pytest.mark.parametrize("data", NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_is_malformed(data: bytes) -> None:
    with pytest.raises(results.MalformedResult):
        results.parse(data, "code")


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[sandbox.Judge]:
    process, sock = sandbox.spawn()
    judge = sandbox.Judge(sock)
    try:
        yield judge
    finally:
        await judge.aclose()
        process.wait()
