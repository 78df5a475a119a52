"""Near-duplicates among scenarios: by an endpoint's embeddings, or by hashed character n-grams where there are none."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_DIMENSIONS = 4096
_SIZES = (3, 4, 5)
_WORD = re.compile(r"[^\W_]+")

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Closest:
    """The nearest of the vectors that are kept.

    Attributes:
        label: Whose it is.
        cosine: How near: 1 for the same direction.
    """

    label: str
    cosine: float


class Collection:
    """Vectors of unit length with their labels; the nearest one is found by cosine."""

    def __init__(self) -> None:
        self._labels: list[str] = []
        self._vectors: Vectors = np.empty((0, 0), dtype=np.float32)

    def closest(self, vector: Sequence[float]) -> Closest | None:
        """The nearest of those kept, or None where none is."""
        if not self._labels:
            return None
        cosines = self._vectors[: len(self._labels)] @ np.asarray(vector, dtype=np.float32)
        best = int(np.argmax(cosines))
        return Closest(self._labels[best], float(cosines[best]))

    def add(self, label: str, vector: Sequence[float]) -> None:
        """Keeps one more."""
        row = np.asarray(vector, dtype=np.float32)
        if len(self._labels) == len(self._vectors):  # doubled, so that a thousand are not copied a thousand times
            grown = np.zeros((max(64, 2 * len(self._labels)), len(row)), dtype=np.float32)
            grown[: len(self._labels)] = self._vectors[: len(self._labels)] if self._labels else 0
            self._vectors = grown
        self._vectors[len(self._labels)] = row
        self._labels.append(label)


def local(text: str) -> tuple[float, ...]:
    """A vector of unit length made of a text's character n-grams; no model, the same on every machine.

    Each n-gram of 3 to 5 characters adds 1 or -1 to one of 4096 places, as its hash says; damped by a square root, so
    that a word that comes often does not drown the others. Texts with the same words in them are near each other; ones
    that say the same in other words are not.
    """
    words = f" {' '.join(_WORD.findall(text.casefold()))} "
    vector = np.zeros(_DIMENSIONS, dtype=np.float32)
    for size in _SIZES:
        for start in range(len(words) - size + 1):
            drawn = int.from_bytes(hashlib.blake2b(words[start : start + size].encode(), digest_size=8).digest())
            vector[drawn % _DIMENSIONS] += 1.0 if drawn >> 63 else -1.0
    damped = np.sign(vector) * np.sqrt(np.abs(vector))
    length = float(np.linalg.norm(damped))
    return tuple(map(float, damped / length)) if length else tuple(map(float, damped))
