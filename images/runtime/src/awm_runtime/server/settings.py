"""The settings of an instance: read once at start, from variables named `AWM_<FIELD>`."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from awm_runtime import errors

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

PREFIX = "AWM_"

KIB = 1024
MIB = 1024 * KIB
_MOST = {"seconds": 10**9}
"""By unit; others may be what a signed 64-bit number holds."""


_Number = TypeVar("_Number", int, float)
_Settings = TypeVar("_Settings", bound="DataclassInstance")


def setting(default: _Number, unit: str, meaning: str) -> _Number:
    """A field of settings: its default, which says whether it is whole, its unit, and what it means."""
    return field(default=default, metadata={"unit": unit, "meaning": meaning})


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits of one instance. Units and meanings stand with each field and in `docs/configuration.md`."""

    call_deadline_s: float = setting(30.0, "seconds", "A tool call past this is stopped inside the scenario's code.")
    call_grace_s: float = setting(
        5.0, "seconds", "A call that still runs this long after its deadline kills the instance."
    )
    load_deadline_s: float = setting(60.0, "seconds", "Loading a scenario's code may take this long.")
    request_bytes: int = setting(4 * MIB, "bytes", "The largest request body.")
    result_bytes: int = setting(256 * KIB, "bytes", "A longer tool result is cut, with a note.")
    calls_per_episode: int = setting(10_000, "calls", "An episode answers this many calls.")
    episodes: int = setting(4096, "episodes", "This many episodes may be open at once.")
    episode_bytes: int = setting(256 * MIB, "bytes", "An episode's database may grow to this.")
    idle_s: float = setting(6 * 3600.0, "seconds", "An episode without a call or heartbeat for so long expires.")
    retain_bytes: int = setting(1024 * MIB, "bytes", "Closed episodes that are kept for reading share this.")
    verify_deadline_s: float = setting(30.0, "seconds", "A verifier may run this long.")
    verify_memory_bytes: int = setting(1024 * MIB, "bytes", "A verifier may use this much memory.")
    shutdown_s: float = setting(10.0, "seconds", "Calls in flight may take this long to end after SIGTERM.")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Reads the settings that are given; the others keep their defaults.

        Raises:
            PermanentError: naming the variable that holds no positive number, or one beyond any use.
        """
        return read(cls, environment, prefix=PREFIX)


def read(kind: type[_Settings], environment: Mapping[str, str], *, prefix: str) -> _Settings:
    """Settings whose fields were made by `setting`, from variables named by the prefix and the field.

    Raises:
        PermanentError: naming the variable that holds no positive number, or one beyond any use.
    """
    given: dict[str, float] = {}
    for each in dataclasses.fields(kind):
        name = prefix + each.name.upper()
        if name not in environment:
            continue
        number = float if isinstance(each.default, float) else int
        try:
            value = number(environment[name])
        except ValueError:
            value = number(-1)
        unit = each.metadata["unit"]
        if not 0 < value <= _MOST.get(unit, 2**63 - 1):
            raise errors.PermanentError(f"{name} must be a positive number of {unit}, not {environment[name]!r}")
        given[each.name] = value
    return kind(**given)
