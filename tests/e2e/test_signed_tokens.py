"""An instance that holds public keys only, behind a router that holds the private ones."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fleets
import httpx
import instances
import pytest

from awm_fleet import examples
from awm_fleet.backends.kubernetes import keyrings
from awm_registry import client
from awm_registry.tokens import authorities, issuing, keys
from awm_runtime import errors
from awm_runtime.contract import problems
from awm_runtime.server import launching


@dataclass
class Guarded:
    """A fleet with tokens.

    Attributes:
        issuer: Makes tokens.
        keys: The folder of its keys.
    """

    served: fleets.Served
    running: fleets.Instances
    issuer: issuing.Issuer
    keys: Path

    def trainer(self) -> client.SyncFleet:
        return client.SyncFleet(self.served.url, token=self.issuer.token("control", ttl_s=600, subject="trainer"))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("keys")
    keys.rotate(folder, now=time.time())
    catalogues = fleets.catalogue([examples.path("library")], tmp_path_factory.mktemp("catalogue"))
    variables = {
        "AWM_CONTROL_TOKEN": "",
        "AWM_TOKEN_KEYS": str(folder / keys.PUBLIC),
        "AWM_INSTANCE_ID": "library-1",
        "AWM_TEAM": "red",
    }
    authority = authorities.TokenAuthority(folder, team="red")
    with (
        fleets.instances(
            {"library": examples.path("library")}, tmp_path_factory.mktemp("state"), **variables
        ) as running,
        fleets.router(running.directory, catalogues, tokens=authority) as served,
    ):
        yield Guarded(served, running, issuing.Issuer(keys.Signer(folder), team="red"), folder)


def code(act: object) -> str:
    with pytest.raises(problems.ProblemError) as caught:
        act()  # type: ignore[operator]
    return caught.value.code


def test_a_trainer_opens_plays_and_judges_and_agents_reach_their_episode_both_ways(fleet: Guarded) -> None:
    with fleet.trainer() as trainer, trainer.open_batch([{"scenario": "library", "count": 2}]) as batch:
        mine, other = batch.episodes
        assert mine.call("list_branches").data()
        assert mine.token is not None
        for url in (mine.mcp_url, mine.view.direct_url):
            with client.ToolClient(url, token=mine.token) as agent:
                assert agent.call("get_me", {}).is_error is False
            with client.ToolClient(url) as nobody:
                assert code(nobody.tools) == "unauthenticated"
            with client.ToolClient(url, token=other.token) as wrong:
                assert code(wrong.tools) == "not_permitted"


def test_an_instances_control_plane_takes_its_routers_tokens_only(fleet: Guarded) -> None:
    with fleet.trainer() as trainer, trainer.open("library", task="next-due") as episode:
        url = fleet.running.launched["library-1"].address.control_url
        for token in (
            None,
            episode.token,
            fleet.issuer.token("control", ttl_s=60),
            fleet.issuer.for_instance("else-1"),
        ):
            with client.ControlClient(url, token=token) as control:
                assert code(lambda control=control: control.verify(episode.id)) == "unauthenticated"
        with client.ControlClient(url, token=fleet.issuer.for_instance("library-1")) as control:
            assert control.verify(episode.id).outcome == "failed"


def test_an_agents_token_for_a_lease_of_another_fleet_opens_nothing(fleet: Guarded, tmp_path: Path) -> None:
    keys.rotate(tmp_path, now=time.time())
    stranger = issuing.Issuer(keys.Signer(tmp_path), team="red")
    with fleet.trainer() as trainer, trainer.open("library") as episode:
        forged = stranger.for_agent(episode.id, datetime.now(UTC) + timedelta(hours=1))
        for url in (episode.mcp_url, episode.view.direct_url):
            with client.ToolClient(url, token=forged) as agent:
                assert code(agent.tools) == "unauthenticated"


def test_keys_are_rotated_while_everything_runs(fleet: Guarded) -> None:
    with fleet.trainer() as trainer, trainer.open("library") as episode:
        done = keys.rotate(fleet.keys, now=time.time() - keys.SETTLE_S - 1)  # settled already
        direct = str(episode.view.direct_url)

        def answers(url: str, token: str) -> bool:
            message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
            headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
            return httpx.post(url, json=message, headers=headers).status_code == 200

        fresh = issuing.Issuer(keys.Signer(fleet.keys), team="red").for_agent(episode.id, datetime.now(UTC))
        assert f"{done.kid}.pem" in {path.name for path in fleet.keys.iterdir()}
        for url in (episode.mcp_url, direct):
            instances.wait_for(lambda url=url: answers(url, fresh))
            assert answers(url, str(episode.token))
        assert episode.call("get_me").is_error is False


def test_an_instance_is_not_given_a_folder_with_private_keys(tmp_path: Path) -> None:
    keys.rotate(tmp_path / "keys", now=time.time())
    public = tmp_path / "keys" / "jwks.json"
    public.write_bytes((tmp_path / "keys" / keys.PUBLIC).read_bytes())
    with (
        pytest.raises(errors.PermanentError, match="private keys are beside the public ones"),
        launching.launched(examples.path("library"), tmp_path / "state", settings={"AWM_TOKEN_KEYS": str(public)}),
    ):
        pass


def test_public_keys_are_exchanged_as_a_kubelet_does_it(tmp_path: Path) -> None:
    before, _ = keys.rotated([], now=time.time() - 2 * keys.SETTLE_S)
    after, _ = keys.rotated(before, now=time.time() - keys.SETTLE_S - 1)  # settled already
    volume = tmp_path / "volume"
    _mounted(volume, "1", before)
    settings = {"AWM_TOKEN_KEYS": str(volume / keys.PUBLIC_FILE), "AWM_INSTANCE_ID": "a-pod", "AWM_TEAM": "red"}
    with launching.launched(examples.path("library"), tmp_path / "state", settings=settings) as running:

        def opens(held: Sequence[keys.Key], team: str = "red", id: str = "a-pod") -> bool:
            token = issuing.Issuer(keyrings.Keyring(held), team=team).for_instance(id)
            headers = {"Authorization": f"Bearer {token}"}
            return httpx.get(f"{running.address.control_url}/v1/episodes", headers=headers).is_success

        assert (opens(before), opens(before, id="another-pod"), opens(after)) == (True, False, False)
        _mounted(volume, "2", after)
        instances.wait_for(lambda: opens(after))
        assert opens(before)


def _mounted(volume: Path, version: str, held: Sequence[keys.Key]) -> None:
    """Exchanges what is in a mounted ConfigMap: a folder for each version, and two links."""
    (volume / f"..{version}").mkdir(parents=True)
    (volume / f"..{version}" / keys.PUBLIC_FILE).write_text(keys.described(held))
    link = volume / "..data_tmp"
    link.symlink_to(f"..{version}")
    link.replace(volume / "..data")
    if not (volume / keys.PUBLIC_FILE).is_symlink():
        (volume / keys.PUBLIC_FILE).symlink_to(f"..data/{keys.PUBLIC_FILE}")
