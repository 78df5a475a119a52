"""What the chart tells the controller: `config.json`, and the catalogue's index beside it."""

from pathlib import Path
from typing import Any, Literal

import pydantic

from awm_fleet.backends.kubernetes import isolation, objects, planning
from awm_runtime import errors


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


class Team(_Strict):
    """A team and what it is served.

    Attributes:
        scenarios: Their names; None: all of the index.
        warm: How many are awake from the start and stay so (the first by name), or which; the others sleep.
        keys: The Secret beside the controller with the team's keys, which somebody made; None: the controller does.
        direct: Whether callers are told the addresses of instances, which they may reach.
    """

    name: str = pydantic.Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$")
    namespace: str = pydantic.Field(min_length=1, max_length=63)
    scenarios: tuple[str, ...] | None = None
    warm: int | Literal["all"] | tuple[str, ...] = 0
    keys: str | None = pydantic.Field(None, min_length=1, max_length=253)
    direct: bool = False

    def is_warm(self, scenario: str, position: int) -> bool:
        """Whether the scenario at this position of the team's is awake from the start."""
        if isinstance(self.warm, int):
            return position < self.warm
        return self.warm == "all" or scenario in self.warm


class Pods(_Strict):
    """`objects.PodOptions`, as it is written."""

    cpu: str = "50m"
    memory_mib: int = pydantic.Field(384, ge=64)
    scratch_mib: int = pydantic.Field(128, ge=16)
    drain_s: int = pydantic.Field(60, ge=1)
    settings: dict[str, str] = {}
    pull_secrets: tuple[str, ...] = ()
    node_selector: dict[str, str] = {}
    tolerations: tuple[dict[str, Any], ...] = ()
    runtime_class: str | None = None


class Rollout(_Strict):
    """How changes go: how many revisions start beside others at once, how long old ones are drained, and with what
    room: see `planning.Options`.
    """

    max_unavailable: int = pydantic.Field(10, ge=1)
    drain_deadline_s: float = pydantic.Field(3600.0, ge=0)
    surge_reserve: int = pydantic.Field(0, ge=0)
    on_no_capacity: Literal["wait", "recreate"] = "wait"


class Config(_Strict):
    """`config.json`.

    Attributes:
        release: What the Secrets that the controller makes begin with.
        anchor: The ConfigMap beside the controller that owns them; empty: nothing does.
        url: Agents' URL of a scenario's default episode, with `{team}` and `{scenario}` to be put in.
        enforcement: What becomes of pods on nodes that do not enforce network policies; see `isolation`.
    """

    release: str = pydantic.Field("awm", pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    anchor: str = ""
    teams: tuple[Team, ...]
    pods: Pods = Pods()
    rollout: Rollout = Rollout()
    enforcement: isolation.Enforcement = "none"
    idle_timeout: str = pydantic.Field("15m", pattern=r"^([0-9]+(s|m|h))+$")
    url: str = ""

    @pydantic.model_validator(mode="after")
    def _tells_teams_apart(self) -> "Config":
        for what in ("name", "namespace"):
            values = [getattr(each, what) for each in self.teams]
            if double := next((each for each in values if values.count(each) > 1), None):
                raise ValueError(f"two teams have the {what} {double!r}")
        return self

    def keys_of(self, team: Team) -> str:
        """The Secret with a team's keys."""
        return team.keys or f"{self.release}-keys-{team.name}"

    @property
    def episode_ids(self) -> str:
        """The Secret with the key of episodes' ids."""
        return f"{self.release}-episode-ids"

    def options(self) -> planning.Options:
        """What planning needs of it."""
        return planning.Options(
            pods=objects.PodOptions(**self.pods.model_dump()),
            drain_deadline_s=self.rollout.drain_deadline_s,
            surge_reserve=self.rollout.surge_reserve,
            on_no_capacity=self.rollout.on_no_capacity,
            url=self.url,
            teams={each.namespace: each.name for each in self.teams},
        )


def read(path: Path) -> Config:
    """Reads a configuration.

    Raises:
        PermanentError: It cannot be read; the message names the field.
    """
    try:
        return Config.model_validate_json(path.read_bytes())
    except OSError as exc:
        raise errors.PermanentError(f"{path}: cannot be read: {exc.strerror}") from exc
    except pydantic.ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise errors.PermanentError(f"{path}: {where}: {first['msg']}") from exc
