"""A router in front of a real fleet, held to its OpenAPI document by schemathesis and by requests that are no JSON."""

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import local_fleets
import pytest

from awm_fleet import examples
from awm_registry.tokens import issuing, keys

SEED = 20260115
CASES = 12
"""Of each operation in each phase; all in all some two thousand requests."""


@dataclass(frozen=True)
class Guarded:
    """A fleet that asks for tokens.

    Attributes:
        url: Where it answers.
        token: An administrator's.
        http: A client that shows it.
    """

    url: str
    token: str
    http: httpx.Client

    def open(self, scenario: str, task: str) -> str:
        """Opens an episode; its id."""
        answer = self.http.post("/v1/episodes", json={"episodes": [{"scenario": scenario, "task": task}]})
        [episode] = answer.json()["episodes"]
        return str(episode["id"])


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    keys.rotate(folder / "keys", now=time.time())
    token = issuing.Issuer(keys.Signer(folder / "keys")).token("admin", ttl_s=3600, subject="tester")
    bundles = [examples.path(name) for name in examples.names()]
    headers = {"Authorization": f"Bearer {token}"}
    with (
        local_fleets.running(bundles, folder / "state", "--keys", str(folder / "keys")) as running,
        httpx.Client(base_url=running.url, headers=headers, timeout=60) as http,
    ):
        yield Guarded(running.url, token, http)


CONFIG = """
seed = {seed}
continue-on-failure = true
request-timeout = 60
suppress-health-check = ["all"]  # they are about the making of cases, and depend on the machine's pace

[generation]
max-examples = {cases}
no-shrink = true
database = "none"

[phases.stateful]
max-steps = 6

[warnings]
fail-on = {warnings}

# An episode may have ended before a request that is as it should be: then it is gone, which no schema can know.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "304", "401", "403", "404", "409", "410", "429", "503"]

# A closed episode can be read until its retention is over: that is no use after free.
[checks.use_after_free]
enabled = false

# Which tasks a scenario has is no matter of a schema: judging by another, or by none, is a bad request.
[[operations]]
include-path = "/v1/episodes/{{id}}/verify"
[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "401", "403", "404", "409", "410", "429", "503"]

{more}
"""


def _held_to_its_document(fleet: Guarded, folder: Path, *, warnings: str = "[]", more: str = "") -> None:
    config = folder / "schemathesis.toml"
    config.write_text(CONFIG.format(seed=SEED, cases=CASES, warnings=warnings, more=more))
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)]
    command += ["run", f"{fleet.url}/openapi.json", "-H", f"Authorization: Bearer {fleet.token}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_whatever_comes_a_router_answers_as_its_document_says(fleet: Guarded, tmp_path: Path) -> None:
    _held_to_its_document(fleet, tmp_path)


def test_an_open_episode_and_a_real_scenario_are_answered_as_the_document_says(fleet: Guarded, tmp_path: Path) -> None:
    """With names of what there is, so that each operation comes as far as its answer."""
    used, closed = fleet.open("library", "rain-hold"), fleet.open("library", "rain-hold")
    more = f"""
[parameters]
"path.id" = "{used}"
"path.name" = "library"
"path.server" = "dev.awm/library"
"path.version" = "1.0.0"

[[operations]]
include-path = "/v1/episodes/{{id}}"
include-method = "DELETE"
parameters = {{ "path.id" = "{closed}" }}
"""
    _held_to_its_document(fleet, tmp_path, warnings='["missing_test_data"]', more=more)
    assert fleet.http.get(f"/v1/episodes/{used}").json()["state"] == "open"


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("application/json", b"{not json"),
        ("application/json", b"\xff\xfe\x00"),
        ("application/json", b"[" * 200_000),
        ("application/json", b'{"episodes": NaN}'),
        ("application/json", b"null"),
        ("text/plain", b'{"episodes": [{"scenario": "library"}], "scenarios": ["library"]}'),
        ("application/x-www-form-urlencoded", b"scenario=library"),
        ("multipart/form-data", b"no boundary"),
        ("", b"\x00" * 64),
    ],
)
def test_what_is_no_json_is_refused_by_every_route_that_takes_a_body(fleet: Guarded, kind: str, content: bytes) -> None:
    document: dict[str, Any] = fleet.http.get("/openapi.json").json()
    paths = [path for path, methods in document["paths"].items() if "requestBody" in methods.get("post", {})]
    assert "/v1/episodes" in paths
    for path in paths:
        is_optional = not document["paths"][path]["post"]["requestBody"].get("required")
        if is_optional and content == b"null":
            continue
        answer = fleet.http.post(path.replace("{id}", "ep_any"), content=content, headers={"content-type": kind})
        problem = answer.json()
        assert (answer.status_code, problem["code"], problem["class"]) == (400, "bad_request", "agent"), path
        assert answer.headers["content-type"] == "application/problem+json"
