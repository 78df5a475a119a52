"""What the router needs of a fleet, whichever backend it runs on: where a scenario is, and a way to wake it.

`awm_fleet` implements it. The words for states are the same everywhere.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NewType, Protocol

InstanceId = NewType("InstanceId", str)

State = Literal["asleep", "starting", "ready", "draining", "failed"]
"""asleep: nothing runs. starting: it runs, and `tools/list` may be answered already. ready: calls are answered.
draining: episodes that are open go on, none is opened. failed: it does not start; `reason` says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One process, container or pod of a scenario, as a router sees it.

    Attributes:
        id: Stays the same while its episodes can come back: over crashes and restarts, not over a lost disk. At most 64
            characters of `[a-z0-9-]`.
        team: Whose it is; empty on a fleet without teams.
        scenario: Which scenario it serves.
        generation: Of which generation.
        bundle: The bundle's digest, `sha256:...`.
        state: Never "asleep".
        agent_url: Its agent plane without a path, or None while it has none.
        control_url: Its control plane without a path, or None while it has none.
        is_direct: Whether callers may reach its agent plane beside the router.
        control_token: What opens its control plane; None where it asks for none or takes signed tokens.
        reason: Why it failed or drains, in one sentence.
        diagnostics: Facts for operators, for example the last lines of its log.
    """

    id: InstanceId
    team: str = ""
    scenario: str
    generation: int
    bundle: str
    state: State
    agent_url: str | None = None
    control_url: str | None = None
    is_direct: bool = True
    control_token: str | None = field(default=None, repr=False)
    reason: str | None = None
    diagnostics: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What became of an instance; `instance` is None when it is gone."""

    id: InstanceId
    instance: Instance | None


class Directory(Protocol):
    """Where the scenarios of a fleet are. Reading it wakes nothing."""

    def instances(self, scenario: str) -> Sequence[Instance]:
        """A scenario's instances as last heard of, newest generation first; empty while it is asleep or unknown."""
        ...

    def all(self) -> Sequence[Instance]:
        """Every instance as last heard of."""
        ...

    def watch(self) -> AsyncIterator[Change]:
        """Every change from now on. The first items are the instances that there are."""
        ...

    async def wake(self, scenario: str) -> None:
        """Asks for an instance of the scenario; returns when that is accepted, not when it is ready. Twice is fine.

        Raises:
            ProblemError: `unknown_scenario`; `at_capacity` with a time to try again; `start_failed` while its circuit
                breaker is open, with diagnostics.
        """
        ...
