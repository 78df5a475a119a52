"""Seeded randomness in Python: what scenario code gets in `random`, `uuid`, `secrets` and `os`.

The module functions of `random` draw from the running call's `random`, which `random.seed()` may start anew, for that
call alone. All that is the system's randomness in real life draws from the call's `entropy`, which nothing restarts.
"""

import base64
import datetime
import functools
import os
import random
import uuid
from collections.abc import Callable
from typing import Any

from awm_runtime.determinism import context

_TOKEN_BYTES = 32
_NODE = 0x02_00_00_00_00_01
"""Where `uuid1` says that it was made: a locally administered address, instead of this machine's."""
_GREGORIAN = datetime.datetime(1582, 10, 15, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)


class Random(random.Random):
    """`random.Random`, which without a seed draws from the running call's entropy.

    It does so at every draw, so that one that was made at import serves each episode its own values.
    """

    _follows_call: bool

    def seed(self, a: Any = None, version: int = 2) -> None:
        """Starts an own sequence from `a`; from None on, follows the running call."""
        self._follows_call = a is None
        super().seed(0 if a is None else a, version)

    def random(self) -> float:
        """A number in [0, 1)."""
        return context.current().entropy.random() if self._follows_call else super().random()

    def getrandbits(self, k: int, /) -> int:
        """A number of `k` bits."""
        return context.current().entropy.getrandbits(k) if self._follows_call else super().getrandbits(k)

    def gauss(self, mu: float = 0.0, sigma: float = 1.0) -> float:
        """A number of the normal distribution."""
        if self._follows_call:
            # The real method makes two at a time and keeps one, which would carry over into another call.
            self.gauss_next = None
        return super().gauss(mu, sigma)

    def getstate(self) -> tuple[Any, ...]:
        """The state; one that follows the call has none, so it starts a sequence of its own."""
        if self._follows_call:
            self.seed(context.current().entropy.getrandbits(128))
        return super().getstate()

    def setstate(self, state: tuple[Any, ...]) -> None:
        """Goes on from a state that `getstate` gave."""
        self._follows_call = False
        super().setstate(state)


class SystemRandom(Random):
    """`random.SystemRandom`: always draws from the running call's entropy."""

    def seed(self, *_args: Any, **_kwargs: Any) -> None:
        """Has no effect, as in the real class."""
        super().seed()

    def getstate(self) -> tuple[Any, ...]:
        """Refused, as in the real class."""
        raise NotImplementedError("System entropy source does not have state.")

    def setstate(self, _state: tuple[Any, ...]) -> None:
        """Refused, as in the real class."""
        raise NotImplementedError("System entropy source does not have state.")


def _drawn(name: str) -> Callable[..., Any]:
    @functools.wraps(getattr(random, name))
    def draw(*args: Any, **kwargs: Any) -> Any:
        return getattr(context.current().random, name)(*args, **kwargs)

    return draw


def _urandom(size: int, /) -> bytes:
    if size < 0:
        raise ValueError("negative argument not allowed")
    return context.current().entropy.randbytes(size)


def _getrandom(size: int, flags: int = 0) -> bytes:  # noqa: ARG001 - as the real function
    return _urandom(size)


def _uuid1(node: int | None = None, clock_seq: int | None = None) -> uuid.UUID:
    call = context.current()
    ticks = (call.now() - _GREGORIAN) // _MICROSECOND * 10
    sequence = call.entropy.getrandbits(14) if clock_seq is None else clock_seq
    fields = (
        ticks & 0xFFFF_FFFF,
        ticks >> 32 & 0xFFFF,
        ticks >> 48 & 0x0FFF,
        sequence >> 8 & 0x3F,
        sequence & 0xFF,
        _NODE if node is None else node,
    )
    return uuid.UUID(fields=fields, version=1)


def _uuid4() -> uuid.UUID:
    return uuid.UUID(int=context.current().entropy.getrandbits(128), version=4)


def _getnode() -> int:
    return _NODE


def _token_bytes(nbytes: int | None = None) -> bytes:
    return _urandom(_TOKEN_BYTES if nbytes is None else nbytes)


def _token_hex(nbytes: int | None = None) -> str:
    return _token_bytes(nbytes).hex()


def _token_urlsafe(nbytes: int | None = None) -> str:
    return base64.urlsafe_b64encode(_token_bytes(nbytes)).rstrip(b"=").decode("ascii")


def _randbelow(exclusive_upper_bound: int) -> int:
    if exclusive_upper_bound <= 0:
        raise ValueError("Upper bound must be positive.")
    return context.current().entropy.randrange(exclusive_upper_bound)


_system = SystemRandom()

RANDOM = {
    **{name: _drawn(name) for name in random.__all__ if hasattr(random.Random, name)},
    "Random": Random,
    "SystemRandom": SystemRandom,
}
"""What is replaced in the module `random`."""

UUID = {"uuid1": _uuid1, "uuid4": _uuid4, "getnode": _getnode}
"""What is replaced in the module `uuid`."""

SECRETS = {
    "SystemRandom": SystemRandom,
    "choice": _system.choice,
    "randbelow": _randbelow,
    "randbits": _system.getrandbits,
    "token_bytes": _token_bytes,
    "token_hex": _token_hex,
    "token_urlsafe": _token_urlsafe,
}
"""What is replaced in the module `secrets`."""

OS = {"urandom": _urandom} | ({"getrandom": _getrandom} if hasattr(os, "getrandom") else {})
"""What is replaced in the module `os`."""
