"""An image registry of a cluster's network under one address inside and outside, so that Docker can push to it."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

from cluster.testbed import clusters, registries

_LOOPBACK = "127.0.0.1"


@contextlib.contextmanager
def registry(cluster: clusters.Cluster) -> Iterator[str]:
    """The address, for the length of a `with` block that begins outside of the cluster's network."""
    target, _, port = registries.HOST.partition(":")

    def connect() -> socket.socket:
        with cluster.namespaces.network():  # a socket stays in the network that it was made in
            return socket.create_connection((target, int(port)), timeout=60)

    with socket.create_server((_LOOPBACK, 0), backlog=64) as outside:
        address = outside.getsockname()
        with cluster.namespaces.network():
            inside = socket.create_server(address, backlog=64)
        with inside:
            for each in (outside, inside):
                threading.Thread(target=_serve, args=(each, connect), daemon=True).start()
            try:
                yield f"{address[0]}:{address[1]}"
            finally:
                for each in (outside, inside):
                    each.shutdown(socket.SHUT_RDWR)


def _serve(listening: socket.socket, connect: Callable[[], socket.socket]) -> None:
    with contextlib.suppress(OSError):  # it was shut
        while True:
            caller, _ = listening.accept()
            threading.Thread(target=_relay, args=(caller, connect), daemon=True).start()


def _relay(caller: socket.socket, connect: Callable[[], socket.socket]) -> None:
    with caller, contextlib.suppress(OSError), connect() as callee:
        callee.settimeout(None)
        back = threading.Thread(target=_copy, args=(callee, caller), daemon=True)
        back.start()
        _copy(caller, callee)
        back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while content := source.recv(1 << 16):
            target.sendall(content)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
