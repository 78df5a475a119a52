"""What the controller counts, for Prometheus."""

from collections.abc import Callable

import prometheus_client

from awm_fleet.backends.kubernetes import teams
from awm_registry import directory

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST
_STATES: tuple[directory.State, ...] = ("asleep", "starting", "ready", "draining", "failed")


class Metrics:
    """The counters of one controller.

    Args:
        depth: How many environments wait to be looked at; asked at each scrape.
        writes: How often the API server was written to; asked at each scrape.
    """

    def __init__(self, *, depth: Callable[[], int], writes: Callable[[], int]) -> None:
        self._registry = prometheus_client.CollectorRegistry()
        self._states: dict[teams.Key, directory.State] = {}
        self._reconciles = prometheus_client.Counter(
            "awm_controller_reconciles", "Looks at environments.", ["result"], registry=self._registry
        )
        self._handshakes = prometheus_client.Counter(
            "awm_controller_handshakes",
            "Instances that were asked for their tools.",
            ["result"],
            registry=self._registry,
        )
        self._gauge = prometheus_client.Gauge(
            "awm_controller_environments",
            "Environments by team and state.",
            ["namespace", "state"],
            registry=self._registry,
        )
        waiting = prometheus_client.Gauge(
            "awm_controller_queue", "Environments that wait to be looked at.", registry=self._registry
        )
        waiting.set_function(depth)
        written = prometheus_client.Gauge(
            "awm_controller_writes", "Writes to the API server since the start.", registry=self._registry
        )
        written.set_function(writes)

    def reconciled(self, *, well: bool) -> None:
        """Counts a look at an environment."""
        self._reconciles.labels("ok" if well else "failed").inc()

    def handshake(self, *, answered: bool) -> None:
        """Counts a handshake."""
        self._handshakes.labels("ok" if answered else "failed").inc()

    def state(self, key: teams.Key, state: directory.State | None) -> None:
        """Notes what an environment is doing; None: it is gone."""
        before = self._states.pop(key, None)
        if before is not None:
            self._gauge.labels(key.namespace, before).dec()
        if state is not None:
            self._states[key] = state
            self._gauge.labels(key.namespace, state).inc()

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return prometheus_client.generate_latest(self._registry)
