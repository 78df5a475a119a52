"""The control plane's OpenAPI document: what FastAPI makes of the routes, made to say what is really answered."""

from typing import Any

import fastapi
from fastapi.openapi import models

_TOKEN = models.HTTPBearer(description="A token of `awm token create`; each route says its scope in `x-awm-scope`.")


class App(fastapi.FastAPI):
    """An app that describes itself.

    Args:
        asks_for_tokens: Whether callers show one.
    """

    def __init__(self, *, asks_for_tokens: bool) -> None:
        super().__init__(
            title="AWM router", version="1", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
        )
        self._asks_for_tokens = asks_for_tokens

    def openapi(self) -> dict[str, Any]:
        """The document."""
        if self.openapi_schema is None:
            self.openapi_schema = self._described(super().openapi())
        return self.openapi_schema

    def _described(self, document: dict[str, Any]) -> dict[str, Any]:
        components = document["components"]
        for operation in (each for path in document["paths"].values() for each in path.values()):
            operation["responses"].pop("422", None)  # FastAPI's own; what cannot be understood is a 400 here
            if self._asks_for_tokens:
                operation["security"] = [{"token": []}]
        for name in ("HTTPValidationError", "ValidationError"):
            components["schemas"].pop(name, None)
        if self._asks_for_tokens:
            components["securitySchemes"] = {"token": _TOKEN.model_dump(mode="json", by_alias=True, exclude_none=True)}
        return document
