"""Keeps a copy of what a namespace has of one kind, and tells what changes.

A watch may end, break, fall silent or be told that it began too long ago; each time it goes on, or all is listed anew.
"""

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

from awm_fleet.backends.kubernetes import api

logger = logging.getLogger(__name__)

_FIRST_BACKOFF_S = 0.2
_LONGEST_BACKOFF_S = 15.0


class Named(Protocol):
    """What has a name within its namespace."""

    @property
    def name(self) -> str: ...


_Item = TypeVar("_Item", bound=Named)


class Watcher(Generic[_Item]):
    """A namespace's objects of one kind, as last heard of.

    Args:
        read: Makes of a document what is kept of it.
        changed: Is called with what was before and what is now; None is absent.
        rng: Spreads the moments at which many watchers try again.
    """

    def __init__(
        self,
        connection: api.Api,
        kind: api.Kind,
        namespace: str,
        *,
        selector: str = "",
        read: Callable[[Mapping[str, Any]], _Item],
        changed: Callable[[_Item | None, _Item | None], None],
        rng: random.Random,
    ) -> None:
        self.items: dict[str, _Item] = {}
        self.synced = asyncio.Event()
        self.heard_at = -math.inf
        """When the API server was last heard of, on the monotonic clock."""
        self.fault: api.ApiError | None = None
        """What it last refused or broke off with; None while it is heard of."""
        self._api = connection
        self._kind = kind
        self._namespace = namespace
        self._selector = selector
        self._read = read
        self._changed = changed
        self._rng = rng

    async def run(self) -> None:
        """Watches until it is cancelled."""
        version = ""
        backoff_s = _FIRST_BACKOFF_S
        while True:
            try:
                version = version or await self._list()
                async for event in self._api.watch(self._kind, self._namespace, self._selector, version):
                    self._heard()
                    if event.type != "OPENED":
                        version = self._take(event)
                        backoff_s = _FIRST_BACKOFF_S
            except api.ApiError as exc:
                self.fault = exc
                if exc.is_gone:
                    version = ""
                    continue
                logger.warning("%s in %s: %s", self._kind.plural, self._namespace, exc)
                await asyncio.sleep(backoff_s * (0.5 + self._rng.random()))
                backoff_s = min(2 * backoff_s, _LONGEST_BACKOFF_S)

    def learn(self, document: Mapping[str, Any]) -> None:
        """Takes what a write of our own was answered with, so that nothing is written twice."""
        item = self._read(document)
        self._put(item.name, item)

    def forget(self, name: str) -> None:
        """Takes it that an object is gone."""
        self._changed(self.items.pop(name, None), None)

    async def _list(self) -> str:
        """Takes all that is there, and forgets what is gone."""
        documents, version = await self._api.list(self._kind, self._namespace, self._selector)
        found = {each.name: each for each in map(self._read, documents)}
        for name in self.items.keys() - found.keys():
            self.forget(name)
        for name, item in found.items():
            self._put(name, item)
        self.synced.set()
        return version

    def _take(self, event: api.Event) -> str:
        """Takes one event; returns the version that it brings the copy to."""
        version: str = event.document["metadata"]["resourceVersion"]
        if event.type == "DELETED":
            self.forget(event.document["metadata"]["name"])
        elif event.type != "BOOKMARK":
            item = self._read(event.document)
            self._put(item.name, item)
        return version

    def _heard(self) -> None:
        self.heard_at = time.monotonic()
        self.fault = None

    def _put(self, name: str, item: _Item) -> None:
        before = self.items.get(name)
        self.items[name] = item
        if before != item:
            self._changed(before, item)
