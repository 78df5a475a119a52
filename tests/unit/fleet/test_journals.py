"""The log of an environment: limited, readable at any moment, and no burden to whoever takes it."""

import asyncio
import os
from pathlib import Path

import disks
import pytest

from awm_fleet.backends.process import journals

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def until_taken(path: Path, text: str) -> None:
    async with asyncio.timeout(10):
        while text not in journals.tail(path, 1000):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


async def test_what_is_written_to_the_pipe_arrives_in_the_file(tmp_path: Path) -> None:
    journal = journals.Journal(tmp_path / "log")
    os.write(journal.writing, b"one\ntwo\n")
    await until_taken(tmp_path / "log", "two")
    os.write(journal.writing, b"three\n")
    journal.close()
    assert journals.tail(tmp_path / "log", 2) == "two\nthree\n"


async def test_a_full_file_becomes_the_earlier_one_and_twice_the_limit_is_kept(tmp_path: Path) -> None:
    journal = journals.Journal(tmp_path / "log", limit_bytes=1000)
    for number in range(200):
        os.write(journal.writing, f"{number:049}\n".encode())
        journal.take()
    journal.close()
    sizes = [path.stat().st_size for path in (tmp_path / "log", journals.earlier(tmp_path / "log"))]
    assert all(sizes)
    assert sum(sizes) <= 2 * 1050
    assert journals.tail(tmp_path / "log", 25).split()[0] == f"{175:049}"


async def test_a_full_disk_loses_lines_and_nothing_else(tmp_path: Path) -> None:
    journal = journals.Journal(tmp_path / "log")
    with disks.full():
        os.write(journal.writing, b"lost\n")
        journal.take()
    os.write(journal.writing, b"kept\n")
    journal.take()
    journal.close()
    assert journals.tail(tmp_path / "log", 10) == "kept\n"


async def test_a_log_that_is_not_there_is_empty_and_bytes_are_no_obstacle(tmp_path: Path) -> None:
    assert journals.tail(tmp_path / "log", 10) == ""
    (tmp_path / "log").write_bytes(b"\xff\xfe\nplain\n")
    assert journals.tail(tmp_path / "log", 1) == "plain\n"
