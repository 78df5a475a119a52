"""The routers of several teams behind one set of ports: `/t/{team}/...`, or the team of the token that is shown.

Which team a request is for decides only which router answers. That one checks the token with its own team's keys, so
that a token that claims another team than it is of opens nothing.
"""

import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Mapping

import jwt
from starlette import applications, requests, responses, routing
from starlette.types import ASGIApp, Receive, Scope, Send

from awm_registry.router import app, authority, gate, metrics
from awm_runtime.contract import problems
from awm_runtime.server import exchanges, problem_responses

_PREFIX = "/t/"
_KEPT = 4096


class Teams:
    """The apps of a router of several teams; as `app.Router`, one for each port.

    Args:
        routers: Each team's router; they know their URLs with the team's path.
        meter: What all of them count.
        stale: Why requests should go to another router, or None; asked by the readiness probe.
    """

    def __init__(
        self, routers: Mapping[str, app.Router], meter: metrics.Metrics, *, stale: Callable[[], str | None]
    ) -> None:
        self._routers = dict(routers)
        self._meter = meter
        self._stale = stale
        self._probes = applications.Starlette(
            routes=[
                routing.Route("/livez", _live),
                routing.Route("/readyz", self._ready),
                routing.Route("/health", self._ready),
                routing.Route("/metrics", self._scrape),
            ]
        )
        self._claimed = functools.lru_cache(_KEPT)(_claimed_team)

    async def agent(self, scope: Scope, receive: Receive, send: Send) -> None:
        """MCP, for agents."""
        await self._hand_on(lambda router: router.agent, scope, receive, send)

    async def control(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Episodes and the catalogue, for trainers and operators."""
        await self._hand_on(lambda router: router.control, scope, receive, send)

    async def metrics(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Probes and `/metrics`."""
        await self._probes(scope, receive, send)

    async def single(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Both planes, the probes and the metrics on one port."""
        if scope["path"] in gate.PROBES:
            await self.metrics(scope, receive, send)
        else:
            await self._hand_on(lambda router: router.single, scope, receive, send)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follows the teams' directories for the length of a `with` block."""
        async with contextlib.AsyncExitStack() as stack:
            for each in self._routers.values():
                await stack.enter_async_context(each.running())
            yield

    async def _hand_on(
        self, plane: Callable[[app.Router], ASGIApp], scope: Scope, receive: Receive, send: Send
    ) -> None:
        try:
            router, path = self._named(scope["path"]) or self._shown(scope)
        except problems.ProblemError as exc:
            await problem_responses.respond(exc)(scope, receive, send)
            return
        await plane(router)({**scope, "path": path, "raw_path": path.encode()}, receive, send)

    def _named(self, path: str) -> tuple[app.Router, str] | None:
        """The router of the team that a path names, and what is left of the path; None where it names none.

        Raises:
            ProblemError: `not_permitted`: there is no such team here.
        """
        if not path.startswith(_PREFIX):
            return None
        team, _, rest = path.removeprefix(_PREFIX).partition("/")
        router = self._routers.get(team)
        if router is None:
            raise problems.ProblemError(problems.Code.NOT_PERMITTED, f"no team {team[:63]!r} is served here")
        return router, f"/{rest}"

    def _shown(self, scope: Scope) -> tuple[app.Router, str]:
        """The router of the team whose token is shown.

        Raises:
            ProblemError: `unauthenticated`: no token is shown, or none of a team that is served here.
        """
        if len(self._routers) == 1:
            return next(iter(self._routers.values())), scope["path"]
        token = authority.bearer(exchanges.folded(scope["headers"]).get(b"authorization"))
        router = self._routers.get(self._claimed(token)) if token else None
        if router is None:
            raise problems.ProblemError(
                problems.Code.UNAUTHENTICATED,
                "several teams are served here: show a team's token, or ask at /t/{team}/",
            )
        return router, scope["path"]

    async def _ready(self, _request: requests.Request) -> responses.Response:
        reason = self._stale()
        if reason is None:
            return responses.JSONResponse({"status": "ok"})
        return responses.JSONResponse({"status": "stale", "reason": reason}, 503)

    async def _scrape(self, _request: requests.Request) -> responses.Response:
        return responses.Response(self._meter.text(), media_type=metrics.CONTENT_TYPE)


async def _live(_request: requests.Request) -> responses.Response:
    return responses.JSONResponse({"status": "ok"})


def _claimed_team(token: str) -> str:
    """The team that a token says it is of. Nothing is checked here: the team's own router does that."""
    try:
        team = jwt.decode(token, options={"verify_signature": False}).get("team", "")
    except jwt.PyJWTError:
        return ""
    return team if isinstance(team, str) else ""
