"""Problems: errors as callers see them (RFC 9457), each with a code and with who is to blame."""

from enum import StrEnum
from typing import Any, Literal

import pydantic

from awm_runtime import errors

MEDIA_TYPE = "application/problem+json"

Blame = Literal["agent", "environment", "infrastructure"]
"""Whose fault an error is. Only the agent's may cost reward; the others mask the sample."""


class Code(StrEnum):
    """What went wrong, for programs."""

    UNKNOWN_SCENARIO = "unknown_scenario"
    UNKNOWN_EPISODE = "unknown_episode"
    EPISODE_CLOSED = "episode_closed"
    EPISODE_EXPIRED = "episode_expired"
    EPISODE_LOST = "episode_lost"
    EPISODE_INTERRUPTED = "episode_interrupted"
    UNKNOWN_TOOL = "unknown_tool"
    INVALID_ARGUMENTS = "invalid_arguments"
    REFUSED = "refused"
    NOT_PERMITTED = "not_permitted"
    UNAUTHENTICATED = "unauthenticated"
    AT_CAPACITY = "at_capacity"
    STARTING = "starting"
    START_FAILED = "start_failed"
    TIMEOUT = "timeout"
    CONFLICT = "conflict"
    TOO_LARGE = "too_large"
    BAD_REQUEST = "bad_request"
    INTERNAL = "internal"


STATUS: dict[Code, int] = {
    Code.UNKNOWN_SCENARIO: 404,
    Code.UNKNOWN_EPISODE: 404,
    Code.EPISODE_CLOSED: 410,
    Code.EPISODE_EXPIRED: 410,
    Code.EPISODE_LOST: 410,
    Code.EPISODE_INTERRUPTED: 409,
    Code.UNKNOWN_TOOL: 404,
    Code.INVALID_ARGUMENTS: 422,
    Code.REFUSED: 409,
    Code.NOT_PERMITTED: 403,
    Code.UNAUTHENTICATED: 401,
    Code.AT_CAPACITY: 429,
    Code.STARTING: 503,
    Code.START_FAILED: 503,
    Code.TIMEOUT: 504,
    Code.CONFLICT: 409,
    Code.TOO_LARGE: 413,
    Code.BAD_REQUEST: 400,
    Code.INTERNAL: 500,
}

INFRASTRUCTURE = frozenset(
    {Code.EPISODE_LOST, Code.EPISODE_INTERRUPTED, Code.AT_CAPACITY, Code.STARTING, Code.TIMEOUT, Code.INTERNAL}
)


def _is_absent(value: object) -> bool:
    return value is None


class Problem(pydantic.BaseModel):
    """The body of an error response, `application/problem+json`."""

    model_config = pydantic.ConfigDict(populate_by_name=True)

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: Code
    blame: Blame = pydantic.Field(alias="class")
    retry_after_s: float | None = pydantic.Field(None, exclude_if=_is_absent)
    diagnostics: dict[str, Any] | None = pydantic.Field(None, exclude_if=_is_absent)


class ProblemError(errors.AwmError):
    """Raised where an HTTP caller is to be told; carries what the problem says.

    Args:
        code: What went wrong.
        detail: One sentence that says what happened and what to do. Never a path, SQL or a traceback.
        blame: Whose fault it is; by default what the code implies.
        retry_after_s: When to try again, in seconds.
        diagnostics: Facts for operators, for example the last log lines of a failed start.
    """

    def __init__(
        self,
        code: Code,
        detail: str,
        *,
        blame: Blame | None = None,
        retry_after_s: float | None = None,
        diagnostics: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.blame: Blame = blame or _default_blame(code)
        self.retry_after_s = retry_after_s
        self.diagnostics = diagnostics

    @classmethod
    def of(cls, problem: Problem) -> "ProblemError":
        """The error that a received problem stands for."""
        return cls(
            problem.code,
            problem.detail,
            blame=problem.blame,
            retry_after_s=problem.retry_after_s,
            diagnostics=problem.diagnostics,
        )

    @property
    def problem(self) -> Problem:
        """What to send."""
        return Problem(
            title=self.code.replace("_", " ").capitalize(),
            status=STATUS[self.code],
            detail=self.detail,
            code=self.code,
            blame=self.blame,
            retry_after_s=self.retry_after_s,
            diagnostics=self.diagnostics,
        )

    def body(self) -> bytes:
        """The problem as JSON."""
        return self.problem.model_dump_json(by_alias=True).encode()


def _default_blame(code: Code) -> Blame:
    if code is Code.START_FAILED:
        return "environment"
    return "infrastructure" if code in INFRASTRUCTURE else "agent"
