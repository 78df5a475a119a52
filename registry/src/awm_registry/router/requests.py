"""Requests to an instance as bytes: only the headers that an instance has a use for go with them."""

from collections.abc import Iterable
from urllib import parse

from awm_registry import directory

_PASSED_ON = frozenset(
    {b"accept", b"content-type", b"user-agent", b"last-event-id", b"traceparent", b"tracestate", b"baggage"}
)
_ANSWERED = frozenset(
    {b"content-type", b"content-length", b"allow", b"retry-after", b"cache-control", b"etag", b"www-authenticate"}
)
_MCP = b"mcp-"
_TRACE = frozenset({b"traceparent", b"tracestate", b"baggage"})

Headers = Iterable[tuple[bytes, bytes]]


def passed_on(headers: Headers) -> bytes:
    """The lines of a client's headers that reach an instance.

    Never `Authorization`, cookies, `Host` or `Origin`, which are the router's affair, nor what belongs to the client's
    own connection.
    """
    return b"".join(
        b"%b: %b\r\n" % header for header in headers if header[0] in _PASSED_ON or header[0].startswith(_MCP)
    )


def traced(headers: Headers) -> bytes:
    """The lines of a client's trace context."""
    return b"".join(b"%b: %b\r\n" % header for header in headers if header[0] in _TRACE)


def answered(headers: Headers) -> list[tuple[bytes, bytes]]:
    """An instance's headers that reach a client: scenario code sets no cookie and redirects nobody."""
    return [header for header in headers if header[0] in _ANSWERED or header[0].startswith(_MCP)]


def agent(
    instance: directory.Instance, method: str, episode: str, *, token: str | None, lines: bytes, body: bytes
) -> tuple[str, bytes]:
    """A request to an episode's MCP URL: the plane's URL, and the bytes. `episode` was checked to be an id."""
    url = instance.agent_url or ""
    lines += _shown(token)
    return url, _request(url, method, f"/e/{episode}/mcp", lines=lines, body=body)


def control(
    instance: directory.Instance, method: str, path: str, *, token: str | None, lines: bytes, body: bytes
) -> tuple[str, bytes]:
    """A request to an instance's control plane."""
    url = instance.control_url or ""
    lines += _shown(token)
    if body:
        lines += b"content-type: application/json\r\n"
    return url, _request(url, method, path, lines=lines, body=body)


def _shown(token: str | None) -> bytes:
    """The router's own token; a client's is never handed on."""
    return b"" if token is None else b"authorization: Bearer %b\r\n" % token.encode()


def _request(url: str, method: str, path: str, *, lines: bytes, body: bytes) -> bytes:
    host = parse.urlsplit(url).netloc
    first = f"{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {len(body)}\r\n".encode("ascii")
    return first + lines + b"\r\n" + body
