"""What trainers and agents have of a release on a real node, through the Services of its router."""

import asyncio

from awm_runtime.contract import verdicts
from cluster.node import worlds


def test_a_sleeping_scenario_is_opened_played_judged_and_reset(world: worlds.World) -> None:
    world.wait_for("clinic", "asleep")
    with world.trainer() as trainer:
        [episode] = worlds.opened(trainer, "library", task="soil-cancel")
        with world.player(episode) as player:
            [hold] = [each for each in player.call("list_my_holds", {}).data()["items"] if "Soil" in each["title"]]
            assert not player.call("cancel_hold", {"hold_id": hold["id"]}).is_error
            verdict = trainer.verify(episode.id, verdicts.VerifyRequest())
            assert (verdict.outcome, verdict.reward) == ("completed", 1.0)
            assert list(trainer.diff(episode.id)) == ["holds"]
            trainer.reset(episode.id)
            assert trainer.diff(episode.id) == {}
            assert trainer.verify(episode.id, verdicts.VerifyRequest()).outcome != "completed"
        assert episode.mcp_url.startswith(f"http://fleet-awm-fleet-router.{world.namespace}")
        trainer.close(episode.id)
    assert world.states(0)["clinic"] == "asleep"


def test_an_mcp_client_reaches_a_scenario_by_its_name(world: worlds.World) -> None:
    url = f"{world.agent}/t/{worlds.TEAM}/s/library/mcp"
    listed, reply = asyncio.run(worlds.talked(url, world.token(), "list_branches"))
    assert len(listed) == 24
    assert not reply.is_error


def test_helm_test_plays_an_episode_from_within_the_cluster(world: worlds.World) -> None:
    said = world.helm("test", "--logs", "--timeout=120s")
    assert "judged: " in said
    assert "of clinic" in said
    assert "WARNING: anybody reaches" in said  # the test bed has no network plug-in that enforces policies
