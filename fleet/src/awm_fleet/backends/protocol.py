"""What every backend does: keep what is wanted running, and say what runs."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from awm_registry import directory


class Key(NamedTuple):
    """What a backend tells its environments apart by; two generations of a scenario may run side by side."""

    team: str
    scenario: str
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentSpec:
    """What is wanted of a scenario at one generation.

    Attributes:
        team: Whose it is; empty on a fleet without teams.
        scenario: The scenario's name.
        generation: Its generation.
        digest: The bundle's digest, `sha256:...`.
        bundle: The bundle's folder; for backends that run folders.
        image: The image by digest; for backends that run images.
        replicas: How many instances are wanted; 0 is asleep.
        idle_s: An environment that has no open episode and was asked for nothing for so long is put to sleep, in
            seconds; None: never.
        settings: `AWM_*` variables of the environment server (`docs/configuration.md`).
    """

    team: str = ""
    scenario: str
    generation: int
    digest: str
    bundle: Path | None = None
    image: str | None = None
    replicas: int = 1
    idle_s: float | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        return Key(self.team, self.scenario, self.generation)


class Backend(Protocol):
    """Runs environments. Every method may be called again: what is already so stays so."""

    async def ensure(self, spec: EnvironmentSpec) -> None:
        """Makes this what is wanted; returns when that is accepted. `watch` tells what comes of it.

        With other settings, digest or image than before, the instances are replaced. With `replicas` 0 they end in
        order and their episodes are kept, so that a later `ensure` finds them again under the same instance ids.

        Raises:
            TransientError: There is no room now, or the backend does not answer.
            PermanentError: It can never run, and why.
        """
        ...

    async def stop(self, key: Key) -> None:
        """Ends all instances and forgets their episodes; returns when nothing is left. Unknown keys are fine."""
        ...

    async def instances(self) -> Sequence[directory.Instance]:
        """What runs, or failed to."""
        ...

    def watch(self) -> AsyncIterator[directory.Change]:
        """Every change from now on, the present instances first. Ends only with the backend."""
        ...

    async def logs(self, key: Key, *, lines: int = 100) -> str:
        """The last lines that an environment's instances wrote; empty for unknown keys. Hostile text."""
        ...

    async def close(self) -> None:
        """Lets go of the backend. Whether instances go on is the backend's own: its page says so."""
        ...
