"""Moments as bundles and the control plane write them: RFC 3339, in UTC, with a `Z`."""

import re
from datetime import UTC, datetime

_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?(Z|[+-]\d{2}:\d{2})")


def parse(text: str) -> datetime:
    """The moment that `text` names, aware and in UTC.

    A time without an offset is refused: it would mean something else on another machine.

    Raises:
        ValueError: `text` is no such moment; the message says what to write.
    """
    try:
        if not _MOMENT.fullmatch(text):
            raise ValueError("not an RFC 3339 time with an offset")
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise ValueError(f"{text!r} is not a time ({exc}): write it like 2026-01-15T09:00:00Z") from exc


def render(moment: datetime) -> str:
    """`moment` as `2026-01-15T09:00:00Z`, with six digits of a second only where they are not zero.

    Raises:
        ValueError: `moment` has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone: give it one, for example datetime.UTC")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
