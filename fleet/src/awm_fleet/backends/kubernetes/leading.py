"""One controller works, others wait: a Lease says whose turn it is.

A lease that is not renewed in time is lost, and the controller that held it has to stop before another may begin.
"""

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from awm_fleet.backends.kubernetes import api

logger = logging.getLogger(__name__)

NAME = "awm-controller"
_LASTS_S = 15
_GIVE_UP_S = 10.0
_RENEW_S = 3.0
_FORM = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True, slots=True)
class _Seen:
    """A version of the Lease, and when it was first seen, on our own clock: others' clocks may be off."""

    version: str
    at: float


class Lease:
    """The right to be the one controller of a namespace.

    Args:
        identity: Who we are: unlike any other's.
    """

    def __init__(self, connection: api.Api, namespace: str, identity: str) -> None:
        self._api = connection
        self._namespace = namespace
        self._identity = identity
        self._seen = _Seen("", 0.0)

    async def acquire(self) -> None:
        """Returns when the lease is ours."""
        while not await self._tried():  # noqa: ASYNC110 - the event is in the cluster
            await asyncio.sleep(_RENEW_S)
        logger.info("%s leads", self._identity)

    async def keep(self) -> None:
        """Renews the lease; returns when it is lost."""
        renewed = time.monotonic()
        while time.monotonic() - renewed < _GIVE_UP_S:
            await asyncio.sleep(_RENEW_S)
            begun = time.monotonic()
            if await self._tried():
                renewed = begun
        logger.error("%s could not renew its lease and stops", self._identity)

    async def release(self) -> None:
        """Lets the next one have it at once."""
        try:
            current = await self._api.get(api.LEASES, self._namespace, NAME)
            if current["spec"].get("holderIdentity") == self._identity:
                await self._api.replace(api.LEASES, current | {"spec": current["spec"] | {"holderIdentity": ""}})
        except api.ApiError as exc:
            logger.warning("the lease was not given back: %s", exc)

    async def _tried(self) -> bool:
        """Takes or renews the lease, if nobody else holds it."""
        try:
            current = await self._api.get(api.LEASES, self._namespace, NAME)
        except api.ApiError as exc:
            return exc.is_not_found and await self._written(None)
        version = current["metadata"]["resourceVersion"]
        if version != self._seen.version:
            self._seen = _Seen(version, time.monotonic())
        spec = current.get("spec", {})
        holder = spec.get("holderIdentity")
        lasts_s = spec.get("leaseDurationSeconds", _LASTS_S)
        if holder not in ("", None, self._identity) and time.monotonic() - self._seen.at < lasts_s:
            return False
        return await self._written(current)

    async def _written(self, current: dict[str, Any] | None) -> bool:
        """Writes our name over the version that was read; whether nobody was faster."""
        now = datetime.now(UTC).strftime(_FORM)
        before = (current or {}).get("spec", {})
        ours = before.get("holderIdentity") == self._identity
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": _LASTS_S,
            "acquireTime": before.get("acquireTime") if ours else now,
            "renewTime": now,
            "leaseTransitions": before.get("leaseTransitions", 0) + (0 if ours or current is None else 1),
        }
        try:
            if current is None:
                metadata = {"name": NAME, "namespace": self._namespace}
                document = {"apiVersion": api.LEASES.api, "kind": "Lease", "metadata": metadata, "spec": spec}
                await self._api.create(api.LEASES, self._namespace, document)
            else:
                await self._api.replace(api.LEASES, current | {"spec": spec})
        except api.ApiError as exc:
            if not exc.is_conflict:
                logger.warning("the lease was not written: %s", exc)
            return False
        return True
