"""What a container is told about who may use it."""

import dataclasses
from pathlib import Path

from awm_fleet.backends import protocol
from awm_fleet.backends.docker import plans
from awm_runtime.server import __main__ as server

PLAN = plans.Plan(
    spec=protocol.EnvironmentSpec(team="red", scenario="shop", generation=1, digest="sha256:1"),
    image="sha256:2",
    fleet="local",
    limits=plans.Limits(),
    token="the control plane's",
)


def test_a_container_without_keys_knows_the_hash_of_its_token_and_not_the_token() -> None:
    assert PLAN.variables() == {server.TOKEN_HASH_VARIABLE: PLAN.token_hash}
    assert list(PLAN.options()["binds"]) == [PLAN.name]


def test_a_container_with_keys_sees_the_public_ones_alone_and_has_no_token() -> None:
    plan = dataclasses.replace(PLAN, keys=Path("/keys-of-the-fleet/public/jwks.json"))
    assert plan.options()["binds"]["/keys-of-the-fleet/public"] == {"bind": "/keys", "mode": "ro"}
    assert plan.variables() == {
        server.KEYS_VARIABLE: "/keys/jwks.json",
        server.ID_VARIABLE: plan.id,
        server.TEAM_VARIABLE: "red",
    }
    assert plan.revision != PLAN.revision
