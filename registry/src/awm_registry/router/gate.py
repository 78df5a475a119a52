"""What every request of the control plane passes: host name, size, a line in the audit log."""

import asyncio
import functools
import json
import logging
import time
from typing import Any

import fastapi
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from awm_registry.router import metrics, settings, tracing
from awm_runtime.contract import problems
from awm_runtime.server import exchanges, hosts, logs, problem_responses

logger = logging.getLogger(__name__)
audit = logging.getLogger("awm.audit")
"""One line of JSON for each request of the control plane: who did what, and what came of it. Those that only look are
told of where the log's level is DEBUG."""

PROBES = frozenset({"/livez", "/readyz", "/health", "/metrics"})


class Gate:
    """An ASGI app in front of another.

    Args:
        app: The other.
        guard: Which Host and Origin headers are answered; probes come by address.
        limits: The router's settings.
        meter: What is counted.
        url: Where agents reach this router, for the app; None: as the request came.
        agent_port: The port of agents, where a request came to another one.
        team: Whose fleet it is, for the audit log; empty without teams.
    """

    def __init__(
        self,
        app: fastapi.FastAPI,
        *,
        guard: hosts.HostGuard,
        limits: settings.Settings,
        meter: metrics.Metrics,
        url: str | None,
        agent_port: int | None = None,
        team: str = "",
    ) -> None:
        self._app: ASGIApp = app
        self._guard = guard
        self._limits = limits
        self._meter = meter
        self._url = url
        self._agent_port = agent_port
        self._said = {"team": team} if team else {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        headers = exchanges.folded(scope["headers"])
        tracing.begin(headers.get(b"traceparent"))
        read = functools.partial(self._body, headers, receive)
        reached = {"url": self._url, "agent_port": self._agent_port}
        state = scope["state"] = {**reached, "route": "", "caller": None, "read": read}
        began, status = time.perf_counter(), 0

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if scope["path"] not in PROBES:
                self._guard.check(headers)
            await self._app(scope, receive, seen)
        except exchanges.Disconnected:  # half a request asks for nothing
            return
        except problems.ProblemError as exc:
            await problem_responses.respond(exc)(scope, receive, seen)
        except Exception:  # answered already by `problem_responses`; further up it would cost the connection
            logger.exception("%s %s failed", scope["method"], scope["path"])
        if scope["path"] not in PROBES:
            self._note(scope, state, status=status, seconds=time.perf_counter() - began)

    async def _body(self, headers: exchanges.Headers, receive: Receive) -> bytes:
        try:
            async with asyncio.timeout(self._limits.request_s):
                body = await exchanges.body(headers, receive, self._limits.request_bytes)
        except TimeoutError as exc:
            raise problems.ProblemError(
                problems.Code.TIMEOUT, "the request did not arrive in time", blame="agent"
            ) from exc
        if body is None:
            raise problems.ProblemError(
                problems.Code.TOO_LARGE, f"a request is at most {self._limits.request_bytes} bytes long"
            )
        return body

    def _note(self, scope: Scope, state: dict[str, Any], *, status: int, seconds: float) -> None:
        self._meter.control_request(f"{scope['method']} {state['route']}" if state["route"] else "", status)
        caller = state["caller"]
        line = {
            "action": f"{scope['method']} {state['route'] or 'unknown'}",
            "path": scope["path"],
            "subject": caller.subject if caller else None,
            "scope": caller.scope if caller else None,
            "status": status,
            "ms": round(1e3 * seconds, 1),
            **self._said,
        }
        level = logging.DEBUG if scope["method"] == "GET" else logging.INFO
        brief = f"{scope['method']} {logs.shown(scope['path'])}: {status} in {line['ms']} ms"
        audit.log(level, "%s", json.dumps(line), extra={logs.BRIEF: brief, logs.FIELDS: line})
