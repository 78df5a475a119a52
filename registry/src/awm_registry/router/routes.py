"""A route of the control plane or of metrics: its path, who may use it, and what answers.

The apps are made from the table of these, and so is the test that tries every route with every kind of token.
"""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import fastapi
import pydantic
from fastapi import datastructures

from awm_registry.router import authority, requests

Plane = Literal["control", "metrics"]

_PROBLEM = {
    "description": "What went wrong, and whose fault it is.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


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
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    scope: authority.Scope
    endpoint: Callable[..., Any]
    plane: Plane = "control"
    status: int = 200
    model: type[pydantic.BaseModel] | None = None
    answers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def add_to(self, app: fastapi.FastAPI, admitting: type[fastapi.routing.APIRoute]) -> None:
        """Adds the route to an app, in a class that checks the scope before anything is parsed."""
        described: dict[int | str, dict[str, Any]] = {"default": _PROBLEM}
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


def admitting(tokens: authority.Authority) -> type[fastapi.routing.APIRoute]:
    """The class of routes that let nobody in before they know who it is."""

    class Admitting(fastapi.routing.APIRoute):
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
                return await handle(request)

            return admitted

    return Admitting


def _caller(request: fastapi.Request) -> authority.Caller:
    caller: authority.Caller = request.state.caller
    return caller


def url_of(request: fastapi.Request) -> str:
    """Where agents reach this router: as it was told, or as this request came."""
    url: str = request.state.url or f"{request.url.scheme}://{request.url.netloc}"
    return url


def _lines(request: fastapi.Request) -> bytes:
    return requests.traced(request.headers.raw)


Caller = Annotated[authority.Caller, fastapi.Depends(_caller)]
"""Who asks."""
Url = Annotated[str, fastapi.Depends(url_of)]
Lines = Annotated[bytes, fastapi.Depends(_lines)]
"""The request's trace context, for the instance."""
EpisodeId = Annotated[str, fastapi.Path(description="An episode's id.")]
