"""The controller as a process: it waits for its turn to lead, answers probes and Prometheus, and ends on SIGTERM."""

import asyncio
import contextlib
import logging
import os
import random
import signal
import socket
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette import applications, requests, responses, routing

from awm_fleet.backends.kubernetes import api, controller, leading, metrics, settings
from awm_runtime import errors

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a controller is run.

    Attributes:
        config: `config.json`.
        index: The catalogue's index, or None.
        namespace: Where its Lease is.
        kubeconfig: How to reach the cluster; None: as the pod's service account, or as KUBECONFIG says.
        host, port: Where it answers probes and Prometheus; port 0: any.
    """

    config: Path
    index: Path | None
    namespace: str
    kubeconfig: str | None
    host: str
    port: int


def run(options: Options) -> None:
    """Serves until SIGTERM or Ctrl-C.

    Raises:
        PermanentError: The configuration is wrong, the port is taken, there is no way to a cluster, or the lease was
            lost.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    asyncio.run(_serve(options))


async def _serve(options: Options) -> None:
    config = settings.read(options.config)
    with _bound(options) as listening:
        connection = await api.Api.connect(options.kubeconfig)
        try:
            await _serve_with(connection, config, listening, options)
        finally:
            await connection.close()


async def _serve_with(connection: api.Api, config: settings.Config, listening: socket.socket, options: Options) -> None:
    stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    lease = leading.Lease(connection, options.namespace, f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}")
    work = controller.Controller(
        connection,
        config,
        options.namespace,
        index=options.index,
        rng=random.Random(os.urandom(8)),  # noqa: S311
    )
    server = _Server(uvicorn.Config(_app(work), log_config=None, log_level="warning", access_log=False))
    answering = asyncio.create_task(server.serve(sockets=[listening]), name="probes")
    leads = asyncio.create_task(_lead(lease, work), name="lead")
    stopped = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({answering, leads, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if leads.done():
            leads.result()
            raise errors.PermanentError("the lease was lost: another controller may lead now")
        if answering.done():
            raise errors.PermanentError("the probes ended: see the log")
    finally:
        leads.cancel()
        stopped.cancel()
        server.should_exit = True
        await asyncio.gather(leads, stopped, answering, return_exceptions=True)
        await lease.release()


def _bound(options: Options) -> socket.socket:
    try:
        listening = socket.create_server((options.host, options.port))
    except OSError as exc:
        raise errors.PermanentError(f"port {options.port} of {options.host} cannot be had: {exc.strerror}") from exc
    logger.info("probes and metrics are at http://%s:%d", *listening.getsockname()[:2])
    return listening


async def _lead(lease: leading.Lease, work: controller.Controller) -> None:
    """Waits for the lease, works while it is ours, and returns when it is lost."""
    await lease.acquire()
    keeping = asyncio.create_task(lease.keep(), name="lease")
    working = asyncio.create_task(work.run(), name="work")
    try:
        await asyncio.wait({keeping, working}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        keeping.cancel()
        working.cancel()
        await asyncio.gather(keeping, working, return_exceptions=True)


def _app(work: controller.Controller) -> applications.Starlette:
    """Probes and metrics. A part of the controller that ends unasked ends the process: who answers, works or waits."""

    async def live(_request: requests.Request) -> responses.Response:
        return responses.PlainTextResponse("ok")

    async def scrape(_request: requests.Request) -> responses.Response:
        return responses.Response(work.meter.text(), media_type=metrics.CONTENT_TYPE)

    routes = [routing.Route("/livez", live), routing.Route("/readyz", live), routing.Route("/metrics", scrape)]
    return applications.Starlette(routes=routes)


class _Server(uvicorn.Server):
    """Uvicorn without signal handlers: those are the process's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
