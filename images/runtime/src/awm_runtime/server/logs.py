"""What the processes of an instance log: lines for a collector, or short ones for a person who watches.

Warnings and errors are always logged. Only a person is told of each call and each episode: a trainer has the trace.
"""

import logging
import sys

activity = logging.getLogger("awm.activity")
"""Calls and episodes, as they come. Off, and nearly free, where nobody watches."""

_MOST_SHOWN = 60


class _ShortFormatter(logging.Formatter):
    """`12:03:01 message`; with the level in front of what is worse than information."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(message)s", datefmt="%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the standard library's name
        line = super().formatMessage(record)
        return line if record.levelno <= logging.INFO else f"{record.asctime} {record.levelname} {record.message}"


def to_standard_error(*, watched: bool) -> None:
    """Sends the log of this process to standard error.

    Args:
        watched: Whether a person reads it.
    """
    handler = logging.StreamHandler(sys.stderr)
    if watched:
        handler.setFormatter(_ShortFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    activity.setLevel(logging.INFO if watched else logging.WARNING)


def shown(name: str) -> str:
    """A name that an agent chose, safe for a line of the log."""
    text = name if len(name) <= _MOST_SHOWN else f"{name[:_MOST_SHOWN]}..."
    return text if text.isprintable() else ascii(text)
