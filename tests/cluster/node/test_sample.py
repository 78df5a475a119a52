"""Scenarios that a real pipeline made, on a real node whose network enforces policies: imported, pushed, installed,
woken, played, judged, reset, put to sleep.
"""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from awm_runtime.bundle import reading
from awm_runtime.contract import verdicts
from cluster.node import worlds
from cluster.testbed import clusters, policies

PLAYED, TASK = "rover", "3"
QUESTION = (
    "Can you confirm you're comfortable administering an oral flea tablet after the walk if I leave it on the counter?"
)
THREAD = "MSG-70001"
"""Of the messages with the sitter whom the task means."""


@pytest.fixture(scope="module")
def bundles(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sample's scenarios as bundles, by name."""
    folder = tmp_path_factory.mktemp("imported")
    worlds.awm("bundle", "import", sample, "--out", folder)
    return {each.name: each for each in sorted(folder.iterdir()) if (each / "scenario.json").is_file()}


@pytest.fixture(scope="module")
def strict(
    world: worlds.World,
    cluster: clusters.Cluster,
    programs: Path,
    built_images: Path,
    bundles: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[worlds.World]:
    """A second release, of these scenarios, that insists on network policies, on a node that enforces them."""
    folder = tmp_path_factory.mktemp("strict")
    with policies.enforced(cluster), cluster.namespaces.network():
        made = worlds.World(cluster, programs / "helm4", folder, built_images)
        made.values |= {
            "crds": {"install": False},  # the first release brought it
            "networkPolicy": {"enforcement": "require"},
            "test": {"scenario": PLAYED, "task": TASK},
        }
        made.rows = {each["name"]: each for each in made.build(*bundles.values())}
        made.install()
        yield made


def test_every_scenario_of_the_sample_is_woken_through_the_router_and_verified(
    strict: worlds.World, bundles: dict[str, Path]
) -> None:
    assert len(bundles) == 4
    with strict.trainer() as trainer:
        for name in bundles:
            strict.wait_for(name, "asleep")
            [episode] = worlds.opened(trainer, name)
            with strict.player(episode) as player:
                listed = [each["name"] for each in player.tools()]
            assert listed == [each["name"] for each in reading.read(bundles[name]).tools]
            assert strict.condition(name, "Verified")[:2] == ("True", "ToolsMatch")  # and so isolated
            trainer.close(episode.id)


def test_an_mcp_client_plays_a_task_to_its_reward_and_a_reset_takes_it_back(strict: worlds.World) -> None:
    listed, reply = asyncio.run(
        worlds.talked(f"{strict.agent}/t/{worlds.TEAM}/s/{PLAYED}/mcp", strict.token(), "list_message_threads")
    )
    assert len(listed) == 17
    assert THREAD in json.dumps([each.model_dump() for each in reply.content])
    with strict.trainer() as trainer:
        [episode] = worlds.opened(trainer, PLAYED, task=TASK)
        with strict.player(episode) as player:
            assert not player.call("send_message", {"thread_code": THREAD, "body": QUESTION}).is_error
        verdict = trainer.verify(episode.id, verdicts.VerifyRequest())
        assert (verdict.outcome, verdict.reward) == ("completed", 1.0)
        assert list(trainer.diff(episode.id)) == ["messages"]
        trainer.reset(episode.id)
        assert trainer.diff(episode.id) == {}
        assert trainer.verify(episode.id, verdicts.VerifyRequest()).outcome == "failed"
        trainer.close(episode.id)


def test_helm_test_finds_the_door_shut(strict: worlds.World) -> None:
    said = strict.helm("test", "--logs", "--timeout=180s")
    assert f"of {PLAYED}, task {TASK}" in said
    assert "judged: failed" in said  # nothing was done
    assert "closed to others, as it should be" in said


def test_a_scenario_of_the_sample_sleeps_and_wakes(strict: worlds.World) -> None:
    with strict.trainer() as trainer:
        [episode] = worlds.opened(trainer, PLAYED)
        trainer.close(episode.id)
        strict.scale(PLAYED, 0)
        strict.wait_for(PLAYED, "asleep")
        strict.wait("the end of its pods", lambda: strict.pods(PLAYED) == [])
        [episode] = worlds.opened(trainer, PLAYED)
        strict.wait_for(PLAYED, "ready")
        assert trainer.get(episode.id).state == "open"
        trainer.close(episode.id)
