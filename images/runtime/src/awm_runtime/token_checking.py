"""Checks signed tokens with public keys. Needs the `tokens` extra; nothing else of ours imports it at the start."""

import functools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import jwt
import pydantic

from awm_runtime import errors
from awm_runtime.contract import problems, tokens

_KEPT = 4096
_LONGEST = 4096
_LOOK_EVERY_S = 1.0
_LEEWAY_S = 5

Stamp = tuple[int, int]


class TokenChecker:
    """Tells good tokens from others. Keys may be exchanged while it is used: their file is looked at once a second.

    Args:
        keys: A JSON Web Key Set with public keys, each with its `kid`.
        audience: For whom the tokens must be, or for any of whom.
        now: The time, in seconds since 1970.

    Raises:
        PermanentError: The file cannot be read, or holds no such keys.
    """

    def __init__(
        self, keys: Path, audience: str | Sequence[str] = tokens.AUDIENCE, *, now: Callable[[], float] = time.time
    ) -> None:
        self._path = keys
        self._audience = audience
        self._now = now
        self._stamp = stamp(keys)
        self._keys = read_keys(keys)
        self._looked_at = time.monotonic()
        # A signature is checked once. The cache finds a token by its keyed hash, not by comparing its letters.
        self._signed = functools.lru_cache(_KEPT)(self._check_signature)

    def claims(self, token: str) -> tokens.Claims:
        """What a token says.

        Raises:
            ProblemError: `unauthenticated`: it is forged, expired, or for somebody else. It does not say which key or
                claim, apart from the expiry.
        """
        self._follow()
        if len(token) > _LONGEST:
            _refuse("the token is none of this fleet's")
        claims = self._signed(token)
        if claims.exp + _LEEWAY_S < self._now():
            _refuse("the token has expired; ask for a new one")
        return claims

    def _check_signature(self, token: str) -> tokens.Claims:
        try:
            key = self._keys[jwt.get_unverified_header(token)["kid"]]
            said = jwt.decode(
                token,
                key,
                algorithms=[tokens.ALGORITHM],
                audience=self._audience,
                issuer=tokens.ISSUER,
                options={"require": ["exp", "iat", "aud", "iss", "jti"], "verify_exp": False, "verify_iat": False},
            )
            return tokens.Claims.model_validate(said)
        except (KeyError, TypeError, jwt.PyJWTError, pydantic.ValidationError):
            _refuse("the token is none of this fleet's")

    def _follow(self) -> None:
        """Takes other keys when their file was exchanged; a file that is being written is taken the next time."""
        at = time.monotonic()
        if at - self._looked_at < _LOOK_EVERY_S:
            return
        self._looked_at = at
        seen = stamp(self._path)
        if seen == self._stamp:
            return
        try:
            self._keys = read_keys(self._path)
        except errors.PermanentError:
            return
        self._stamp = seen
        self._signed.cache_clear()


def stamp(path: Path) -> Stamp:
    """What changes when a file is exchanged; zeros while there is none."""
    try:
        seen = path.stat()
    except OSError:
        return (0, 0)
    return (seen.st_mtime_ns, seen.st_ino)


def read_keys(path: Path) -> Mapping[str, jwt.PyJWK]:
    """The public keys of a JSON Web Key Set, by `kid`.

    Raises:
        PermanentError: It cannot be read, or a key in it is no public Ed25519 key.
    """
    try:
        listed: list[dict[str, Any]] = json.loads(path.read_bytes())["keys"]
        found = {each["kid"]: _public(each) for each in listed}
    except OSError as exc:
        raise errors.PermanentError(f"{path}: cannot be read: {exc.strerror}") from exc
    except (ValueError, KeyError, TypeError, AttributeError, jwt.PyJWTError) as exc:
        raise errors.PermanentError(f"{path}: not a JSON Web Key Set of public Ed25519 keys: {exc}") from exc
    if not found:
        raise errors.PermanentError(f"{path}: holds no key; make one with `awm token rotate`")
    return found


def _public(key: dict[str, Any]) -> jwt.PyJWK:
    if key.get("crv") != "Ed25519" or "d" in key:
        raise ValueError(f"{key.get('kid')} is another kind of key, or a private one")
    return jwt.PyJWK(key, algorithm=tokens.ALGORITHM)


def _refuse(reason: str) -> NoReturn:
    raise problems.ProblemError(problems.Code.UNAUTHENTICATED, reason)
