"""The control plane over HTTP. For trainers and operators; agents never reach it."""

import asyncio
import hashlib
import io
import logging
import os
import sqlite3
from collections.abc import AsyncIterator
from typing import Any, BinaryIO, Literal

import fastapi
from fastapi import responses
from starlette.types import ASGIApp, Receive, Scope, Send

from awm_runtime.contract import episodes as contract
from awm_runtime.contract import problems, verdicts
from awm_runtime.server import activity, admission, exchanges, hosts, metrics, outcomes, problem_responses, storage
from awm_runtime.server import control as controls

logger = logging.getLogger(__name__)

SQLITE = "application/vnd.sqlite3"
_CHUNK = 256 * 1024


def create(
    control: controls.Control, *, admitted: admission.Admission, guard: hosts.HostGuard, request_bytes: int
) -> ASGIApp:
    """The control plane as an ASGI app.

    Args:
        admitted: Who may use it.
    """
    app = fastapi.FastAPI(title="AWM instance: control plane", version="1", docs_url=None, redoc_url=None)
    problem_responses.install(app)
    for kind in (OSError, sqlite3.OperationalError):
        app.add_exception_handler(kind, _disk_response)
    _add_probes(app, control)
    _add_episodes(app, control)
    return _Gate(app, admitted=admitted, guard=guard, request_bytes=request_bytes)


def _add_probes(app: fastapi.FastAPI, control: controls.Control) -> None:
    @app.get("/livez")
    async def live() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz")
    @app.get("/health")
    async def ready() -> fastapi.Response:
        """Ready when the app is loaded, with the tools of the bundle, the seed opens, and episodes may be opened."""
        if control.is_drained:
            return responses.JSONResponse({"status": "draining"}, status_code=503)
        if not control.scenario.is_loaded:
            return responses.JSONResponse({"status": "starting"}, status_code=503)
        fault = storage.fault(control.store.world.seed)
        if fault is not None:
            reason = f"the seed database cannot be read: {fault}"
            return responses.JSONResponse({"status": "failed", "reason": reason}, status_code=503)
        return responses.JSONResponse({"status": "ok", "scenario": control.bundle.scenario.name})

    @app.get("/metrics")
    async def scrape() -> fastapi.Response:
        return fastapi.Response(control.meter.text(), media_type=metrics.CONTENT_TYPE)


def _add_episodes(app: fastapi.FastAPI, control: controls.Control) -> None:
    @app.post("/v1/episodes", status_code=201)
    async def open_episodes(wanted: contract.OpenRequest) -> contract.OpenResponse:
        return await control.open(wanted)

    @app.get("/v1/episodes")
    async def list_episodes() -> dict[str, list[contract.EpisodeView]]:
        return {"episodes": [control.view(each, hashed=False) for each in control.store]}

    @app.post("/v1/drain", status_code=204)
    async def drain() -> None:
        """No episode is opened any more; refused while one is open."""
        control.drain()

    @app.get("/v1/episodes/{id}")
    async def look(id: str) -> contract.EpisodeView:
        return await control.look(id)

    @app.delete("/v1/episodes/{id}", status_code=204)
    async def close(id: str) -> None:
        await control.close(id)

    @app.post("/v1/episodes/{id}/reset")
    async def reset(id: str, wanted: contract.ResetRequest | None = None) -> contract.EpisodeView:
        return await control.reset(id, wanted.seed if wanted else None)

    @app.post("/v1/episodes/{id}/interrupt")
    async def interrupt(id: str) -> contract.EpisodeView:
        return await control.interrupt(id)

    @app.post("/v1/episodes/{id}/heartbeat")
    async def heartbeat(id: str) -> contract.Lease:
        return contract.Lease(expires_at=control.store.renew(control.store.get_open(id)))

    @app.post("/v1/episodes/{id}/verify")
    async def verify(id: str, wanted: verdicts.VerifyRequest | None = None) -> verdicts.Verdict:
        return await control.verify(id, wanted or verdicts.VerifyRequest())

    @app.get("/v1/episodes/{id}/diff")
    async def diff(id: str) -> dict[str, Any]:
        return await control.diff(id)

    @app.get("/v1/episodes/{id}/trace")
    async def trace(id: str) -> fastapi.Response:
        path = control.store.get(id).trace
        file = path.open("rb") if path.exists() else io.BytesIO()
        return responses.StreamingResponse(_chunks(file), media_type="application/x-ndjson")

    @app.get("/v1/episodes/{id}/snapshot")
    async def snapshot(id: str, which: Literal["initial", "current"] = "current") -> fastapi.Response:
        async with control.snapshot(id, which) as copy:
            file = copy.open("rb")  # can be read when its name is gone, so nothing stays behind if the client goes
        etag = (await asyncio.to_thread(hashlib.file_digest, file, "sha256")).hexdigest()
        headers = {"ETag": f'"{etag}"', "Content-Length": str(os.fstat(file.fileno()).st_size)}
        return responses.StreamingResponse(_chunks(file), media_type=SQLITE, headers=headers)


class _Gate:
    """What every request passes before FastAPI sees it: host name, token, size."""

    def __init__(
        self, app: ASGIApp, *, admitted: admission.Admission, guard: hosts.HostGuard, request_bytes: int
    ) -> None:
        self._app = app
        self._admitted = admitted
        self._guard = guard
        self._request_bytes = request_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        try:
            if scope["path"] not in activity.PROBES:  # kubelet and Prometheus come by address, without a token
                self._guard.check(headers)
                self._admitted.control(headers.get(b"authorization"))
            body = await exchanges.body(headers, receive, self._request_bytes)
            if body is None:
                raise problems.ProblemError(
                    problems.Code.TOO_LARGE, f"the request is larger than {self._request_bytes} bytes"
                )
        except problems.ProblemError as exc:
            await problem_responses.respond(exc)(scope, receive, send)
            return
        except exchanges.Disconnected:  # half a request asks for nothing
            return
        try:
            await self._app(scope, exchanges.replayed(body, receive), send)
        except Exception:  # answered already by `problem_responses`; further up it would cost the connection
            logger.exception("%s %s failed", scope["method"], scope["path"])


async def _disk_response(request: fastapi.Request, exc: Exception) -> fastapi.Response:
    if not outcomes.is_disk_full(exc):
        raise exc
    logger.error("%s %s: the disk is full", request.method, request.url.path)
    return problem_responses.respond(
        problems.ProblemError(
            problems.Code.AT_CAPACITY, "there is no room on this instance's disk for this", retry_after_s=30
        )
    )


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    with file:
        file.seek(0)
        while chunk := file.read(_CHUNK):
            yield chunk
