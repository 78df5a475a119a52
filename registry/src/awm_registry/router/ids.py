"""Episode ids that say where their episode is, so that any router finds it without asking anybody.

```text
ep_ + base32 in small letters of 25 bytes, 43 characters in all

 0  5  scenario   SHA-256 of the scenario's name, the first bytes
 5  4  instance   SHA-256 of the scenario's name, "/" and the instance's id
 9  8  number     random, or made from an idempotency key, so that a repeat gives the same episode
17  8  seal       HMAC-SHA-256 of the above under the fleet's key: an id that no router made leads nowhere
```

An id is a name and no password: whoever may use an episode is said by a token, where tokens are asked for.
"""

import base64
import binascii
import contextlib
import functools
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from awm_runtime import errors
from awm_runtime.contract import episodes, problems

_PREFIX = "ep_"
_ENCODED = 40
_SCENARIO, _INSTANCE, _NUMBER, _SEAL = 5, 4, 8, 8
KEY_BYTES = 32
_KEPT = 1 << 16


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an episode is: what its id carries of the scenario's name and of the instance's id."""

    scenario: bytes
    instance: bytes


@functools.lru_cache(_KEPT)
def placement(scenario: str, instance: str) -> Placement:
    """The placement of a scenario's episodes in one of its instances."""
    within = hashlib.sha256(f"{scenario}/{instance}".encode()).digest()
    return Placement(scenario_mark(scenario), within[:_INSTANCE])


def scenario_mark(scenario: str) -> bytes:
    """What the ids of a scenario's episodes carry of its name."""
    return hashlib.sha256(scenario.encode()).digest()[:_SCENARIO]


class EpisodeIds:
    """Makes and reads the ids of one fleet's episodes.

    Args:
        key: Known to all routers of the fleet and to nobody else, at least 32 bytes.

    Raises:
        PermanentError: The key is too short.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < KEY_BYTES:
            raise errors.PermanentError(f"the key for episode ids has {len(key)} bytes; {KEY_BYTES} are needed")
        self._seals = _derived(key, b"seal")
        self._numbers = _derived(key, b"number")
        self.placement = functools.lru_cache(_KEPT)(self._placement)
        """Where the episode with an id is; raises what `_placement` raises."""

    def new(self, where: Placement) -> episodes.EpisodeId:
        """An id that no episode has."""
        return self._sealed(where, secrets.token_bytes(_NUMBER))

    def repeatable(self, where: Placement, *parts: str | int) -> episodes.EpisodeId:
        """The id that is always made of these parts."""
        return self._sealed(where, self.draw(*parts)[:_NUMBER])

    def draw(self, *parts: str | int) -> bytes:
        """32 bytes that the same parts always give, and that nobody without the key can tell."""
        text = b"".join(b"%d:%s" % (len(part), part) for part in (str(each).encode() for each in parts))
        return hmac.digest(self._numbers, text, "sha256")

    def _sealed(self, where: Placement, number: bytes) -> episodes.EpisodeId:
        content = where.scenario + where.instance + number
        raw = content + self._seal(content)
        return episodes.EpisodeId(_PREFIX + base64.b32encode(raw).decode().lower())

    def _seal(self, content: bytes) -> bytes:
        return hmac.digest(self._seals, content, "sha256")[:_SEAL]

    def _placement(self, id: str) -> Placement:
        """Where the episode with this id is.

        Raises:
            ProblemError: `unknown_episode`: no router of this fleet made the id.
        """
        raw = _decoded(id)
        if raw is None or not hmac.compare_digest(self._seal(raw[:-_SEAL]), raw[-_SEAL:]):
            raise problems.ProblemError(
                problems.Code.UNKNOWN_EPISODE, "there is no such episode: its id was not made by this fleet"
            )
        return Placement(raw[:_SCENARIO], raw[_SCENARIO : _SCENARIO + _INSTANCE])


def load_key(path: Path) -> bytes:
    """The fleet's key, from a file that is made on first use and readable by its owner only.

    Raises:
        PermanentError: The file cannot be read or made, or holds no key.
    """
    try:
        if not path.exists():
            _make_key(path)
        key = bytes.fromhex(path.read_text().strip())
    except OSError as exc:
        raise errors.PermanentError(f"{path}: the key for episode ids cannot be kept there: {exc.strerror}") from exc
    except ValueError as exc:
        raise errors.PermanentError(f"{path} holds no key; ids of open episodes need the old one back") from exc
    if len(key) < KEY_BYTES:
        raise errors.PermanentError(f"{path}: the key has {len(key)} bytes; {KEY_BYTES} are needed")
    return key


def _make_key(path: Path) -> None:
    """Makes the file, whole or not at all; another router that was faster made the key that counts."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(unfinished)
    finally:
        unfinished.unlink()


def _derived(key: bytes, purpose: bytes) -> bytes:
    return hmac.digest(key, b"awm episode ids: " + purpose, "sha256")


def _decoded(id: str) -> bytes | None:
    """The bytes of an id; None where it is not written as ids are."""
    encoded = id.removeprefix(_PREFIX)
    if len(encoded) != _ENCODED or not id.startswith(_PREFIX) or encoded != encoded.lower() or not encoded.isascii():
        return None
    try:
        return base64.b32decode(encoded.upper())
    except binascii.Error:
        return None
