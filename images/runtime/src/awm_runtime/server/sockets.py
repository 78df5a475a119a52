"""Listening sockets of the planes, and how they are named."""

import resource
import socket

from awm_runtime import errors

BACKLOG = 2048
IDLE_S = 75
"""A connection on which nothing comes is closed after so many seconds.

That is long after HTTP clients give one up themselves (httpx and MCP's SDK after 5 s, aiohttp after 15). A server that
closes first loses the request that it did not see coming.
"""
_MOST_DESCRIPTORS = 1 << 18


def listen(host: str, port: int) -> socket.socket:
    """Listens on an address; port 0: any.

    Raises:
        PermanentError: The port is taken, or there is no such address.
    """
    return listening(bound(host, port))


def bound(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Takes an address without listening on it yet.

    Args:
        host: The address.
        port: The port; 0: any.
        shared: Whether further sockets of this user may take it too (`SO_REUSEPORT`).

    Raises:
        PermanentError: The port is taken, or there is no such address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((host, port))
    except (OSError, OverflowError) as exc:
        made.close()
        raise _cannot_listen(host, port, exc) from exc
    return made


def listening(taken: socket.socket) -> socket.socket:
    """Begins to listen on a bound socket.

    Raises:
        PermanentError: Somebody listens there already.
    """
    host, port = taken.getsockname()[:2]
    try:
        taken.listen(BACKLOG)
    except OSError as exc:
        taken.close()
        raise _cannot_listen(host, port, exc) from exc
    return taken


def url(host: str, listening: socket.socket) -> str:
    """Where clients on this machine reach a socket, without a path."""
    named = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://{authority(named)}:{listening.getsockname()[1]}"


def authority(host: str) -> str:
    """The host as a URL and a Host header name it."""
    return f"[{host}]" if ":" in host else host


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    return host in {"localhost", "::1"} or host.startswith("127.")


def raise_descriptor_limit() -> int:
    """Allows as many descriptors as the system does, but so many that all can be closed; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(soft, wanted)


def _cannot_listen(host: str, port: int, exc: Exception) -> errors.PermanentError:
    reason = exc.strerror if isinstance(exc, OSError) else "a port is a number from 0 to 65535"
    return errors.PermanentError(f"cannot listen on {host}:{port}: {reason}; choose another")
