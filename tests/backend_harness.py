"""What the suite needs of a backend under test, beside the protocol: a way to break it, and episodes to lose."""

from typing import Protocol

from awm_fleet.backends import protocol
from awm_registry import directory


class Harness(Protocol):
    """A backend and what a test does to it. A backend joins the suite by a fixture that makes one of these.

    Attributes:
        backend: The backend under test.
    """

    backend: protocol.Backend

    def spec(self, scenario: str = "plain", *, generation: int = 1) -> protocol.EnvironmentSpec:
        """A scenario that serves."""
        ...

    def broken_spec(self) -> protocol.EnvironmentSpec:
        """A scenario whose code does not load; its reason names `no_such_module`."""
        ...

    def crashing_spec(self) -> protocol.EnvironmentSpec:
        """A scenario whose process ends at every start, without a word."""
        ...

    def changed(self, spec: protocol.EnvironmentSpec) -> protocol.EnvironmentSpec:
        """The same scenario with another setting, on the same bundle."""
        ...

    def regenerated(self, spec: protocol.EnvironmentSpec) -> protocol.EnvironmentSpec:
        """The same scenario and generation with another bundle."""
        ...

    async def crash(self, instance: directory.Instance) -> None:
        """Ends an instance as `kill -9` would."""
        ...

    async def open_episode(self, instance: directory.Instance) -> str:
        """Opens an episode on an instance that is ready."""
        ...

    async def has_episode(self, instance: directory.Instance, episode: str) -> bool:
        """Whether an instance that is ready has it open."""
        ...
