"""Connections to an API server of which none is left when their client is closed.

aiohttp ends a TLS connection that it gives up by an exchange with the server, in the background, and closing its
session waits for no such end: https://docs.aiohttp.org/en/stable/client_advanced.html#graceful-shutdown.
"""

import asyncio
import socket
import weakref
from typing import Any

import aiohttp
from kubernetes.aio.client import rest

_LOOK_S = 0.01
_LOOKS = 200


class RestClient(rest.RESTClientObject):
    """The library's client, which waits for the end of its connections."""

    def __init__(self, configuration: Any) -> None:
        super().__init__(configuration)
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    async def close(self) -> None:
        """Ends all connections; returns when the last has ended, or after two seconds: a server may be gone."""
        await super().close()
        for _ in range(_LOOKS):
            if all(each.fileno() < 0 for each in self._sockets):
                return
            await asyncio.sleep(_LOOK_S)

    def _create_connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(limit=self.maxsize, ssl=self.ssl_context, socket_factory=self._socket)

    def _socket(self, address: Any) -> socket.socket:
        family, kind, protocol, *_ = address
        made = socket.socket(family, kind, protocol)
        self._sockets.add(made)
        return made
