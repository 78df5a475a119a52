"""What an instance counts, for Prometheus. Labels are few and fixed: no episode and no tool is one."""

from collections.abc import Callable

import prometheus_client

from awm_runtime.contract import problems, verdicts
from awm_runtime.server import outcomes

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST
_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0)
_OUTCOMES = ("ok", "malformed", "refused", "environment", "infrastructure")


prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The counters of one instance.

    Args:
        open_episodes: Asked at each scrape.
    """

    def __init__(self, open_episodes: Callable[[], int]) -> None:
        self._registry = prometheus_client.CollectorRegistry()
        calls = prometheus_client.Counter("awm_calls", "Tool calls by outcome.", ["outcome"], registry=self._registry)
        self._calls = {each: calls.labels(each) for each in _OUTCOMES}
        self._seconds = prometheus_client.Histogram(
            "awm_call_seconds", "Time of a tool call inside its episode.", buckets=_BUCKETS, registry=self._registry
        )
        self._verdicts = prometheus_client.Counter(
            "awm_verdicts", "Verdicts by outcome.", ["outcome"], registry=self._registry
        )
        self._opened = prometheus_client.Counter("awm_episodes_opened", "Episodes opened.", registry=self._registry)
        self._reset = prometheus_client.Counter("awm_episodes_reset", "Episodes reset.", registry=self._registry)
        gauge = prometheus_client.Gauge("awm_episodes_open", "Episodes open now.", registry=self._registry)
        gauge.set_function(open_episodes)
        prometheus_client.GCCollector(self._registry)

    def call(self, outcome: outcomes.Outcome, elapsed_s: float) -> None:
        """Counts one call."""
        kind: str = outcome.blame or "ok"
        if kind == "agent":
            kind = "refused" if outcome.code == problems.Code.REFUSED else "malformed"
        self._calls[kind].inc()
        self._seconds.observe(elapsed_s)

    def episode_opened(self) -> None:
        """Counts an opened episode."""
        self._opened.inc()

    def episode_reset(self) -> None:
        """Counts a reset."""
        self._reset.inc()

    def verdict(self, outcome: verdicts.Outcome) -> None:
        """Counts a verdict."""
        self._verdicts.labels(outcome).inc()

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return prometheus_client.generate_latest(self._registry)
