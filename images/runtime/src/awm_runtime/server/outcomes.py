"""What a call came to: what the agent reads, and whose fault it is when it went wrong."""

import errno
import sqlite3
from dataclasses import dataclass
from typing import Any

import orjson

from awm_runtime.contract import problems
from awm_runtime.server import asgi

NO_CONTENT = "Done (no content)."
ENVIRONMENT_FAILED = "The environment failed on this call: an internal error, not a mistake in the call."
_MOST_COMPLAINTS = 3
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_COMPLAINT_LENGTH = 1000
"""A complaint may quote the agent's own words, which the agent knows."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one call.

    Attributes:
        text: What the agent reads.
        blame: Whose fault an error is; None: no error.
        code: What kind of error.
        status: The HTTP status of the scenario's app, where it was asked.
    """

    text: str
    blame: problems.Blame | None = None
    code: problems.Code | None = None
    status: int | None = None

    @property
    def is_error(self) -> bool:
        return self.blame is not None


def malformed(text: str, code: problems.Code) -> Outcome:
    """The agent called what does not exist, or with arguments that do not fit."""
    short = text if len(text) <= _COMPLAINT_LENGTH else f"{text[:_COMPLAINT_LENGTH]}…"
    return Outcome(short, "agent", code)


def of_reply(reply: asgi.AppReply, result_bytes: int) -> Outcome:
    """Classifies what the scenario's app answered: success, malformed, refused or an environment error."""
    if reply.status >= 500:
        return Outcome(ENVIRONMENT_FAILED, "environment", problems.Code.INTERNAL, reply.status)
    if reply.status < 400:
        return Outcome(cut(reply.body, result_bytes) or NO_CONTENT, status=reply.status)
    detail = _detail(reply.body)
    if reply.status == 422 and _is_validation(detail):
        return Outcome(_complaints(detail), "agent", problems.Code.INVALID_ARGUMENTS, reply.status)
    said = detail.encode() if isinstance(detail, str) else orjson.dumps(detail)
    text = f"Refused ({reply.status}): {cut(said, result_bytes)}"
    return Outcome(text, "agent", problems.Code.REFUSED, reply.status)


def cut(body: bytes, limit: int) -> str:
    """The body as text, at most `limit` bytes of it, with a note where it was cut."""
    if len(body) <= limit:
        return body.decode(errors="replace")
    return (
        f"{body[:limit].decode(errors='ignore')}\n[cut: the first {limit} of {len(body)} bytes; ask for less at once]"
    )


def is_disk_full(failure: BaseException | None) -> bool:
    """Whether there was no room for a write, anywhere in the chain of causes."""
    while failure is not None:
        if isinstance(failure, OSError) and failure.errno in _FULL:
            return True
        if isinstance(failure, sqlite3.OperationalError) and getattr(failure, "sqlite_errorname", "") in (
            "SQLITE_FULL",
            "SQLITE_IOERR_WRITE",
        ):
            return True
        failure = failure.__cause__ or failure.__context__
    return False


def _detail(body: bytes) -> Any:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode(errors="replace")
    if isinstance(document, dict):
        for key in ("detail", "message", "error"):
            if key in document:
                return document[key]
    return document


def _is_validation(detail: Any) -> bool:
    """FastAPI's own 422 has a list of `{"loc": [...], "msg", ...}`; a scenario's has what it likes."""
    return isinstance(detail, list) and bool(detail) and all(map(_is_complaint, detail))


def _is_complaint(each: Any) -> bool:
    return isinstance(each, dict) and isinstance(each.get("loc"), list) and bool(each["loc"])


def _complaints(detail: list[dict[str, Any]]) -> str:
    said = [
        f"{'.'.join(str(part) for part in each['loc'][1:]) or each['loc'][0]}: {each.get('msg', 'invalid')}"
        for each in detail
    ]
    more = f" (and {len(said) - _MOST_COMPLAINTS} more)" if len(said) > _MOST_COMPLAINTS else ""
    return f"Invalid arguments: {'; '.join(said[:_MOST_COMPLAINTS])}{more}"
