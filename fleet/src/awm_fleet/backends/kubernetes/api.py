"""The API server, spoken to in plain JSON: typed objects of thousands of pods would take more memory than all else."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple, Self
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio import client, config
from kubernetes.aio.client import exceptions

from awm_fleet.backends.kubernetes import connections, names
from awm_runtime import errors

_PAGE = 500
_TIMEOUT_S = 30.0
_WATCH_S = 240
_SILENCE_S = 90.0
"""Bookmarks come about every minute: a watch that is silent for longer is dead."""

_GONE = 410
_CONFLICT = 409
_FORBIDDEN = 403
_NOT_FOUND = 404


class ApiError(errors.TransientError):
    """The API server refused, or did not answer; `status` is 0 then.

    Attributes:
        status: The HTTP status.
        reason: Kubernetes' word for it, for example `Forbidden`.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"the API server: {message}" if status else f"the API server does not answer: {message}")
        self.status = status
        self.reason = reason

    @property
    def is_gone(self) -> bool:
        """Whether a watch began too far in the past."""
        return self.status == _GONE

    @property
    def is_conflict(self) -> bool:
        """Whether somebody else wrote meanwhile."""
        return self.status == _CONFLICT

    @property
    def is_forbidden(self) -> bool:
        """Whether we lack the right."""
        return self.status == _FORBIDDEN

    @property
    def is_not_found(self) -> bool:
        """Whether there is no such object."""
        return self.status == _NOT_FOUND


class Kind(NamedTuple):
    """A kind of object: its API group ("" is the core) with version, and its plural."""

    api: str
    plural: str

    def path(self, namespace: str, name: str = "", subresource: str = "") -> str:
        """Where its objects are, or one of them is."""
        root = "/api" if "/" not in self.api else "/apis"
        parts = [root, self.api, "namespaces", quote(namespace), self.plural, quote(name), subresource]
        return "/".join(part for part in parts if part)


ENVIRONMENTS = Kind(f"{names.GROUP}/{names.VERSION}", names.PLURAL)
DEPLOYMENTS = Kind("apps/v1", "deployments")
PODS = Kind("v1", "pods")
QUOTAS = Kind("v1", "resourcequotas")
CONFIG_MAPS = Kind("v1", "configmaps")
SECRETS = Kind("v1", "secrets")
EVENTS = Kind("v1", "events")
LEASES = Kind("coordination.k8s.io/v1", "leases")


class Event(NamedTuple):
    """What a watch tells: ADDED, MODIFIED, DELETED or BOOKMARK, and the object; OPENED, and nothing, at first."""

    type: str
    document: dict[str, Any]


