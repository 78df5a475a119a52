"""`awm up --keys`: the router asks for tokens, and so does every instance that is reached beside it."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import local_fleets
import pytest

from awm_fleet import examples
from awm_registry import client
from awm_registry.tokens import issuing, keys
from awm_runtime.contract import problems


@dataclass(frozen=True)
class Guarded:
    """A fleet that asks for tokens, and who makes them."""

    fleet: local_fleets.LocalFleet
    issuer: issuing.Issuer

    def trainer(self) -> client.SyncFleet:
        return client.SyncFleet(
            self.fleet.control_url, token=self.issuer.token("control", ttl_s=600, subject="trainer")
        )


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    keys.rotate(folder / "keys", now=time.time())
    with local_fleets.running([examples.path("library")], folder / "state", "--keys", str(folder / "keys")) as fleet:
        yield Guarded(fleet, issuing.Issuer(keys.Signer(folder / "keys")))


def code(act: Callable[[], object]) -> str:
    with pytest.raises(problems.ProblemError) as caught:
        act()
    return caught.value.code


def test_an_instance_reached_directly_lets_in_its_episodes_own_token_only(guarded: Guarded) -> None:
    with guarded.trainer() as trainer, trainer.open_batch([{"scenario": "library", "count": 2}]) as batch:
        mine, other = batch.episodes
        direct = str(mine.view.direct_url)
        assert not direct.startswith(guarded.fleet.url)
        for url in (mine.mcp_url, direct):
            with client.ToolClient(url, token=mine.token) as agent:
                assert agent.call("get_me", {}).is_error is False
            with client.ToolClient(url) as nobody:
                assert code(nobody.tools) == "unauthenticated"
            with client.ToolClient(url, token=other.token) as wrong:
                assert code(wrong.tools) == "not_permitted"
        with client.ToolClient(f"{direct.partition('/e/')[0]}/mcp", token=mine.token) as default:
            assert code(default.tools) == "not_permitted"


def test_episodes_are_opened_verified_and_read_with_the_routers_own_tokens(guarded: Guarded) -> None:
    with guarded.trainer() as trainer, trainer.open("library", task="next-due") as episode:
        episode.call("get_me")
        assert (episode.verify("x").outcome, episode.trace()[0]["tool"], episode.diff()) == ("failed", "get_me", {})


def test_no_process_of_the_fleet_shows_a_secret(guarded: Guarded) -> None:
    """On command lines and in the environment of what runs scenario code there is nothing that opens anything."""
    with guarded.trainer() as trainer, trainer.open("library"):
        instance = guarded.fleet.instance("library")
        shown = "\n".join([*instance.cmdline(), *instance.environ().values()])
        assert "PRIVATE" not in shown
        assert not [file.path for file in instance.open_files() if file.path.endswith(".pem")]


def test_beyond_loopback_each_plane_has_a_port_of_its_own(tmp_path: Path) -> None:
    keys.rotate(tmp_path / "keys", now=time.time())
    options = ("--host", "0.0.0.0", "--keys", str(tmp_path / "keys"), "--routers", "2")
    with local_fleets.running([examples.path("library")], tmp_path / "state", *options) as fleet:
        guarded, seen = Guarded(fleet, issuing.Issuer(keys.Signer(tmp_path / "keys"))), fleet.status()
        metrics = seen["metrics_url"].removesuffix("/metrics")
        assert len({fleet.url, fleet.control_url, metrics}) == 3
        answers = {
            (fleet.url, "/s/library/mcp"): 401,
            (fleet.control_url, "/v1/scenarios"): 401,
            (metrics, "/metrics"): 200,
            (metrics, "/readyz"): 200,
        }
        for _, path in answers:
            for url in (fleet.url, fleet.control_url, metrics):
                status = httpx.post if path.endswith("/mcp") else httpx.get
                assert status(f"{url}{path}", trust_env=False).status_code == answers.get((url, path), 404), (url, path)
        token = guarded.issuer.token("control", ttl_s=60, subject="reader")
        shown = httpx.get(
            f"{fleet.control_url}/v1/mcp.json", headers={"Authorization": f"Bearer {token}"}, trust_env=False
        )
        assert shown.json()["mcpServers"]["library"]["url"] == f"{fleet.url}/s/library/mcp"
        with guarded.trainer() as trainer, trainer.open("library") as episode:
            assert episode.mcp_url == f"{fleet.url}/e/{episode.id}/mcp"
            assert episode.view.direct_url is None  # other machines do not reach this one's loopback
            with client.ToolClient(episode.mcp_url, token=episode.token) as agent:
                assert agent.call("get_me", {}).is_error is False
