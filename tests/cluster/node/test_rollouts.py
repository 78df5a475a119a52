"""Changes under load on a real node: twenty episodes are played all the time, and none of them notices."""

from collections.abc import Iterator
from typing import Any

import pytest

from awm_registry import client
from awm_runtime.contract import episodes
from cluster.node import loads, worlds

ROLLED = "library"


@pytest.fixture
def trainer(world: worlds.World) -> Iterator[client.ControlClient]:
    """With the scenario awake."""
    world.scale(ROLLED, 1)
    world.wait_for(ROLLED, "ready")
    with world.trainer() as made:
        yield made


def test_a_regeneration_under_load_fails_no_call_and_a_broken_one_changes_nothing(
    world: worlds.World, trainer: client.ControlClient
) -> None:
    bundles = {
        generation: worlds.copied(
            worlds.EXAMPLES / ROLLED, world.folder / f"{generation}" / ROLLED, generation=generation
        )
        for generation in (2, 3)
    }
    (bundles[3] / "environment.py").write_text("raise RuntimeError('broken')\n")
    rows = {generation: world.build(bundle)[0] for generation, bundle in bundles.items()}
    with loads.played(world, ROLLED) as seen:
        old = worlds.opened(trainer, ROLLED, 5)
        world.wait("players", lambda: seen.ended[1] > 0)
        world.change(ROLLED, rows[2])
        world.wait("the new generation", lambda: _status(world)["bundleGeneration"] == 2)
        world.wait("players on it", lambda: seen.ended[2] > loads.EPISODES)
        new = worlds.opened(trainer, ROLLED, 3)
        assert {each.generation for each in new} == {2}
        for each in (*old, *new):
            _still_plays(world, trainer, each)
            trainer.close(each.id)
        world.wait("the end of the old revision", lambda: len(_deployments(world)) == 1)
        before = _deployments(world)

        world.change(ROLLED, rows[3])
        world.wait("the fault", lambda: "broken" in world.condition(ROLLED, "Available")[2])
        assert world.condition(ROLLED, "Ready")[:2] == ("True", "ServingOlder")
        assert _status(world)["bundleGeneration"] == 2
        assert len(_deployments(world)) == 2
        played = seen.ended[2]
        world.wait("players on the old one", lambda: seen.ended[2] > played + loads.EPISODES)
        world.change(ROLLED, rows[2])
        world.wait("the end of the broken one", lambda: _deployments(world) == before)
    assert seen.faults + seen.repeated == []
    assert set(seen.ended) == {1, 2}


def test_another_memory_limit_under_load_loses_no_episode(world: worlds.World, trainer: client.ControlClient) -> None:
    before, serving = _deployments(world), _status(world)["serving"]
    with loads.played(world, ROLLED) as seen:
        old = worlds.opened(trainer, ROLLED, 5)
        world.wait("players", lambda: seen.ended.total() > 0)
        world.values["environments"]["memoryMiB"] = 400
        world.helm("upgrade", "--wait", "--timeout=120s")
        world.wait("the new revision", lambda: _status(world)["serving"] != serving)
        for each in old:
            _still_plays(world, trainer, each)
            trainer.close(each.id)
        world.wait("the end of the old revision", lambda: not before & _deployments(world))
        ended = seen.ended.total()
        world.wait("players on it", lambda: seen.ended.total() > ended + loads.EPISODES)
    assert seen.faults == []  # the router is exchanged too, and may end a connection that a request is just sent on
    assert {_memory(each) for each in world.pods(ROLLED)} == {"528Mi"}


def _still_plays(world: worlds.World, trainer: client.ControlClient, episode: episodes.EpisodeView) -> None:
    with world.player(episode) as player:
        assert not player.call("list_my_loans", {}).is_error
    assert trainer.get(episode.id).generation == episode.generation


def _status(world: worlds.World) -> dict[str, Any]:
    found: dict[str, Any] = world.environment(ROLLED)["status"]
    return found


def _deployments(world: worlds.World) -> set[str]:
    found = world.get("deployments", world.team, f"--selector=awm.dev/environment={ROLLED}")
    return {each["metadata"]["name"] for each in found}


def _memory(pod: dict[str, Any]) -> str:
    limit: str = pod["spec"]["containers"][0]["resources"]["limits"]["memory"]
    return limit
