"""What a router counts, for Prometheus. Labels are few and fixed: no scenario, no episode and no caller is one."""

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator

import prometheus_client

from awm_runtime.contract import problems

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST
_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0)


class Metrics:
    """The counters of one router process."""

    def __init__(self) -> None:
        registry = self._registry = prometheus_client.CollectorRegistry()
        self._agent_seconds = prometheus_client.Histogram(
            "awm_router_agent_seconds", "Time of a request of the agent plane.", buckets=_BUCKETS, registry=registry
        )
        refused = prometheus_client.Counter(
            "awm_router_agent_problems",
            "Requests of the agent plane that a router refused.",
            ["code"],
            registry=registry,
        )
        self._agent_problems = {code: refused.labels(code) for code in problems.Code}
        self._control = prometheus_client.Counter(
            "awm_router_control_requests", "Requests of the control plane.", ["route", "status"], registry=registry
        )
        self._opened = prometheus_client.Counter("awm_router_episodes_opened", "Episodes opened.", registry=registry)
        self._watched: dict[str, list[Callable[[], float]]] = defaultdict(list)
        prometheus_client.GCCollector(registry)
        prometheus_client.ProcessCollector(registry=registry)

    def watch(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Adds a gauge that is asked at each scrape; of several under one name, the sum is told."""
        parts = self._watched[name]
        parts.append(value)
        if len(parts) == 1:
            gauge = prometheus_client.Gauge(name, meaning, registry=self._registry)
            gauge.set_function(lambda: sum(each() for each in parts))

    @contextlib.contextmanager
    def agent_request(self) -> Iterator[None]:
        """Times a request of the agent plane."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._agent_seconds.observe(time.perf_counter() - began)

    def agent_problem(self, code: problems.Code) -> None:
        """Counts a refusal."""
        self._agent_problems[code].inc()

    def control_request(self, route: str, status: int) -> None:
        """Counts a request by the route's pattern and the kind of its status, such as `2xx`."""
        self._control.labels(route, f"{status // 100}xx").inc()

    def episodes_opened(self, count: int) -> None:
        """Counts opened episodes."""
        self._opened.inc(count)

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return prometheus_client.generate_latest(self._registry)
