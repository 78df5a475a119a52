"""No feature of FastAPI starts a thread once `inline.install()` was called."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import fastapi
import pytest
from fastapi import BackgroundTasks, Depends, Request
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles

from awm_runtime.server import asgi, tools

pytestmark = pytest.mark.usefixtures("as_an_instance")

used: list[threading.Thread] = []


def note() -> str:
    """What every piece of scenario code below does: leave the thread that it runs in."""
    used.append(threading.current_thread())
    return "noted"


def yielding() -> Iterator[str]:
    yield note()
    note()


class Refused(Exception):
    pass


def made(folder: Path) -> fastapi.FastAPI:
    app = fastapi.FastAPI()
    app.add_middleware(GZipMiddleware, minimum_size=1)
    (folder / "page.txt").write_text("a page")

    @app.exception_handler(Refused)
    def refused(request: Request, exc: Refused) -> JSONResponse:
        return JSONResponse(note())

    @app.get("/plain")
    def plain() -> str:
        return note()

    @app.get("/dependency")
    async def dependency(noted: str = Depends(note)) -> str:
        return noted

    @app.get("/yielding")
    async def yielded(noted: str = Depends(yielding)) -> str:
        return noted

    @app.get("/handled")
    async def handled() -> None:
        raise Refused

    @app.get("/background")
    async def background(tasks: BackgroundTasks) -> str:
        tasks.add_task(note)
        return "soon"

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(iter([note(), note()]))

    @app.get("/generator")
    def generator() -> StreamingResponse:
        return StreamingResponse(yielding())

    @app.get("/file")
    def file() -> FileResponse:
        note()
        return FileResponse(folder / "page.txt")

    app.mount("/static", StaticFiles(directory=folder))
    return app


@pytest.mark.parametrize(
    ("path", "notes"),
    [
        ("/plain", 1),
        ("/dependency", 1),
        ("/yielding", 2),
        ("/handled", 1),
        ("/background", 1),
        ("/stream", 2),
        ("/generator", 2),
        ("/file", 1),
        ("/static/page.txt", 0),
    ],
)
def test_everything_runs_in_the_calling_thread_and_is_done_when_the_call_is(
    tmp_path: Path, path: str, notes: int
) -> None:
    used.clear()

    async def call() -> tuple[asgi.AppReply, int]:
        before = threading.active_count()
        app = asgi.StartedApp(made(tmp_path), {})
        headers = [(b"accept-encoding", b"gzip")]
        reply = await asgi.request(app, tools.AppRequest("GET", path, path.encode(), b"", headers, b""))
        return reply, threading.active_count() - before  # idle workers would live as long as the loop

    reply, started = asyncio.run(call())
    assert reply.status == 200
    assert started == 0
    assert used == [threading.current_thread()] * notes


def test_what_a_handler_raises_comes_through() -> None:
    app = fastapi.FastAPI()

    @app.get("/")
    def fails() -> None:
        raise ZeroDivisionError

    request = tools.AppRequest("GET", "/", b"/", b"", [], b"")
    with pytest.raises(ZeroDivisionError):
        asyncio.run(asgi.request(asgi.StartedApp(app, {}), request))
