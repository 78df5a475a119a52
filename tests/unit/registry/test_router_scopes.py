"""Every route of a router against every kind of token. The list of routes comes from the apps themselves."""

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import bundles
import fastapi
import fleets
import httpx
import pytest
from fastapi import routing

from awm_registry.router import app, authority, ids, settings
from awm_registry.tokens import authorities, issuing, keys
from awm_runtime import errors

HERE = ids.placement("shop", "shop-1")
MADE = ids.EpisodeIds(fleets.ID_KEY)
MINE, OTHERS = MADE.repeatable(HERE, "mine"), MADE.repeatable(HERE, "others")
RANK = {"open": 0, "agent": 1, "control": 2, "admin": 3}
NEEDED = {
    ("POST", "/v1/episodes"): "control",
    ("GET", "/v1/episodes"): "control",
    ("GET", "/v1/episodes/{id}"): "control",
    ("DELETE", "/v1/episodes/{id}"): "control",
    ("POST", "/v1/episodes/{id}/reset"): "control",
    ("POST", "/v1/episodes/{id}/heartbeat"): "control",
    ("POST", "/v1/episodes/{id}/verify"): "control",
    ("GET", "/v1/episodes/{id}/diff"): "control",
    ("GET", "/v1/episodes/{id}/trace"): "control",
    ("GET", "/v1/episodes/{id}/snapshot"): "control",
    ("GET", "/v1/resolve/{name}"): "control",
    ("POST", "/v1/prefetch"): "control",
    ("GET", "/v1/scenarios"): "control",
    ("GET", "/v1/scenarios/{name}"): "control",
    ("GET", "/v1/scenarios/{name}/tasks"): "control",
    ("GET", "/v1/tasks"): "control",
    ("GET", "/v1/mcp.json"): "control",
    ("GET", "/v0.1/servers"): "control",
    ("GET", "/v0.1/servers/{server:path}/versions"): "control",
    ("GET", "/v0.1/servers/{server:path}/versions/{version}"): "control",
    ("GET", "/openapi.json"): "control",
    ("GET", "/livez"): "open",
    ("GET", "/readyz"): "open",
    ("GET", "/health"): "open",
    ("GET", "/metrics"): "open",
}
"""What each route is to need. A route that is added is added here too, or the first test fails."""


@dataclass(frozen=True)
class Guarded:
    """A router that asks for tokens, and tokens of each kind."""

    served: fleets.Served
    tokens: dict[str, str | None]

    def ask(self, token: str | None, method: str, path: str, *, body: object = None) -> httpx.Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return self.served.http.request(method, path, headers=headers, json=body)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "catalogue").mkdir()
    catalogues = fleets.catalogue([bundles.make(folder / "shop", "", tools=())], folder / "catalogue")
    keys.rotate(folder / "keys", now=time.time())
    keys.rotate(folder / "other-keys", now=time.time())
    red = issuing.Issuer(keys.Signer(folder / "keys"), team="red")
    blue = issuing.Issuer(keys.Signer(folder / "keys"), team="blue")
    forger = issuing.Issuer(keys.Signer(folder / "other-keys"), team="red")
    past = issuing.Issuer(keys.Signer(folder / "keys"), team="red", now=lambda: time.time() - 7200)
    made: dict[str, str | None] = {
        "none": None,
        "nonsense": "nonsense",
        "forged": forger.token("admin", ttl_s=60),
        "expired": past.token("admin", ttl_s=60),
        "other team": blue.token("control", ttl_s=60),
        "agent": red.token("agent", ttl_s=60, subject="a", episode=MINE),
        "scenario": red.token("agent", ttl_s=60, subject="a", scenario="shop"),
        "control": red.token("control", ttl_s=60, subject="trainer"),
        "admin": red.token("admin", ttl_s=60),
    }
    tokens = authorities.TokenAuthority(folder / "keys", team="red")
    limits = settings.Settings(wake_s=0.05)
    with fleets.router(fleets.Directory(), catalogues, tokens=tokens, limits=limits) as served:
        yield Guarded(served, made)


def _routes(guarded: Guarded) -> dict[tuple[str, str], str]:
    """What the apps really serve, with the scope that each route says."""
    found = {}
    for gate in (guarded.served.router.control, guarded.served.router.metrics):
        serving = gate._app
        assert isinstance(serving, fastapi.FastAPI)
        for each in serving.routes:
            assert isinstance(each, routing.APIRoute), f"{each} is served without a scope"
            for method in each.methods or ():
                found[method, each.path] = str((each.openapi_extra or {})["x-awm-scope"])
    return found


def test_every_route_that_is_served_is_in_the_table_with_its_scope(guarded: Guarded) -> None:
    assert _routes(guarded) == NEEDED
    assert {(each.method, each.path): each.scope for each in guarded.served.router.table} == NEEDED


@pytest.mark.parametrize(("method", "path"), NEEDED)
def test_a_route_lets_in_its_scope_and_those_above(guarded: Guarded, method: str, path: str) -> None:
    needed = NEEDED[method, path]
    real = path.replace("{id}", MINE).replace("{name}", "shop").replace("{server:path}", "dev.awm%2Fshop")
    real = real.replace("{version}", "1.0.0")
    for kind, token in guarded.tokens.items():
        status = guarded.ask(token, method, real).status_code
        if needed == "open":
            expected = status not in (401, 403)
        elif kind in ("none", "nonsense", "forged", "expired"):
            expected = status == 401
        elif kind == "other team" or RANK["agent" if kind == "scenario" else kind] < RANK[needed]:
            expected = status == 403
        else:
            expected = status not in (401, 403)
        assert expected, f"{kind}: {status}"


