"""Which Host and Origin headers are answered: the guard of a local server against DNS rebinding.

A web page can make its own name resolve to 127.0.0.1 and so reach a server on the visitor's machine. The browser still
says the page's name, in `Host` and in `Origin`; both planes refuse names that they do not know.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from awm_runtime.contract import problems

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
ANY = "*"


@dataclass(frozen=True, slots=True)
class HostGuard:
    """The host names that are answered, with any port.

    Args:
        names: Lower-case names and addresses; IPv6 in brackets. None: every name is answered, which is right only where
            something else keeps browsers away (a container behind a router).
    """

    names: frozenset[bytes] | None

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """Refuse a request that came by another name.

        Args:
            headers: The request's headers, names in lower case.

        Raises:
            ProblemError: The Host header is missing or not allowed, or the Origin header is not allowed.
        """
        if self.names is None:
            return
        if _name(headers.get(b"host", b"")) not in self.names:
            raise problems.ProblemError(problems.Code.NOT_PERMITTED, "This Host name is not served here.")
        origin = headers.get(b"origin")
        if origin is not None and _name(origin.rpartition(b"://")[2]) not in self.names:
            raise problems.ProblemError(problems.Code.NOT_PERMITTED, "Requests from this Origin are not served here.")


def guard(names: Iterable[str] = LOOPBACK) -> HostGuard:
    """Make the guard of a setting.

    Args:
        names: Host names and addresses; `*` allows all.
    """
    allowed = frozenset(name.lower() for name in names)
    return HostGuard(None if ANY in allowed else frozenset(name.encode("ascii") for name in allowed))


def _name(authority: bytes) -> bytes:
    """The host part of `host[:port]`."""
    name, colon, port = authority.rpartition(b":")
    return (name if colon and port.isdigit() else authority).lower()
