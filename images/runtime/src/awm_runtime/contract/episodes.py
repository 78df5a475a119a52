"""Episodes as the control plane speaks of them: what is asked for, and what is answered."""

from datetime import datetime
from typing import Annotated, Literal, NewType, Self

import pydantic

from awm_runtime.contract import problems, verdicts

EpisodeId = NewType("EpisodeId", str)
EpisodeState = Literal["open", "closed", "expired"]

DEFAULT_ID = EpisodeId("ep_default")
"""The episode behind an instance's plain `/mcp`."""
DEFAULT_GROUP = "default"
"""The group of the episodes behind a router's `/s/{scenario}/mcp`."""

SEEDS = 2**63
"""Seeds are whole numbers from 0 up to this."""
DEFAULT_TTL_S = 1800.0
DEFAULT_RETAIN_S = 3600.0


MOST_AT_ONCE = 4096
"""Episodes of an item, and items of a request."""
_GivenId = Annotated[str, pydantic.Field(pattern=r"^ep_[a-z0-9]{1,60}$")]


def is_default(id: str, group: str | None) -> bool:
    """Whether an episode was opened by a plain URL: nobody asked for it by name, and it keeps no instance awake."""
    return id == DEFAULT_ID or group == DEFAULT_GROUP


class EpisodeItem(pydantic.BaseModel):
    """What is wanted of one item of an open request: `count` episodes of a task, or forks of another episode."""

    model_config = pydantic.ConfigDict(extra="forbid", populate_by_name=True)

    scenario: str | None = pydantic.Field(
        None,
        max_length=200,
        description="Which scenario, in any spelling; may be left out at an instance, which serves one, and of a fork.",
    )
    generation: int | None = pydantic.Field(None, description="Only of this generation; by default whichever serves.")
    bundle: str | None = pydantic.Field(None, description="Only of the bundle with this digest.")
    task: str | None = None
    seed: int | None = pydantic.Field(
        None, ge=0, lt=SEEDS, description="Seeds the randomness that scenario code sees; drawn when absent."
    )
    count: int = pydantic.Field(1, ge=1, le=MOST_AT_ONCE)
    group: str | None = pydantic.Field(None, max_length=200)
    source: str | None = pydantic.Field(
        None, alias="from", description="Fork this episode: its state, clock, seed and calls."
    )


class EpisodeSpec(EpisodeItem):
    """An item as an instance takes it."""

    ids: list[_GivenId] | None = pydantic.Field(
        None,
        max_length=MOST_AT_ONCE,
        description="What the `count` episodes are called. One that is there already is answered as it is, so that a "
        "repeated request opens nothing twice.",
    )
    reopen: bool = pydantic.Field(False, description="Whether ids of episodes that ended are opened anew.")

    @pydantic.model_validator(mode="after")
    def _has_an_id_for_each(self) -> Self:
        if self.ids is not None and len(set(self.ids)) != self.count:
            raise ValueError(f"ids names {len(set(self.ids))} episodes, count is {self.count}")
        return self


class FleetEpisodeSpec(EpisodeItem):
    """An item as a router takes it."""

    model_config = pydantic.ConfigDict(
        json_schema_extra={"anyOf": [{"required": ["scenario"]}, {"required": ["from"]}]}
    )

    @pydantic.model_validator(mode="after")
    def _says_what_to_open(self) -> Self:
        if self.scenario is None and self.source is None:
            raise ValueError("an item names a scenario, or an episode to fork from")
        return self


class _Terms(pydantic.BaseModel):
    """How long the episodes of an open request last."""

    model_config = pydantic.ConfigDict(extra="forbid")

    ttl_s: float = pydantic.Field(DEFAULT_TTL_S, gt=0, le=30 * 86400)
    retain_s: float = pydantic.Field(DEFAULT_RETAIN_S, ge=0, le=30 * 86400)
    wait: Literal["ready", "none"] = pydantic.Field(
        "none", description="Whether to answer only when calls are answered; they wait for that by themselves."
    )


class OpenRequest(_Terms):
    """The body of `POST /v1/episodes` of an instance."""

    episodes: list[EpisodeSpec] = pydantic.Field(min_length=1, max_length=MOST_AT_ONCE)


class FleetOpenRequest(_Terms):
    """The body of `POST /v1/episodes` of a router."""

    episodes: list[FleetEpisodeSpec] = pydantic.Field(min_length=1, max_length=MOST_AT_ONCE)


class ResetRequest(pydantic.BaseModel):
    """The body of `POST /v1/episodes/{id}/reset`; may be absent."""

    model_config = pydantic.ConfigDict(extra="forbid")

    seed: int | None = pydantic.Field(None, ge=0, lt=SEEDS)


class EpisodeView(pydantic.BaseModel):
    """An episode as it is answered."""

    model_config = pydantic.ConfigDict(populate_by_name=True)

    id: EpisodeId
    scenario: str
    generation: int
    state: EpisodeState
    task: str | None = None
    seed: int
    group: str | None = None
    source: str | None = pydantic.Field(None, alias="from")
    mcp_url: str = pydantic.Field(description="What an agent gets.")
    direct_url: str | None = pydantic.Field(
        None, description="The same at the instance itself, for callers that can reach it; null where none can."
    )
    token: str | None = pydantic.Field(None, description="The agent's token; null where none is asked for.")
    instruction: str | None = None
    clock: datetime
    calls: int = 0
    errors: verdicts.ErrorCounts = verdicts.ErrorCounts()
    state_hash: str | None = pydantic.Field(None, description="Null in a list of episodes.")
    tools_hash: str
    interrupted: int | None = pydantic.Field(None, description="The number of a call that a crash cut off, or null.")
    expires_at: datetime


class Rejection(pydantic.BaseModel):
    """An item of an open request that was refused; the others were opened."""

    index: int
    error: problems.Problem


class OpenResponse(pydantic.BaseModel):
    """The answer to `POST /v1/episodes`."""

    episodes: list[EpisodeView]
    rejected: list[Rejection] = []


class Lease(pydantic.BaseModel):
    """The answer to a heartbeat."""

    expires_at: datetime
