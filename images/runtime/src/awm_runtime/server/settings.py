"""The settings of an instance: read once at start, from variables named `AWM_<FIELD>`."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from awm_runtime import errors

PREFIX = "AWM_"

KIB = 1024
MIB = 1024 * KIB
_MOST = {"seconds": 10**9}
"""By unit; others may be what a signed 64-bit number holds."""


def _setting(default: float, unit: str, meaning: str) -> float:
    return field(default=default, metadata={"unit": unit, "meaning": meaning})


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits of one instance. Units and meanings stand with each field and in `docs/configuration.md`."""

    call_deadline_s: float = _setting(30.0, "seconds", "A tool call past this is stopped inside the scenario's code.")
    call_grace_s: float = _setting(
        5.0, "seconds", "A call that still runs this long after its deadline kills the instance."
    )
    load_deadline_s: float = _setting(60.0, "seconds", "Loading a scenario's code may take this long.")
    request_bytes: int = _setting(4 * MIB, "bytes", "The largest request body.")  # type: ignore[assignment]
    result_bytes: int = _setting(256 * KIB, "bytes", "A longer tool result is cut, with a note.")  # type: ignore[assignment]
    calls_per_episode: int = _setting(10_000, "calls", "An episode answers this many calls.")  # type: ignore[assignment]
    episodes: int = _setting(4096, "episodes", "This many episodes may be open at once.")  # type: ignore[assignment]
    episode_bytes: int = _setting(256 * MIB, "bytes", "An episode's database may grow to this.")  # type: ignore[assignment]
    idle_s: float = _setting(6 * 3600.0, "seconds", "An episode without a call or heartbeat for so long expires.")
    retain_bytes: int = _setting(1024 * MIB, "bytes", "Closed episodes that are kept for reading share this.")  # type: ignore[assignment]
    verify_deadline_s: float = _setting(30.0, "seconds", "A verifier may run this long.")
    verify_memory_bytes: int = _setting(1024 * MIB, "bytes", "A verifier may use this much memory.")  # type: ignore[assignment]
    shutdown_s: float = _setting(10.0, "seconds", "Calls in flight may take this long to end after SIGTERM.")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Reads the settings that are given; the others keep their defaults.

        Raises:
            PermanentError: naming the variable that holds no positive number, or one beyond any use.
        """
        given: dict[str, float] = {}
        for each in dataclasses.fields(cls):
            name = PREFIX + each.name.upper()
            if name not in environment:
                continue
            kind = float if isinstance(each.default, float) else int
            try:
                value = kind(environment[name])
            except ValueError:
                value = kind(-1)
            unit = each.metadata["unit"]
            if not 0 < value <= _MOST.get(unit, 2**63 - 1):
                raise errors.PermanentError(f"{name} must be a positive number of {unit}, not {environment[name]!r}")
            given[each.name] = value
        return cls(**given)  # type: ignore[arg-type]
