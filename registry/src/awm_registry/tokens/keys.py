"""A folder of keys: `<kid>.pem`, private, for the router alone, and `public/jwks.json`, for everybody.

The same as a Secret of Kubernetes, which has no folders: `<kid>.pem` and `jwks.json`.

At most two keys live. A new one is published at once and signs only after a while, when whoever checks tokens has read
it; the one before goes on signing until then, and its tokens stay good until the next rotation.
"""

import contextlib
import json
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from jwt import algorithms

from awm_registry import errors
from awm_runtime import token_checking
from awm_runtime.contract import tokens

PUBLIC = "public/jwks.json"
"""In a folder of its own, which may be shown to instances."""
PUBLIC_FILE = "jwks.json"
SETTLE_S = 120.0
"""A new key signs when it is this old."""
_LIVE = 2
_LOOK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Key:
    """A private key.

    Attributes:
        kid: Its id: the second it was made in, and something random.
        made_at: When, in seconds since 1970.
    """

    kid: str
    made_at: int
    private: ed25519.Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation did: the new key, from when it signs, and the keys whose tokens are no longer good."""

    kid: str
    signs_from: float
    dropped: tuple[str, ...]


class Signer:
    """Signs tokens with the keys of a folder, which is looked at once a second.

    Raises:
        TokenError: The folder has no usable key, or others can read one.
    """

    def __init__(self, folder: Path, *, now: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self._now = now
        self._stamp = token_checking.stamp(public(folder))
        self._keys = load(folder)
        self._looked_at = time.monotonic()

    def sign(self, claims: tokens.Claims) -> str:
        """A token that says so."""
        return signed(claims, self._current(), self._now())

    def _current(self) -> list[Key]:
        at = time.monotonic()
        if at - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = at
            seen = token_checking.stamp(public(self.folder))
            if seen != self._stamp:
                with contextlib.suppress(errors.TokenError):  # being exchanged: the next look finds it whole
                    self._keys, self._stamp = load(self.folder), seen
        return self._keys


def signed(claims: tokens.Claims, keys: Sequence[Key], now: float) -> str:
    """A token that says so, by the key that signs now."""
    key = signing(keys, now)
    said = claims.model_dump(exclude_none=True)
    return jwt.encode(said, key.private, algorithm=tokens.ALGORITHM, headers={"kid": key.kid})


def signing(keys: Sequence[Key], now: float) -> Key:
    """The key that signs: the newest that has settled, or the oldest while none has."""
    settled = [key for key in keys if key.made_at + SETTLE_S <= now]
    return settled[-1] if settled else keys[0]


def public(folder: Path) -> Path:
    """The file with the public keys: in a folder of its own, or beside the others in a mounted Secret."""
    beside = folder / PUBLIC_FILE
    return beside if beside.exists() else folder / PUBLIC


def load(folder: Path) -> list[Key]:
    """The private keys of a folder, oldest first.

    Raises:
        TokenError: There is none, one cannot be read, or everybody can read one.
    """
    found = sorted((_read(path) for path in folder.glob("*.pem")), key=_age)
    if not found:
        raise errors.TokenError(f"{folder}: no key here; make one with `awm token rotate --keys {folder}`")
    return found


def files(keys: Sequence[Key]) -> dict[str, bytes]:
    """Keys as the files of a Secret, by their names."""
    return {f"{key.kid}.pem": _pem(key) for key in keys} | {PUBLIC_FILE: described(keys).encode()}


def parsed(files: Mapping[str, bytes]) -> list[Key]:
    """The private keys among the files of a Secret, oldest first.

    Raises:
        TokenError: There is none, or one cannot be used.
    """
    found = [_parsed(Path(name), content) for name, content in files.items() if name.endswith(".pem")]
    if not found:
        raise errors.TokenError("no key here: it has no file that ends in .pem")
    return sorted(found, key=_age)


def rotate(folder: Path, *, now: float, force: bool = False) -> Rotation:
    """Adds a key to a folder and drops all but the one that signs now; see `rotated`.

    Raises:
        TokenError: The newest key has not settled, or the folder cannot be used.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    before = load(folder) if any(folder.glob("*.pem")) else []
    kept, done = rotated(before, now=now, force=force)
    _write(folder, kept[-1])
    _publish(folder, kept)
    for kid in done.dropped:
        (folder / f"{kid}.pem").unlink(missing_ok=True)
    return done


def rotated(before: Sequence[Key], *, now: float, force: bool = False) -> tuple[Sequence[Key], Rotation]:
    """A new key, with the one that signs now; the others are dropped. The first key signs at once.

    Args:
        before: The keys, oldest first.
        force: Also when the newest key has not signed yet: then the tokens that are in use stop being good.

    Raises:
        TokenError: The newest key has not settled.
    """
    if len(before) == _LIVE and signing(before, now) is not before[-1] and not force:
        waits = before[-1].made_at + SETTLE_S - now
        raise errors.TokenError(
            f"the key {before[-1].kid} signs in {waits:.0f} s only: rotate then, or give --force and lose the tokens "
            f"that {before[0].kid} signed"
        )
    fresh = _generated(max([int(now), *(key.made_at + 1 for key in before)]))
    kept = [*before[-(_LIVE - 1) :], fresh]
    dropped = tuple(key.kid for key in before if key not in kept)
    return kept, Rotation(fresh.kid, fresh.made_at + SETTLE_S if before else now, dropped)


def _write(folder: Path, key: Key) -> None:
    descriptor = os.open(folder / f"{key.kid}.pem", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(_pem(key))


def _generated(made_at: int) -> Key:
    return Key(f"{made_at}-{secrets.token_hex(4)}", made_at, ed25519.Ed25519PrivateKey.generate())


def _pem(key: Key) -> bytes:
    return key.private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def described(keys: Sequence[Key]) -> str:
    """The public halves, as a JSON Web Key Set."""
    listed = []
    for key in keys:
        public_half = algorithms.OKPAlgorithm.to_jwk(key.private.public_key(), as_dict=True)
        listed.append({**public_half, "kid": key.kid, "alg": tokens.ALGORITHM, "use": "sig"})
    return json.dumps({"keys": listed}, indent=1) + "\n"


def _publish(folder: Path, keys: Sequence[Key]) -> None:
    published = folder / PUBLIC
    published.parent.mkdir(exist_ok=True)
    unfinished = published.with_name(f".{published.name}.{os.getpid()}.part")
    unfinished.write_text(described(keys), encoding="utf-8")
    unfinished.replace(published)


def _read(path: Path) -> Key:
    try:
        if path.stat().st_mode & 0o007:
            raise errors.TokenError(f"{path}: everybody can read this private key; run chmod 600 {path}")
        return _parsed(path, path.read_bytes())
    except OSError as exc:
        raise errors.TokenError(f"{path}: cannot be read: {exc.strerror}") from exc


def _parsed(path: Path, content: bytes) -> Key:
    made_at = path.stem.partition("-")[0]
    try:
        private = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError) as exc:
        raise errors.TokenError(f"{path}: not a private key in PEM: {exc}") from exc
    if not isinstance(private, ed25519.Ed25519PrivateKey) or not made_at.isdigit():
        raise errors.TokenError(f"{path}: not a key that `awm token rotate` made")
    return Key(path.stem, int(made_at), private)


def _age(key: Key) -> tuple[int, str]:
    return key.made_at, key.kid
