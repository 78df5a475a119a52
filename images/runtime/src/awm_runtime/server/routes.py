"""The routes of a scenario's app, in the order in which it tries them."""

import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import fastapi
import pydantic
from fastapi import routing
from fastapi.openapi import utils
from starlette import routing as starlette_routing

RouteKind = Literal["operation", "hidden", "websocket", "mount"]

# A value that each path converter takes and, where it can, the stricter ones do not.
_SAMPLES = {
    "str": "~any~",
    "path": "~any~/~path~",
    "int": "7",
    "float": "7.5",
    "uuid": "0b1e6f5e-6a0c-4b3e-9f43-3a0c7f2d9b11",
}
_PARAMETER = re.compile(r"\{([a-zA-Z_][a-zA-Z0-9_]*)(?::([a-zA-Z_][a-zA-Z0-9_]*))?\}")


@dataclass(frozen=True, slots=True)
class Route:
    """One entry of the app's routing table.

    Attributes:
        kind: "operation" is in the OpenAPI document; "hidden" answers but is not, like the documentation pages.
        path: As declared, with converters: `/files/{name:path}`.
        path_format: As in the OpenAPI document: `/files/{name}`.
        methods: Upper case, sorted; empty takes all.
        pattern: What a request's path is matched with, or None where that can't be told.
    """

    kind: RouteKind
    path: str
    path_format: str
    methods: tuple[str, ...]
    pattern: re.Pattern[str] | None

    @property
    def slashed(self) -> frozenset[str]:
        """The parameters whose value may hold a `/`."""
        return frozenset(name for name, converter in _PARAMETER.findall(self.path) if converter == "path")

    def sample(self) -> str:
        """A path that this route answers."""
        return _PARAMETER.sub(lambda found: _SAMPLES.get(found[2] or "str", _SAMPLES["str"]), self.path)

    def takes(self, method: str, path: str) -> bool:
        """Whether a request would end here, no earlier route given."""
        return (
            self.pattern is not None and (not self.methods or method in self.methods) and bool(self.pattern.match(path))
        )


def of(app: fastapi.FastAPI) -> list[Route]:
    """The app's routing table, included routers written out."""
    return [_route(context) for context in routing.iter_route_contexts(app.routes)]


def hides(earlier: Iterable[Route], route: Route, method: str) -> Route | None:
    """The route that takes every request meant for `route`, where there is one."""
    path = route.sample()
    return next((each for each in earlier if each.kind != "websocket" and each.takes(method, path)), None)


def document(app: fastapi.FastAPI) -> tuple[dict[str, Any], dict[str, str]]:
    """The app's OpenAPI document, and the paths that had to be left out of it, each with FastAPI's complaint.

    Made from the routes in reverse: of two with the same path and method the document keeps the last that it sees, the
    router answers with the first.
    """
    contexts = list(routing.iter_route_contexts(app.routes))[::-1]
    try:
        return _document(app, contexts), {}
    except _UNFIT:
        broken = {context.path or "": complaint for context in contexts if (complaint := _complaint(app, context))}
        fit = [context for context in contexts if (context.path or "") not in broken]
        return _document(app, fit), broken


# What FastAPI and pydantic raise for a model that has no schema, or that was given keywords of the wrong type.
_UNFIT = (ValueError, TypeError, LookupError, pydantic.errors.PydanticUserError)


def _complaint(app: fastapi.FastAPI, context: routing.RouteContext) -> str | None:
    try:
        _document(app, [context])
    except _UNFIT as exc:
        return f"{type(exc).__name__}: {exc}"
    return None


def _document(app: fastapi.FastAPI, contexts: Sequence[routing.RouteContext]) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # duplicate operation ids: tools get names of their own
        return utils.get_openapi(
            title=app.title,
            version=app.version,
            openapi_version="3.1.0",
            routes=contexts,
            separate_input_output_schemas=app.separate_input_output_schemas,
        )


def _route(context: routing.RouteContext) -> Route:
    return Route(
        kind=_kind(context),
        path=context.path or "",
        path_format=context.path_format or context.path or "",
        methods=tuple(sorted(context.methods or ())),
        pattern=getattr(context, "path_regex", None),
    )


def _kind(context: routing.RouteContext) -> RouteKind:
    route = context.original_route
    if isinstance(route, starlette_routing.WebSocketRoute):
        return "websocket"
    if isinstance(route, routing.APIRoute):
        return "operation" if getattr(context, "include_in_schema", True) else "hidden"
    if isinstance(route, starlette_routing.Route):
        return "hidden"
    return "mount"
