"""A zygote and what it forks: adopted by its owner, named, and with the descriptors of its request only."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from awm_runtime import families
from awm_runtime.zygote import client

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(not families.SUPPORTED, reason="zygotes need Linux")]

MODULE = """
import os, sys, time
from awm_runtime.zygote import serving


def live(request, descriptors):
    os.write(descriptors[0], request["say"].encode())
    if request.get("fail"):
        raise RuntimeError("as asked")
    while request.get("stay"):
        time.sleep(0.01)
    return request.get("status", 0)


serving.serve(live)
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def zygote(tmp_path: Path) -> AsyncIterator[client.Zygote]:
    (tmp_path / "life_for_tests.py").write_text(MODULE)
    families.adopt()
    made = _zygote(tmp_path)
    yield made
    made.close()
    families.adopt(False)


def _zygote(folder: Path) -> client.Zygote:
    variables = {"PYTHONPATH": str(folder), "PATH": os.environ["PATH"]}
    return client.Zygote("life_for_tests", owner=str(folder), environment=variables, log=2)


async def _fork(zygote: client.Zygote, **request: object) -> tuple[client.Forked, bytes]:
    """Forks; the process and what it said."""
    read, write = os.pipe()
    try:
        forked = await zygote.fork({"say": "here", **request}, [write])
    finally:
        os.close(write)
    said = await asyncio.to_thread(os.read, read, 100)
    os.close(read)
    return forked, said


async def _status(forked: client.Forked) -> int:
    async with asyncio.timeout(10):
        while (status := forked.poll()) is None:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
    return status


async def test_a_fork_is_a_child_of_its_owner_with_a_session_of_its_own(zygote: client.Zygote) -> None:
    forked, said = await _fork(zygote, stay=True)
    assert said == b"here"
    process = psutil.Process(forked.pid)
    assert process.ppid() == os.getpid()
    assert os.getsid(forked.pid) == forked.pid
    forked.kill()
    assert await _status(forked) == -signal.SIGKILL


async def test_its_exit_status_is_its_lifes_and_a_failure_is_1(zygote: client.Zygote) -> None:
    forked, _ = await _fork(zygote, status=7)
    assert await _status(forked) == 7
    failed, _ = await _fork(zygote, fail=True)
    assert await _status(failed) == 1
    again, said = await _fork(zygote)  # the zygote is none the worse
    assert (await _status(again), said) == (0, b"here")


async def test_a_killed_zygote_takes_nothing_along_and_says_so_to_the_next(zygote: client.Zygote) -> None:
    forked, _ = await _fork(zygote, stay=True)
    zygote.process.kill()
    zygote.process.wait()
    with pytest.raises(client.ZygoteGone):
        await _fork(zygote)
    assert forked.poll() is None
    forked.terminate()
    assert await _status(forked) == -signal.SIGTERM


async def test_a_fork_has_the_descriptors_of_its_request_only(zygote: client.Zygote) -> None:
    first, _ = await _fork(zygote, stay=True)
    second, _ = await _fork(zygote, stay=True)
    for forked in (first, second):
        assert psutil.Process(forked.pid).num_fds() == 4  # the standard files and the pipe
    assert psutil.Process(zygote.process.pid).num_fds() == 4  # the standard files and its socket
    for forked in (first, second):
        forked.kill()
        await _status(forked)


def test_a_module_that_starts_threads_is_no_zygote(tmp_path: Path) -> None:
    threads = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    (tmp_path / "life_for_tests.py").write_text(threads + MODULE)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        done = subprocess.run(
            [sys.executable, "-m", "life_for_tests", "--fd", str(theirs.fileno())],
            env={"PYTHONPATH": str(tmp_path)},
            pass_fds=(theirs.fileno(),),
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert done.returncode == 1
    assert "what is imported started 1 threads" in done.stderr


def test_everything_ends_with_the_owner(tmp_path: Path) -> None:
    (tmp_path / "life_for_tests.py").write_text(MODULE)
    script = f"""
import asyncio, os, sys
from awm_runtime import families
from awm_runtime.zygote import client
async def main():
    families.adopt()
    zygote = client.Zygote("life_for_tests", owner="x", environment={{"PYTHONPATH": {str(tmp_path)!r}}}, log=2)
    forked = await zygote.fork({{"say": "here", "stay": True}}, [1])
    print(f" {{zygote.process.pid}} {{forked.pid}}", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pids = [int(each) for each in owner.stdout.readline().replace("here", "").split()]
        family = [psutil.Process(pid) for pid in pids]
        owner.kill()
    _, left = psutil.wait_procs(family, timeout=10)
    assert len(family) == 2
    assert left == []
