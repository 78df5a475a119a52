"""Who may use an instance's planes: by the hash of one shared token, or by tokens that a router signed.

An instance holds hashes and public keys, nothing that opens anything. Signatures are checked by `token_checking`, which
is not even imported where no keys are given.
"""

import hashlib
import hmac
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from awm_runtime.contract import problems
from awm_runtime.server import configuration

if TYPE_CHECKING:
    from awm_runtime.contract import tokens

_MORE_THAN_AGENTS = frozenset({"control", "admin"})


class Admission:
    """Lets callers in.

    Args:
        config: The token's hash and the keys' file; without either, both planes are open.
        scenario: The scenario that is served.

    Raises:
        PermanentError: The keys' file cannot be read.
    """

    def __init__(self, config: configuration.InstanceConfig, scenario: str) -> None:
        self._token_hash = config.token_hash
        self._scenario = scenario
        self._team = config.team
        self._signed = _Signed(Path(config.keys), config.id) if config.keys is not None else None

    def control(self, authorization: bytes | None) -> None:
        """Lets a caller of the control plane pass.

        Raises:
            ProblemError: `unauthenticated`: no token is shown, or none that is good; `not_permitted`: an agent's.
        """
        if self._token_hash is None and self._signed is None:
            return
        token = _bearer(authorization)
        if self._is_shared(token):
            return
        if self._signed is None or token is None:
            _ask("the control plane wants its token: Authorization: Bearer ...")
        claims = self._signed.control(token)
        if claims.scope not in _MORE_THAN_AGENTS:
            raise problems.ProblemError(problems.Code.NOT_PERMITTED, "an agent's token opens one MCP URL only")

    def agent(self, authorization: bytes | None, episode: str | None) -> None:
        """Lets a caller of an episode's MCP URL pass; without keys, anybody. `episode` is None for the default one.

        Raises:
            ProblemError: `unauthenticated`: no token is shown, or none that is good; `not_permitted`: it opens another
                episode, or is of another team.
        """
        if self._signed is None:
            return
        token = _bearer(authorization)
        if token is None:
            _ask("this episode wants its token: Authorization: Bearer ...")
        claims = self._signed.agent(token)
        if claims.scope in _MORE_THAN_AGENTS:
            fits = self._is_ours(claims)
        elif episode is None:
            fits = claims.scn == self._scenario and claims.team == self._team
        else:
            fits = claims.ep == episode and claims.team == self._team
        if not fits:
            raise problems.ProblemError(problems.Code.NOT_PERMITTED, "this token opens another episode")

    def _is_ours(self, claims: "tokens.Claims") -> bool:
        return claims.team == self._team or (claims.scope == "admin" and claims.team == "")

    def _is_shared(self, token: str | None) -> bool:
        given = hashlib.sha256((token or "").encode("latin-1")).hexdigest()
        return self._token_hash is not None and hmac.compare_digest(given, self._token_hash)


class _Signed:
    """Tokens that a router signed."""

    def __init__(self, keys: Path, id: str) -> None:
        from awm_runtime import token_checking
        from awm_runtime.contract import tokens

        mine = tokens.instance_audience(id)
        self._for_control = token_checking.TokenChecker(keys, mine)
        self._for_agents = token_checking.TokenChecker(keys, (tokens.AUDIENCE, mine))

    def control(self, token: str) -> "tokens.Claims":
        """What a token for this instance alone says."""
        return self._for_control.claims(token)

    def agent(self, token: str) -> "tokens.Claims":
        """What a token for this instance or for the whole fleet says."""
        return self._for_agents.claims(token)


def _bearer(authorization: bytes | None) -> str | None:
    """The token of an Authorization header; None where there is none."""
    kind, _, token = (authorization or b"").partition(b" ")
    return token.strip().decode("latin-1") if kind.lower() == b"bearer" else None


def _ask(reason: str) -> NoReturn:
    raise problems.ProblemError(problems.Code.UNAUTHENTICATED, reason)