class Api:
    """A connection to an API server.

    Attributes:
        writes: How often it wrote, leases not counted.
    """

    def __init__(self, connection: client.ApiClient) -> None:
        self._client = connection
        self.writes = 0

    @classmethod
    async def connect(cls, kubeconfig: str | None = None) -> Self:
        """Connects as the pod's service account, or as a kubeconfig says.

        Raises:
            PermanentError: There is neither.
        """
        settings = client.Configuration()
        settings.connection_pool_maxsize = 100
        try:
            if kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ:
                config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
            else:
                await config.load_kube_config(  # type: ignore[no-untyped-call]
                    kubeconfig, client_configuration=settings, persist_config=False
                )
        except config.ConfigException as exc:
            raise errors.PermanentError(f"no way to a cluster: {exc}; give --kubeconfig") from exc
        connection = client.ApiClient(settings)
        connection.rest_client = connections.RestClient(settings)
        return cls(connection)

    async def close(self) -> None:
        """Ends all connections."""
        await self._client.close()  # type: ignore[no-untyped-call]

    async def list(self, kind: Kind, namespace: str, selector: str = "") -> tuple[list[dict[str, Any]], str]:
        """All objects of a kind, and the version that a watch goes on from."""
        found: list[dict[str, Any]] = []
        query = {"limit": str(_PAGE)} | ({"labelSelector": selector} if selector else {})
        while True:
            page = await self._ask("GET", kind.path(namespace), query=query)
            found += page["items"]
            if not (rest := page["metadata"].get("continue")):
                return found, page["metadata"]["resourceVersion"]
            query["continue"] = rest

    async def watch(self, kind: Kind, namespace: str, selector: str, version: str) -> AsyncIterator[Event]:
        """What happens from a version on; ends after some minutes.

        Raises:
            ApiError: `is_gone`: list again. Others: the connection broke, or nothing was heard for too long.
        """
        query = {
            "watch": "1",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_S),
        } | ({"labelSelector": selector} if selector else {})
        response = await self._send("GET", kind.path(namespace), query, timeout_s=_WATCH_S + 30)
        try:
            yield Event("OPENED", {})
            while line := await asyncio.wait_for(response.content.readline(), _SILENCE_S):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise _refused(event["object"].get("code", 0), event["object"])
                yield Event(event["type"], event["object"])
        except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
            raise ApiError(0, "Disconnected", f"{type(exc).__name__} while {kind.plural} were watched") from exc
        finally:
            response.close()

    async def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any]:
        """One object."""
        return await self._ask("GET", kind.path(namespace, name))

    async def apply(self, kind: Kind, document: Mapping[str, Any]) -> dict[str, Any]:
        """Applies an object on the server's side, whoever else says something about it."""
        metadata = document["metadata"]
        query = {"fieldManager": names.MANAGER, "force": "true"}
        path = kind.path(metadata["namespace"], metadata["name"])
        return await self._write("PATCH", path, document, "application/apply-patch+yaml", query)

    async def merge(
        self, kind: Kind, namespace: str, name: str, change: Mapping[str, Any], *, subresource: str = ""
    ) -> dict[str, Any]:
        """Changes some fields."""
        path = kind.path(namespace, name, subresource)
        return await self._write("PATCH", path, change, "application/merge-patch+json", {"fieldManager": names.MANAGER})

    async def may_merge(self, kind: Kind, namespace: str, name: str) -> None:
        """Tries a change of nothing.

        Raises:
            ApiError: Such changes are not permitted.
        """
        path = kind.path(namespace, name)
        query = {"fieldManager": names.MANAGER, "dryRun": "All"}
        await self._ask("PATCH", path, query=query, body={}, content_type="application/merge-patch+json")

    async def put_status(self, kind: Kind, namespace: str, name: str, status: Mapping[str, Any]) -> dict[str, Any]:
        """Replaces the status, and nothing else."""
        change = [{"op": "add", "path": "/status", "value": status}]
        path = kind.path(namespace, name, "status")
        return await self._write("PATCH", path, change, "application/json-patch+json", {"fieldManager": names.MANAGER})

    async def create(self, kind: Kind, namespace: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """Makes a new object."""
        return await self._write("POST", kind.path(namespace), document, "application/json", {})

    async def replace(self, kind: Kind, document: Mapping[str, Any]) -> dict[str, Any]:
        """Writes an object over the version that was read."""
        path = kind.path(document["metadata"]["namespace"], document["metadata"]["name"])
        return await self._write("PUT", path, document, "application/json", {})

    async def delete(self, kind: Kind, namespace: str, name: str) -> None:
        """Deletes an object; one that is gone is fine."""
        try:
            await self._write("DELETE", kind.path(namespace, name), None, "application/json", {})
        except ApiError as exc:
            if not exc.is_not_found:
                raise

    async def log(self, namespace: str, pod: str, *, lines: int, most_bytes: int) -> str:
        """The last lines of a pod's log. Hostile text."""
        query = {"tailLines": str(lines), "limitBytes": str(most_bytes)}
        response = await self._send("GET", PODS.path(namespace, pod, "log"), query)
        content = await response.read()
        return content.decode(errors="replace") if response.ok else ""

    async def _write(
        self, method: str, path: str, body: Any, content_type: str, query: Mapping[str, str]
    ) -> dict[str, Any]:
        self.writes += LEASES.plural not in path  # those go on for ever, whatever happens
        return await self._ask(method, path, query=query, body=body, content_type=content_type)

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        response = await self._send(method, path, query or {}, body=body, content_type=content_type)
        try:
            answer: dict[str, Any] = json.loads(await response.read())
        except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
            raise ApiError(0, "Disconnected", f"{method} {path}: {type(exc).__name__}") from exc
        if not response.ok:
            raise _refused(response.status, answer)
        return answer

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        body: Any = None,
        content_type: str = "application/json",
        timeout_s: float = _TIMEOUT_S,
    ) -> aiohttp.ClientResponse:
        """Sends one request; the library adds who we are."""
        headers = {"Accept": "application/json", "Content-Type": content_type}
        try:
            _, url, headers, body, _ = await self._client.param_serialize(
                method, path, header_params=headers, body=body, auth_settings=["BearerToken"]
            )
            target = f"{url}?{urlencode(query)}" if query else url
            response = await self._client.call_api(method, target, headers, body, _request_timeout=timeout_s)
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            raise ApiError(0, "Unreachable", f"{method} {path}: {str(exc) or type(exc).__name__}") from exc
        except exceptions.ApiException as exc:
            raise ApiError(exc.status or 0, str(exc.reason), f"{method} {path}: {exc.reason}") from exc
        answered: aiohttp.ClientResponse = response.response
        if not answered.ok and "watch" in query:
            raise _refused(answered.status, json.loads(await answered.read()))
        return answered


def _refused(status: int, answer: Mapping[str, Any]) -> ApiError:
    return ApiError(status, str(answer.get("reason", "")), str(answer.get("message", answer)))
