"""What a router logs for programs: a JSON object a line, with the trace of the request."""

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bundles
import fleets
import instances
import pytest

from awm_registry import directory
from awm_registry.router import ids, settings, tracing
from awm_runtime.server import logs

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = {"traceparent": f"00-{TRACE}-{SPAN}-01"}


class Log:
    """The lines that were written."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def lines(self, logger: str) -> list[dict[str, Any]]:
        every = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        return [each for each in every if each["logger"] == logger]

    def wait_for(self, logger: str, count: int) -> list[dict[str, Any]]:
        return instances.wait_for(lambda: len(lines := self.lines(logger)) == count and lines)


@pytest.fixture
def log() -> Iterator[Log]:
    log = Log()
    handler = logging.StreamHandler(log.stream)
    handler.setFormatter(logs.JsonFormatter())
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    tracing.install()
    yield log
    root.removeHandler(handler)
    root.setLevel(before)


@pytest.fixture
def router(tmp_path: Path) -> Iterator[fleets.Served]:
    (tmp_path / "catalogue").mkdir()
    catalogues = fleets.catalogue([bundles.make(tmp_path / "shop", "", tools=())], tmp_path / "catalogue")
    fleet = fleets.Directory()
    fleet.put(
        directory.Instance(
            id=directory.InstanceId("shop-1"), scenario="shop", generation=1, bundle="sha256:1", state="ready",
            agent_url="http://127.0.0.1:1", control_url="http://127.0.0.1:1",
        )
    )  # fmt: skip
    with fleets.router(fleet, catalogues, limits=settings.Settings(wake_s=0.05)) as served:
        yield served


def test_the_audit_log_has_its_fields_and_the_trace(router: fleets.Served, log: Log) -> None:
    router.http.post("/v1/episodes", json={"episodes": [{"scenario": "nowhere"}]}, headers=PARENT)
    router.http.post("/v1/prefetch", json={}, headers={"traceparent": "00-nonsense"})
    traced, plain = log.wait_for("awm.audit", 2)  # written when the answer is out
    assert (traced["action"], traced["status"], traced["level"]) == ("POST /v1/episodes", 201, "info")
    assert (traced["trace_id"], traced["span_id"]) == (TRACE, SPAN)
    assert traced["message"].startswith("POST /v1/episodes: 201 in")
    assert (plain["status"], "trace_id" in plain) == (400, False)


def test_a_call_that_the_fleet_lost_is_a_warning_with_its_code_and_trace(router: fleets.Served, log: Log) -> None:
    lost = ids.EpisodeIds(fleets.ID_KEY).repeatable(ids.placement("shop", "shop-0"), "lost")
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    for path in (f"/e/{lost}/mcp", "/e/ep_strange/mcp"):
        router.http.post(path, json=message, headers=PARENT)
    [line] = log.lines("awm_registry.router.agent_plane")
    assert (line["level"], line["code"], line["class"]) == ("warning", "episode_lost", "infrastructure")
    assert (line["path"], line["trace_id"], line["span_id"]) == (f"/e/{lost}/mcp", TRACE, SPAN)


def test_a_failure_is_one_line_with_its_traceback(log: Log) -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("here").exception("it failed\nbadly")
    [line] = log.lines("here")
    assert (line["message"], line["level"]) == ("it failed\nbadly", "error")
    assert "ValueError: two\nlines" in line["exception"]
