"""The routes of discovery, out of the catalogue."""

import fastapi
from fastapi import routing

from awm_registry.discovery import routes as discovery
from awm_registry.discovery import views
from awm_registry.router import placing, roster, routes, served


def table(catalogues: served.Catalogues, known: roster.Roster, *, asks_for_tokens: bool) -> list[routes.Route]:
    """The routes. Their answers wake nothing."""

    def fleet(request: fastapi.Request) -> views.Fleet:
        return views.Fleet(
            catalogue=catalogues.current,
            state=lambda scenario: placing.state(known.of(scenario)),
            url=routes.url_of(request),
            asks_for_tokens=asks_for_tokens,
        )

    return [
        routes.Route(
            method="GET",
            path=each.path,
            scope="control",
            endpoint=each.endpoint,
            model=each.response_model,
            refuses=routes.OF_SCENARIOS if "{" in each.path else (),
            revalidates=True,
        )
        for each in discovery.create(fleet).routes
        if isinstance(each, routing.APIRoute)
    ]