def test_nothing_is_parsed_before_it_is_known_who_asks(guarded: Guarded) -> None:
    answer = guarded.served.http.post(
        "/v1/episodes", content=b"{not json", headers={"content-type": "application/json"}
    )
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_not_a_byte_is_read_of_who_may_not_send_it(guarded: Guarded) -> None:
    """The answer comes while the body of four megabytes is still to be sent."""
    address = guarded.served.http.base_url
    for token, status in ((None, 401), (guarded.tokens["agent"], 403)):
        shown = "" if token is None else f"authorization: Bearer {token}\r\n"
        head = f"POST /v1/episodes HTTP/1.1\r\nhost: {address.host}\r\ncontent-length: {4 << 20}\r\n{shown}\r\n"
        with socket.create_connection((address.host, address.port or 80), timeout=20) as sent:
            sent.sendall(head.encode())
            assert sent.recv(4096).startswith(f"HTTP/1.1 {status} ".encode())


@pytest.mark.parametrize(
    ("path", "let_in"),
    [
        (f"/e/{MINE}/mcp", {"agent", "control", "admin"}),
        (f"/e/{OTHERS}/mcp", {"control", "admin"}),
        ("/s/shop/mcp", {"scenario", "control", "admin"}),
        ("/s/SHOP/mcp", {"scenario", "control", "admin"}),
        ("/s/nowhere/mcp", None),
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_an_agent_reaches_its_own_episode_and_nothing_else(
    guarded: Guarded, method: str, path: str, let_in: set[str] | None
) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    for kind, token in guarded.tokens.items():
        status = guarded.ask(token, method, path, body=message).status_code
        refused = 401 if kind in ("none", "nonsense", "forged", "expired") else 403
        if let_in is None and refused == 403 and kind != "other team":
            assert status == 404  # only who has a token learns which scenarios there are
        else:
            assert (status == refused) == (kind not in (let_in or ())), f"{kind}: {status}"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "fleet.example"])
def test_an_address_for_other_machines_is_refused_without_keys(guarded: Guarded, host: str) -> None:
    catalogues = fleets.Catalogues(guarded.served.router._roster._catalogues.current)
    with pytest.raises(errors.PermanentError, match="give the router keys"):
        app.create(fleets.Directory(), catalogues, app.Options(id_key=fleets.ID_KEY, host=host))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_a_loopback_address_needs_no_keys(guarded: Guarded, host: str) -> None:
    catalogues = fleets.Catalogues(guarded.served.router._roster._catalogues.current)
    made = app.create(fleets.Directory(), catalogues, app.Options(id_key=fleets.ID_KEY, host=host))
    with fleets.plane(made.control) as url:
        assert httpx.get(f"{url}/v1/scenarios").status_code == 200


def test_the_planes_have_apps_of_their_own(guarded: Guarded) -> None:
    """Behind the agent's port there is no control plane, and behind neither are the metrics."""
    router = guarded.served.router
    planes = {each.plane: {one.path for one in router.table if one.plane == each.plane} for each in router.table}
    assert planes["metrics"] == {"/livez", "/readyz", "/health", "/metrics"}
    with fleets.plane(router.agent) as url, httpx.Client(base_url=url) as agent:
        for method, path in NEEDED:
            answer = agent.request(method, path.replace("{id}", MINE))
            assert (answer.status_code, answer.json()["code"]) == (404, "unknown_episode")
    with fleets.plane(router.control) as url, httpx.Client(base_url=url) as control:
        for path in ("/metrics", f"/e/{MINE}/mcp", "/s/shop/mcp"):
            assert control.get(path).status_code == 404


def test_the_open_authority_is_for_anybody() -> None:
    anybody = authority.OpenAuthority()
    caller = anybody.caller(None)
    assert (caller.scope, caller.subject) == ("admin", "")
    for scope in ("open", "agent", "control", "admin"):
        authority.require(caller, scope, episode=MINE, scenario="shop")  # raises nothing
    assert anybody.agent_token(caller, MINE, datetime.now(UTC)) is None
    assert anybody.instance_token("shop-1") is None


def test_each_action_is_in_the_audit_log_with_who_did_it_and_without_the_token(
    guarded: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    token = guarded.tokens["control"]
    with caplog.at_level("INFO", "awm.audit"):
        guarded.ask(token, "POST", f"/v1/episodes/{MINE}/heartbeat")
        guarded.ask(None, "DELETE", f"/v1/episodes/{MINE}")
        guarded.ask(token, "GET", "/v1/scenarios")
    lines = [json.loads(each.message) for each in caplog.records if each.name == "awm.audit"]
    assert [(each["action"], each["subject"], each["status"]) for each in lines] == [
        ("POST /v1/episodes/{id}/heartbeat", "trainer", 503),
        ("DELETE /v1/episodes/{id}", None, 401),
    ]
    assert lines[0]["path"] == f"/v1/episodes/{MINE}/heartbeat"
    assert str(token) not in caplog.text


def test_metrics_have_no_label_that_grows(guarded: Guarded) -> None:
    before = {line.partition(" ")[0] for line in guarded.served.http.get("/metrics").text.splitlines()}
    for number in range(20):
        guarded.ask(guarded.tokens["admin"], "POST", f"/e/ep_{number}/mcp", body={})
        guarded.ask(guarded.tokens["admin"], "GET", f"/v1/nowhere/{number}")
        guarded.ask(guarded.tokens["admin"], "GET", f"/v1/resolve/nowhere-{number}")
    after = {line.partition(" ")[0] for line in guarded.served.http.get("/metrics").text.splitlines()}
    assert len(after - before) <= 4
