"""The settings of a router: read once at start, from variables named `AWM_ROUTER_<FIELD>`."""

from collections.abc import Mapping
from dataclasses import dataclass

from awm_runtime.server import settings

PREFIX = "AWM_ROUTER_"


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits of one router process. Units and meanings stand with each field and in `docs/configuration.md`."""

    request_bytes: int = settings.setting(4 * settings.MIB, "bytes", "The largest request body.")
    request_s: float = settings.setting(30.0, "seconds", "A request's body may take this long to arrive.")
    wake_s: float = settings.setting(30.0, "seconds", "A request waits this long for an instance that starts.")
    answer_s: float = settings.setting(
        120.0, "seconds", "An instance may take this long to begin an answer, and for each part of a streamed one."
    )
    waiting: int = settings.setting(
        2048, "requests", "This many may wait for one scenario to wake, and as many for one busy instance."
    )
    connections: int = settings.setting(256, "connections", "This many requests are with one instance at once.")
    idle_s: float = settings.setting(
        3.0, "seconds", "A connection to an instance is closed after this; shorter than an instance's own limit."
    )
    stale_s: float = settings.setting(
        150.0,
        "seconds",
        "Without news of a cluster for so long a router is not ready. News come every minute; after 90 s of silence "
        "they are asked for anew.",
    )
    shutdown_s: float = settings.setting(10.0, "seconds", "Requests in flight may take this long to end after SIGTERM.")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Reads the settings that are given; the others keep their defaults.

        Raises:
            PermanentError: naming the variable that holds no positive number, or one beyond any use.
        """
        return settings.read(cls, environment, prefix=PREFIX)
