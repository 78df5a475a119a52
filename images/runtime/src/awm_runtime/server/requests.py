"""From a tool's arguments to the request that its operation expects. Made ready per tool: it runs on every call."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import cookies
from typing import Any, Literal
from urllib import parse

import orjson

Location = Literal["path", "query", "header", "cookie", "body"]
Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class AppRequest:
    """A request as ASGI wants it.

    Attributes:
        method: Upper case.
        path: Decoded; a `/` inside a parameter stays `%2F`, so that a value never leads to another route.
        raw_path: Percent-encoded.
        query_string: Percent-encoded.
        headers: Lower-case names and values.
        body: What is sent.
    """

    method: str
    path: str
    raw_path: bytes
    query_string: bytes
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an argument goes, and what it is called there."""

    argument: str
    location: Location
    name: str


@dataclass(frozen=True, slots=True)
class Body:
    """What a body is made of.

    Attributes:
        kind: "object": the body arguments are its properties; "whole": the one body argument is it; "form": the body
            arguments are its fields.
        media_type: The content type sent.
        required: Whether a body is sent although no argument of it is given.
    """

    kind: Literal["none", "object", "whole", "form"]
    media_type: str = ""
    required: bool = False


_Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """How the arguments of one tool become a request: (argument, name) pairs by their place."""

    method: str
    path_format: str
    literals: tuple[str, ...]
    quoted_literals: tuple[str, ...]
    path: _Pairs
    slashed: frozenset[str]
    query: _Pairs
    headers: _Pairs
    cookies: _Pairs
    fields: _Pairs
    body: Body

    def request(self, arguments: Mapping[str, Any]) -> AppRequest:
        """The request for arguments that satisfy the tool's input schema."""
        body, headers = self._content(arguments)
        if self.headers or self.cookies:
            headers = headers + self._extra_headers(arguments)
        path, raw_path = self._paths(arguments)
        query = _encoded(self.query, arguments) if self.query else b""
        return AppRequest(self.method, path, raw_path, query, headers, body)

    def _paths(self, arguments: Mapping[str, Any]) -> tuple[str, bytes]:
        decoded, encoded = [self.literals[0]], [self.quoted_literals[0]]
        for (argument, name), literal, quoted in zip(
            self.path, self.literals[1:], self.quoted_literals[1:], strict=True
        ):
            value = _text(arguments[argument])
            slashed = name in self.slashed
            decoded += (value if slashed else value.replace("/", "%2F"), literal)
            encoded += (parse.quote(value, safe="/" if slashed else ""), quoted)
        return "".join(decoded), "".join(encoded).encode()

    def _content(self, arguments: Mapping[str, Any]) -> tuple[bytes, Headers]:
        if self.body.kind == "none":
            return b"", []
        given = [(argument, name) for argument, name in self.fields if argument in arguments]
        if not given and not self.body.required:
            return b"", []
        body = self._encode(tuple(given), arguments)
        kind = self.body.media_type.encode()
        return body, [(b"content-type", kind), (b"content-length", str(len(body)).encode())]

    def _encode(self, given: _Pairs, arguments: Mapping[str, Any]) -> bytes:
        if self.body.kind == "form":
            return _encoded(given, arguments)
        if self.body.kind == "whole":
            return orjson.dumps(arguments[given[0][0]])
        return orjson.dumps({name: arguments[argument] for argument, name in given})

    def _extra_headers(self, arguments: Mapping[str, Any]) -> Headers:
        found = [(name.lower().encode("latin-1"), value) for name, value in _pairs(self.headers, arguments)]
        headers = [(name, value.encode("latin-1", "replace")) for name, value in found]
        jar = "; ".join(_cookie(name, value) for name, value in _pairs(self.cookies, arguments))
        return [*headers, (b"cookie", jar.encode("latin-1", "replace"))] if jar else headers


def plan(
    method: str, path_format: str, placements: Sequence[Placement], *, body: Body, slashed: Collection[str] = ()
) -> Plan:
    """Makes ready what can be known before the first call.

    Args:
        method: The HTTP method, upper case.
        path_format: The path with its parameters in braces.
        placements: Where each argument goes.
        body: What the body is made of.
        slashed: The path parameters that may hold a `/`.
    """
    by_name = {each.name: each.argument for each in placements if each.location == "path"}
    literals, path = _split(path_format, by_name)

    def at(location: Location) -> _Pairs:
        return tuple((each.argument, each.name) for each in placements if each.location == location)

    return Plan(
        method=method,
        path_format=path_format,
        literals=literals,
        quoted_literals=tuple(parse.quote(each) for each in literals),
        path=path,
        slashed=frozenset(slashed),
        query=at("query"),
        headers=at("header"),
        cookies=at("cookie"),
        fields=at("body"),
        body=body,
    )


def _split(path_format: str, arguments: Mapping[str, str]) -> tuple[tuple[str, ...], _Pairs]:
    """The literal pieces of a path, and the (argument, name) pairs between them."""
    pieces = re.split(r"\{([^{}]+)\}", path_format)  # literal, name, literal, name, ..., literal
    return tuple(pieces[::2]), tuple((arguments.get(name, name), name) for name in pieces[1::2])


def _pairs(places: _Pairs, arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and texts of the given arguments: lists repeated, nulls left out."""
    for argument, name in places:
        value = arguments.get(argument)
        for each in value if isinstance(value, list) else (value,):
            if each is not None:
                yield name, _text(each)


def _encoded(places: _Pairs, arguments: Mapping[str, Any]) -> bytes:
    return parse.urlencode(list(_pairs(places, arguments))).encode()


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return orjson.dumps(value).decode() if isinstance(value, dict | list) else str(value)


def _cookie(name: str, value: str) -> str:
    return cookies.SimpleCookie({name: value})[name].OutputString([])
