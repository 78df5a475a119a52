"""The authority of a router that asks for tokens."""

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from awm_registry.router import authority
from awm_registry.tokens import issuing, keys
from awm_runtime import token_checking
from awm_runtime.contract import problems


class TokenAuthority:
    """Checks and makes the tokens of one team with the keys of a folder, which may be rotated meanwhile.

    Args:
        folder: The keys.
        team: Whose fleet the router serves; empty without teams. An admin's token without a team opens every team's.
        now: The time, in seconds since 1970.

    Raises:
        TokenError: The folder has no usable key.
    """

    def __init__(self, folder: Path, *, team: str = "", now: Callable[[], float] = time.time) -> None:
        self._issuer = issuing.Issuer(keys.Signer(folder, now=now), team=team, now=now)
        self._checker = token_checking.TokenChecker(keys.public(folder), now=now)
        self._team = team

    def caller(self, bearer: str | None) -> authority.Caller:
        """Who shows this token.

        Raises:
            ProblemError: `unauthenticated`: none is shown, or it is forged, expired or of another fleet;
                `not_permitted`: it is of another team.
        """
        if bearer is None:
            raise problems.ProblemError(
                problems.Code.UNAUTHENTICATED, "this fleet asks for a token: Authorization: Bearer ..."
            )
        claims = self._checker.claims(bearer)
        if claims.team != self._team and not (claims.scope == "admin" and claims.team == ""):
            raise problems.ProblemError(problems.Code.NOT_PERMITTED, "this token is of another team")
        return authority.Caller(scope=claims.scope, subject=claims.sub, episode=claims.ep, scenario=claims.scn)

    def agent_token(self, caller: authority.Caller, episode: str, expires_at: datetime) -> str:
        """A token that opens this episode's MCP URL and nothing else."""
        return self._issuer.for_agent(episode, expires_at, subject=caller.subject)

    def instance_token(self, id: str) -> str:
        """A short-lived control token that only the instance with this id takes."""
        return self._issuer.for_instance(id)
