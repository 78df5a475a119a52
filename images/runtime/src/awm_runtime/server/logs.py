"""What our processes log: lines for a collector, plain or as JSON, or short ones for a person who watches.

Warnings and errors are always logged. Only a person is told of each call and each episode: a trainer has the trace.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

Format = Literal["text", "json"]

activity = logging.getLogger("awm.activity")
"""Calls and episodes, as they come. Off, and nearly free, where nobody watches."""

_MOST_SHOWN = 100

BRIEF = "brief"
"""The attribute of a record that a person reads in place of its message, which is for programs."""
FIELDS = "fields"
"""The attribute of a record with what it says, by name: in JSON they stand beside its message."""


class _ShortFormatter(logging.Formatter):
    """`12:03:01 message`; with the level in front of what is worse than information."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(message)s", datefmt="%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the standard library's name
        record.message = getattr(record, BRIEF, record.message)
        line = super().formatMessage(record)
        return line if record.levelno <= logging.INFO else f"{record.asctime} {record.levelname} {record.message}"


class JsonFormatter(logging.Formatter):
    """A JSON object a line: `time`, `level`, `logger`, `message`, the record's own fields, `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": getattr(record, BRIEF, None) or record.getMessage(),
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def to_standard_error(*, watched: bool, form: Format = "text") -> None:
    """Sends the log of this process to standard error.

    Args:
        watched: Whether a person reads it.
        form: How; JSON is for programs, whether a person watches or not.
    """
    handler = logging.StreamHandler(sys.stderr)
    if form == "json":
        handler.setFormatter(JsonFormatter())
    elif watched:
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
