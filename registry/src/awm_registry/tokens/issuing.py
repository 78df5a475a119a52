"""Makes tokens: for people and trainers, for agents, and for a router's own talk with instances."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from awm_runtime.contract import tokens

AGENT_LEAST_S = 24 * 3600.0
"""An agent's token lasts at least this long: a lease may be renewed, and where an episode ends it opens nothing."""
INSTANCE_S = 120.0


class Signer(Protocol):
    """What signs."""

    def sign(self, claims: tokens.Claims) -> str:
        """A token that says so."""
        ...


@dataclass(frozen=True, slots=True)
class _Issued:
    token: str
    until: float


class Issuer:
    """Makes a team's tokens.

    Args:
        signer: The keys.
        team: Whose tokens; empty on a fleet without teams.
        now: The time, in seconds since 1970.
    """

    def __init__(self, signer: Signer, *, team: str = "", now: Callable[[], float] = time.time) -> None:
        self._signer = signer
        self._team = team
        self._now = now
        self._for_instances: dict[str, _Issued] = {}

    def token(
        self,
        scope: tokens.Scope,
        *,
        ttl_s: float,
        subject: str = "",
        episode: str | None = None,
        scenario: str | None = None,
        audience: str = tokens.AUDIENCE,
    ) -> str:
        """A token for `ttl_s` seconds from now.

        Raises:
            ValidationError: an agent's token names neither an episode nor a scenario, or another's token does.
        """
        now = self._now()
        claims = tokens.Claims(
            aud=audience,
            scope=scope,
            team=self._team,
            sub=subject,
            ep=episode,
            scn=scenario,
            iat=int(now),
            exp=int(now + ttl_s),
            jti=uuid.uuid4().hex,
        )
        return self._signer.sign(claims)

    def for_agent(self, episode: str, expires_at: datetime, *, subject: str = "") -> str:
        """A token that opens this episode's MCP URL and nothing else."""
        ttl_s = max(AGENT_LEAST_S, expires_at.timestamp() - self._now())
        return self.token("agent", ttl_s=ttl_s, subject=subject, episode=episode)

    def for_instance(self, id: str) -> str:
        """A control token that one instance takes, for a short while; the same one for half of that."""
        issued = self._for_instances.get(id)
        now = self._now()
        if issued is None or issued.until < now + INSTANCE_S / 2:
            token = self.token("control", ttl_s=INSTANCE_S, subject="router", audience=tokens.instance_audience(id))
            issued = self._for_instances[id] = _Issued(token, now + INSTANCE_S)
            self._for_instances = {each: kept for each, kept in self._for_instances.items() if kept.until > now}
        return issued.token
