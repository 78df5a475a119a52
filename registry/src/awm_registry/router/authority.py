"""Who asks, and what may they: the seam for tokens, and the one rule that every route is checked by."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from awm_runtime.contract import problems

Scope = Literal["open", "agent", "control", "admin"]
"""open: nobody needs to say who they are. agent: one episode's MCP URL. control: episodes and verdicts. admin: all."""

_RANK: dict[Scope, int] = {"open": 0, "agent": 1, "control": 2, "admin": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Somebody whose token was found to be good, or anybody where none is asked for.

    Attributes:
        scope: The most that they may.
        subject: Their name, for the log and for the episodes that are theirs; empty for anybody.
        episode: The one episode that an agent may reach.
        scenario: The one scenario whose default episode an agent may reach.
    """

    scope: Scope
    subject: str = ""
    episode: str | None = None
    scenario: str | None = None


class Authority(Protocol):
    """Who checks and makes tokens for a router and the team that it serves."""

    def caller(self, bearer: str | None) -> Caller:
        """Who shows this token.

        Raises:
            ProblemError: `unauthenticated`: none is shown, or it is forged, expired or of another fleet;
                `not_permitted`: it is of another team.
        """
        ...

    def agent_token(self, caller: Caller, episode: str, expires_at: datetime) -> str | None:
        """A token that opens this episode's MCP URL and nothing else; None where none is needed."""
        ...

    def instance_token(self, id: str) -> str | None:
        """A control token that only the instance with this id takes; None where instances take none of ours."""
        ...


class OpenAuthority:
    """No tokens: whoever can connect may do everything. For loopback addresses only."""

    _anybody = Caller(scope="admin")

    def caller(self, bearer: str | None) -> Caller:  # noqa: ARG002
        """Anybody."""
        return self._anybody

    def agent_token(self, caller: Caller, episode: str, expires_at: datetime) -> str | None:  # noqa: ARG002
        """None: no token is needed."""
        return None

    def instance_token(self, id: str) -> str | None:  # noqa: ARG002
        """None: instances have tokens of their own, or none."""
        return None


def require(caller: Caller, needed: Scope, *, episode: str | None = None, scenario: str | None = None) -> None:
    """Lets a caller pass who may use a route of this scope.

    Args:
        caller: Who asks.
        needed: The route's scope.
        episode: The episode that an agent's route leads to.
        scenario: The scenario that an agent's route leads to.

    Raises:
        ProblemError: `not_permitted`.
    """
    if _RANK[caller.scope] < _RANK[needed]:
        raise problems.ProblemError(
            problems.Code.NOT_PERMITTED, f"this needs a token of scope {needed}; yours is of scope {caller.scope}"
        )
    if caller.scope != "agent" or needed == "open":
        return
    if episode is not None and caller.episode != episode:
        raise problems.ProblemError(problems.Code.NOT_PERMITTED, "this token opens another episode")
    if scenario is not None and caller.scenario != scenario:
        raise problems.ProblemError(problems.Code.NOT_PERMITTED, "this token opens another scenario's default episode")


def bearer(authorization: bytes | None) -> str | None:
    """The token of an Authorization header; None where there is none.

    Raises:
        ProblemError: `unauthenticated`: the header holds something else.
    """
    if authorization is None:
        return None
    kind, _, token = authorization.partition(b" ")
    if kind.lower() != b"bearer" or not token.strip() or not token.isascii():
        raise problems.ProblemError(problems.Code.UNAUTHENTICATED, "the Authorization header is: Bearer TOKEN")
    return token.strip().decode()
