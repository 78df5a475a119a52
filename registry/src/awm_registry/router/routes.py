"""A route of the control plane or of metrics: its path, who may use it, and what answers.

The apps are made from the table of these, and so is the test that tries every route with every kind of token.
"""

from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import fastapi
import pydantic
from fastapi import datastructures
from starlette import exceptions
from starlette.types import Receive, Scope, Send

from awm_registry.router import authority, requests
from awm_runtime.contract import problems
from awm_runtime.server import exchanges

Plane = Literal["control", "metrics"]

_ANYWHERE = frozenset(
    {
        problems.Code.UNAUTHENTICATED,
        problems.Code.NOT_PERMITTED,
        problems.Code.BAD_REQUEST,
        problems.Code.TOO_LARGE,
        problems.Code.TIMEOUT,
        problems.Code.INTERNAL,
    }
)
OF_SCENARIOS = frozenset({problems.Code.UNKNOWN_SCENARIO})
"""What a route may refuse that is about a scenario, and wakes nothing."""
OF_INSTANCES = OF_SCENARIOS | {
    problems.Code.CONFLICT,
    problems.Code.AT_CAPACITY,
    problems.Code.STARTING,
    problems.Code.START_FAILED,
}
"""What a route may refuse that needs an instance."""
OF_EPISODES = OF_INSTANCES | {
    problems.Code.UNKNOWN_EPISODE,
    problems.Code.EPISODE_CLOSED,
    problems.Code.EPISODE_EXPIRED,
    problems.Code.EPISODE_LOST,
    problems.Code.EPISODE_INTERRUPTED,
}
"""What a route may refuse that is about an episode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route.

    Attributes:
        method: The HTTP method.
        path: Its pattern.
        scope: Who may use it.
        endpoint: What answers, as FastAPI takes it.
        plane: Where it is served.
        status: The status of success.
        model: What is answered, where the endpoint does not say so by its type.
        answers: What is answered instead of JSON, by media type.
        refuses: What it may refuse, beside what every route may.
        revalidates: Whether a caller who has the answer already is told so.
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    scope: authority.Scope
    endpoint: Callable[..., Any]
    plane: Plane = "control"
    status: int = 200
    model: type[pydantic.BaseModel] | None = None
    answers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    refuses: Collection[problems.Code] = ()
    revalidates: bool = False

    def add_to(self, app: fastapi.FastAPI, admitting: type[fastapi.routing.APIRoute]) -> None:
        """Adds the route to an app, in a class that checks the scope before anything is parsed."""
        described = _refusals(_ANYWHERE.union(self.refuses))
        if self.revalidates:
            described[304] = {"description": "The caller has it already: its `ETag` is among those of If-None-Match."}
        if self.answers:
            described[self.status] = {"content": {kind: dict(schema) for kind, schema in self.answers.items()}}
        app.router.add_api_route(
            self.path,
            self.endpoint,
            methods=[self.method],
            status_code=self.status,
            response_model=self.model or datastructures.Default(None),
            responses=described,
            response_class=fastapi.Response if self.answers else fastapi.responses.JSONResponse,
            openapi_extra={"x-awm-scope": self.scope},
            route_class_override=admitting,
        )


def _refusals(codes: Collection[problems.Code]) -> dict[int | str, dict[str, Any]]:
    """The answers that carry a problem, by status, each with its codes."""
    content = {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    statuses = sorted({problems.STATUS[code] for code in codes})
    return {
        status: {
            "description": " or ".join(f"`{code}`" for code in sorted(codes) if problems.STATUS[code] == status),
            "content": content,
        }
        for status in statuses
    }


def admitting(tokens: authority.Authority, table: Sequence[Route]) -> type[fastapi.routing.APIRoute]:
    """The class of an app's routes: they let nobody in before they know who it is, and know each other's methods."""

    class Admitting(fastapi.routing.APIRoute):
        async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["method"] not in (self.methods or ()):
                allowed = sorted(each.method for each in table if each.path == self.path)
                raise exceptions.HTTPException(405, headers={"Allow": ", ".join(allowed)})
            await super().handle(scope, receive, send)

        def get_route_handler(self) -> Callable[[fastapi.Request], Coroutine[Any, Any, fastapi.Response]]:
            handle = super().get_route_handler()
            scope: authority.Scope = (self.openapi_extra or {})["x-awm-scope"]

            async def admitted(request: fastapi.Request) -> fastapi.Response:
                request.state.route = self.path
                if scope != "open":
                    shown = request.headers.get("authorization")
                    caller = tokens.caller(authority.bearer(None if shown is None else shown.encode("latin-1")))
                    request.state.caller = caller
                    authority.require(caller, scope)
                body = await request.state.read()  # only now: of strangers not a byte is kept
                return await handle(fastapi.Request(request.scope, exchanges.replayed(body, request.receive)))

            return admitted

    return Admitting


def _caller(request: fastapi.Request) -> authority.Caller:
    caller: authority.Caller = request.state.caller
    return caller


def url_of(request: fastapi.Request) -> str:
    """Where agents reach this router: as it was told, or as this request came."""
    port: int | None = request.state.agent_port
    came = request.url if port is None else request.url.replace(port=port)
    url: str = request.state.url or f"{came.scheme}://{came.netloc}"
    return url


def _lines(request: fastapi.Request) -> bytes:
    return requests.traced(request.headers.raw)


Caller = Annotated[authority.Caller, fastapi.Depends(_caller)]
"""Who asks."""
Url = Annotated[str, fastapi.Depends(url_of)]
Lines = Annotated[bytes, fastapi.Depends(_lines)]
"""The request's trace context, for the instance."""
EpisodeId = Annotated[str, fastapi.Path(description="An episode's id.")]
