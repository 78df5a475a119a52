"""What a token says: who may do what, until when. Signed by a router, checked by routers and instances."""

from typing import Literal, Self

import pydantic

ISSUER = "awm"
AUDIENCE = "awm"
"""Of tokens for a router's callers, and of agents' tokens, which instances take too."""
ALGORITHM = "EdDSA"

Scope = Literal["agent", "control", "admin"]
"""agent: one episode's MCP URL. control: episodes and verdicts. admin: all."""


def instance_audience(id: str) -> str:
    """The audience of control tokens for one instance."""
    return f"awm/instance/{id}"


class Claims(pydantic.BaseModel):
    """The claims of a token.

    Attributes:
        aud: For whom: `awm`, or one instance.
        team: Whose fleet it opens; empty on a fleet without teams.
        sub: Who shows it.
        ep: An agent's episode.
        scn: An agent's scenario, in place of `ep`: its default episode of `sub`.
        exp, iat: Until when and since when, in seconds since 1970.
        jti: Makes two tokens differ.
    """

    model_config = pydantic.ConfigDict(frozen=True)

    iss: Literal["awm"] = "awm"
    aud: str = AUDIENCE
    scope: Scope
    team: str = ""
    sub: str = ""
    ep: str | None = None
    scn: str | None = None
    exp: int
    iat: int
    jti: str

    @pydantic.model_validator(mode="after")
    def _is_bound_if_an_agents(self) -> Self:
        if (self.scope == "agent") != ((self.ep is None) != (self.scn is None)):
            raise ValueError("an agent's token names an episode or a scenario, any other token neither")
        return self
