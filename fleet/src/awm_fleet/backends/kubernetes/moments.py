"""Times as Kubernetes writes them: RFC 3339 in UTC, to the second."""

from datetime import UTC, datetime

_FORM = "%Y-%m-%dT%H:%M:%SZ"


def text(moment: datetime) -> str:
    """A time as text."""
    return moment.astimezone(UTC).strftime(_FORM)


def now() -> str:
    """The time now."""
    return text(datetime.now(UTC))


def between(earlier: str, later: str) -> float:
    """Seconds from one time to another."""
    return (_parsed(later) - _parsed(earlier)).total_seconds()


def _parsed(moment: str) -> datetime:
    return datetime.fromisoformat(moment.replace("Z", "+00:00"))
