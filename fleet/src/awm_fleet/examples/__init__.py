"""Example scenarios of our own, as bundles: what `awm demo` plays and `make up` serves."""

from pathlib import Path

_HOME = Path(__file__).parent


def names() -> tuple[str, ...]:
    """The names of the examples, in the order of the alphabet."""
    return tuple(sorted(folder.parent.name for folder in _HOME.glob("*/scenario.json")))


def path(name: str) -> Path:
    """The bundle folder of an example.

    Raises:
        KeyError: there is no example of this name.
    """
    if name not in names():
        raise KeyError(name)
    return _HOME / name
