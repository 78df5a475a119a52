"""Whether an instance is in use: who stops idle ones asks."""

import time

from starlette.types import ASGIApp, Receive, Scope, Send

PROBES = frozenset({"/livez", "/readyz", "/health", "/metrics"})
"""Asking these is no use of an instance."""


class Activity:
    """Notes when an instance was last asked for anything but how it is."""

    def __init__(self) -> None:
        self._used_at_ns = time.monotonic_ns()
        self._running = 0

    @property
    def used_at_ns(self) -> int:
        """When, on the clock of `time.monotonic_ns`; now, while something is being answered."""
        return time.monotonic_ns() if self._running else self._used_at_ns

    def noting(self, app: ASGIApp) -> ASGIApp:
        """The app, with its requests noted."""

        async def noted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or scope["path"] in PROBES:
                await app(scope, receive, send)
                return
            self._running += 1
            try:
                await app(scope, receive, send)
            finally:
                self._running -= 1
                self._used_at_ns = time.monotonic_ns()

        return noted
