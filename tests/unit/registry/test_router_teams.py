"""The routers of several teams behind one door: which of them answers, and that none answers for another."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import catalogues
import fleets
import httpx
import pytest

from awm_registry import directory
from awm_registry.router import app, metrics, teams
from awm_registry.tokens import authorities, issuing, keys
from awm_runtime.contract import tokens

KEY = b"k" * 32


@dataclass
class Front:
    """Two teams, each with keys of its own; nothing runs.

    Attributes:
        stale: What the readiness probe is told.
    """

    teams: teams.Teams
    issuers: Mapping[str, issuing.Issuer]
    stale: list[str | None]

    def ask(self, path: str, token: str | None = None, *, plane: str = "control") -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(getattr(self.teams, plane))
            async with (
                self.teams.running(),
                httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client,
            ):
                headers = {} if token is None else {"Authorization": f"Bearer {token}"}
                return await client.get(path, headers=headers)

        return asyncio.run(ask())

    def token(self, team: str, scope: tokens.Scope = "control", **claims: Any) -> str:
        return self.issuers[team].token(scope, ttl_s=60, **claims)


@pytest.fixture
def front(tmp_path: Path) -> Front:
    meter = metrics.Metrics()
    routers, issuers = {}, {}
    for team, scenario in (("red", "rover"), ("blue", "farm")):
        keys.rotate(tmp_path / team, now=time.time())
        fleet = fleets.Directory()
        fleet.put(
            directory.Instance(id=directory.InstanceId(team), scenario=scenario, generation=1, bundle="", state="ready")
        )
        served = fleets.Catalogues(catalogues.catalogue(tmp_path / "catalogues" / team, {scenario: {}}))
        routers[team] = app.create(
            fleet,
            served,
            app.Options(id_key=KEY, url=f"http://awm.example/t/{team}", team=team),
            tokens=authorities.TokenAuthority(tmp_path / team, team=team),
            meter=meter,
        )
        issuers[team] = issuing.Issuer(keys.Signer(tmp_path / team), team=team)
    stale: list[str | None] = [None]
    return Front(teams.Teams(routers, meter, stale=lambda: stale[0]), issuers, stale)


def names(response: httpx.Response) -> list[str]:
    return [each["name"] for each in response.json()["scenarios"]]


def test_a_path_or_else_the_token_says_whose_scenarios_are_told(front: Front) -> None:
    red, blue = front.token("red"), front.token("blue")
    assert names(front.ask("/t/red/v1/scenarios", red)) == ["rover"]
    assert names(front.ask("/t/blue/v1/scenarios", blue)) == ["farm"]
    assert names(front.ask("/v1/scenarios", red)) == ["rover"]
    assert names(front.ask("/v1/scenarios", blue)) == ["farm"]
    [farm] = front.ask("/v1/scenarios", blue).json()["scenarios"]
    assert farm["mcp_url"] == "http://awm.example/t/blue/s/farm/mcp"


@pytest.mark.parametrize("scope", ["control", "admin"])
def test_a_token_opens_nothing_of_another_team(front: Front, scope: tokens.Scope) -> None:
    red = front.token("red", scope)
    answer = front.ask("/t/blue/v1/scenarios", red)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    refused = front.ask("/t/blue/s/farm/mcp", front.token("red", "agent", scenario="farm"), plane="agent")
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")


def test_a_token_that_claims_another_team_is_found_out(front: Front, tmp_path: Path) -> None:
    forged = issuing.Issuer(keys.Signer(tmp_path / "red"), team="blue").token("control", ttl_s=60)
    for path in ("/v1/scenarios", "/t/blue/v1/scenarios", "/t/red/v1/scenarios"):
        assert front.ask(path, forged).status_code in (401, 403), path


@pytest.mark.parametrize(
    ("path", "shown", "code"),
    [
        ("/t/green/v1/scenarios", True, "not_permitted"),
        ("/t//v1/scenarios", True, "not_permitted"),
        ("/v1/scenarios", False, "unauthenticated"),
        ("/t/red/v1/scenarios", False, "unauthenticated"),
        ("/t/red/t/blue/v1/scenarios", True, "bad_request"),
    ],
)
def test_what_names_no_team_is_refused(front: Front, path: str, shown: bool, code: str) -> None:
    answer = front.ask(path, front.token("red") if shown else None)
    assert answer.status_code >= 400
    assert answer.json()["code"] == code


def test_readiness_and_metrics_are_of_all_teams_together(front: Front) -> None:
    assert front.ask("/readyz", plane="metrics").status_code == 200
    front.ask("/t/red/v1/scenarios", front.token("red"))
    front.ask("/t/blue/v1/scenarios", front.token("blue"))
    counted = front.ask("/metrics", plane="metrics").text
    assert 'awm_router_control_requests_total{route="GET /v1/scenarios",status="2xx"} 2.0' in counted
    assert counted.count("\nawm_router_waiting ") == 1
    front.stale[0] = "nothing was heard of team-red for 200 s"
    answer = front.ask("/readyz", plane="metrics")
    assert (answer.status_code, answer.json()["reason"]) == (503, front.stale[0])
    assert front.ask("/livez", plane="metrics").status_code == 200
