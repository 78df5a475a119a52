"""Verdicts: what a verifier's judgement of an episode comes to."""

from typing import Any, Literal

import pydantic

Outcome = Literal["completed", "partial", "failed", "undecided", "abstained"]
Mode = Literal["code", "sql"]
OnEnvironmentError = Literal["mask", "score"]


class VerifyRequest(pydantic.BaseModel):
    """The body of `POST /v1/episodes/{id}/verify`."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    answer: str | None = None
    task: str | None = pydantic.Field(
        None, description="The task to judge by; by default the one the episode was opened for."
    )
    mode: Mode = "code"
    partial_reward: float = pydantic.Field(0.1, ge=0, le=1, description="The reward of a partial outcome.")
    on_environment_error: OnEnvironmentError = "mask"


class ErrorCounts(pydantic.BaseModel):
    """How many calls of an episode went wrong, by whose fault."""

    malformed: int = 0
    refused: int = 0
    environment: int = 0
    infrastructure: int = 0


class VerifierIdentity(pydantic.BaseModel):
    """Which verifier judged, and how long it took."""

    kind: Mode
    version: str = pydantic.Field(description="SHA-256 of the verifier's source.")
    ms: float


class Verdict(pydantic.BaseModel):
    """The judgement of an episode.

    `reward` is 1 for *completed*, the partial reward for *partial*, 0 for *failed*, and null where nothing can be said
    (*undecided*: evidence without a judge; *abstained*: the verifier or the infrastructure failed). A masked verdict
    must not be trained on.
    """

    outcome: Outcome
    reward: float | None
    mask: bool
    components: dict[str, float] = {}
    checks: dict[str, bool] = {}
    errors: ErrorCounts = ErrorCounts()
    calls_to_blame: list[int] = pydantic.Field(
        [], description="Numbers of the calls that went wrong through no fault of the agent."
    )
    evidence: dict[str, Any] = {}
    state_hash: str
    verifier: VerifierIdentity | None = None
    blame: Literal["environment", "infrastructure"] | None = None
    reason: str | None = None
