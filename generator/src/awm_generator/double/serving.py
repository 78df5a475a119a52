"""Runs the server on a port of this machine."""

import asyncio
import contextlib
import socket
from collections.abc import Callable

import uvicorn

from awm_generator import errors
from awm_generator.double import app


def serve(double: app.Double, *, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """Serves until Ctrl-C or SIGTERM.

    Args:
        double: What to serve.
        host: The address.
        port: The port; 0: any.
        on_ready: Called with the base URL, once connections are taken.

    Raises:
        GenerationError: the port is taken.
    """
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    with contextlib.closing(sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError as exc:
            raise errors.GenerationError(f"{host}:{port} cannot be had: {exc.strerror}") from exc
        sock.listen(2048)
        shown = f"[{host}]" if ":" in host else host
        on_ready(f"http://{shown}:{sock.getsockname()[1]}")
        # Critical only: what is cut on cue would be complained about.
        server = uvicorn.Server(uvicorn.Config(double.app, log_level="critical", timeout_graceful_shutdown=1))
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(server.serve(sockets=[sock]))
