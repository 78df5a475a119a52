"""The routes that find and wake scenarios, the probes, and the OpenAPI document."""

from typing import Annotated, Any

import fastapi
from fastapi import responses

from awm_registry.router import actions as acting
from awm_registry.router import metrics, roster
from awm_registry.router.routes import OF_INSTANCES, Caller, Route, Url

_MOST_WAIT_S = 600.0


def table(actions: acting.Actions, known: roster.Roster, meter: metrics.Metrics) -> list[Route]:
    """The routes."""

    async def resolve(
        name: str,
        caller: Caller,
        url: Url,
        wake: bool = False,
        wait_s: Annotated[float, fastapi.Query(ge=0, le=_MOST_WAIT_S)] = 30.0,
    ) -> acting.Resolved:
        """Where a scenario is. Wakes it where that is asked for, and waits until it answers."""
        return await actions.resolve(name, caller, url, wake=wake, wait_s=wait_s)

    async def prefetch(wanted: acting.PrefetchRequest, url: Url) -> acting.Prefetched:
        """Wakes scenarios and waits for none of them."""
        return await actions.prefetch(wanted, url)

    async def live() -> dict[str, str]:
        """Whether the process turns."""
        return {"status": "ok"}

    async def ready() -> fastapi.Response:
        """Whether the fleet's directory is heard of."""
        if known.is_following:
            return responses.JSONResponse({"status": "ok"})
        return responses.JSONResponse({"status": "starting", "reason": "the directory is not heard of"}, 503)

    async def scrape() -> fastapi.Response:
        """What is counted, for Prometheus."""
        return fastapi.Response(meter.text(), media_type=metrics.CONTENT_TYPE)

    async def describe(request: fastapi.Request) -> dict[str, Any]:
        """This document."""
        app: fastapi.FastAPI = request.app
        return app.openapi()

    return [
        Route(method="GET", path="/v1/resolve/{name}", scope="control", endpoint=resolve, refuses=OF_INSTANCES),
        Route(method="POST", path="/v1/prefetch", scope="control", endpoint=prefetch, status=202),
        Route(method="GET", path="/openapi.json", scope="control", endpoint=describe),
        *(
            Route(method="GET", path=path, scope="open", endpoint=endpoint, plane="metrics", answers=answers)
            for path, endpoint, answers in (
                ("/livez", live, {}),
                ("/readyz", ready, {"application/json": {"schema": {"type": "object"}}}),
                ("/health", ready, {"application/json": {"schema": {"type": "object"}}}),
                ("/metrics", scrape, {"text/plain": {"schema": {"type": "string"}}}),
            )
        ),
    ]
