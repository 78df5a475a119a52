"""Memory that runs out, pods that go with their episodes, an API server that is away: what users see of it."""

import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from awm_registry import client
from awm_runtime import errors
from awm_runtime.contract import episodes, problems, verdicts
from cluster.node import worlds

OUTAGE_S = 20.0
"""One of a minute differs in its length alone: a router is called stale after 150 s."""

TASK = "next-due"


def test_a_scenario_that_takes_more_memory_than_it_has_is_said_to_do_so(world: worlds.World) -> None:
    world.scale("greedy", 1)
    world.wait("the fault", lambda: "OOMKilled" in " ".join(world.condition("greedy", "Available")))
    assert world.condition("greedy", "Ready")[:2] == ("False", "NotServing")
    world.wait_for("greedy", "failed")
    said = described(world, "greedy")
    assert "failed" in said
    assert "OOMKilled" in said
    with world.trainer() as trainer, pytest.raises(problems.ProblemError) as caught:
        worlds.opened(trainer, "greedy")
    assert (caught.value.code, caught.value.blame) == (problems.Code.START_FAILED, "environment")
    world.scale("greedy", 0)


def test_an_episode_survives_a_call_that_takes_all_memory_and_is_lost_with_its_pod(world: worlds.World) -> None:
    with world.trainer() as trainer:
        [struck, other] = worlds.opened(trainer, "hoarder", 2, task=TASK)
        with world.player(other) as player:
            assert not player.call("list_my_loans", {}).is_error
        with world.player(struck) as player, pytest.raises(errors.AwmError) as caught:
            player.call("list_branches", {})
        assert getattr(caught.value, "blame", "infrastructure") == "infrastructure"  # and no tool's result

        world.wait("the episodes again", lambda: answered(lambda: trainer.get(struck.id)))
        assert trainer.get(struck.id).interrupted == 1
        assert trainer.verify(struck.id, verdicts.VerifyRequest()).mask
        with world.player(other) as player:
            assert not player.call("list_my_loans", {}).is_error
        assert trainer.get(other.id).calls == 2

        [pod] = world.pods("hoarder")
        name = pod["metadata"]["name"]
        world.cluster.kubectl("delete", "pod", name, f"--namespace={world.team}", "--grace-period=1", "--wait=false")
        gone = lost(world, trainer, struck)
        assert (gone.problem.status, gone.blame) == (410, "infrastructure")
        assert "open another" in gone.detail
        [fresh] = worlds.opened(trainer, "hoarder")
        assert fresh.id not in (struck.id, other.id)


def test_episodes_go_on_while_the_api_server_is_away(world: worlds.World) -> None:
    world.scale("library", 1)
    world.wait_for("library", "ready")
    world.scale("clinic", 0)
    world.wait_for("clinic", "asleep")
    calls = 0
    with world.trainer() as trainer:
        [old] = worlds.opened(trainer, "library")
        world.cluster.stop("kube-apiserver")
        try:
            ends = time.monotonic() + OUTAGE_S
            [new] = worlds.opened(trainer, "library", task=TASK)
            with pytest.raises(problems.ProblemError) as caught:
                worlds.opened(trainer, "clinic")
            while time.monotonic() < ends:
                for each in (old, new):
                    with world.player(each) as player:
                        assert not player.call("list_my_loans", {}).is_error
                        calls += 1
                time.sleep(0.2)
            assert trainer.verify(new.id).outcome == "failed"  # nothing was done, and it was judged
        finally:
            world.cluster.restart_api_server()
        print(f"{calls} calls in an outage of {OUTAGE_S:g} s")
        assert (caught.value.code, caught.value.blame) == (problems.Code.STARTING, "infrastructure")
        woken: list[episodes.EpisodeView] = []
        world.wait(
            "a wake again", lambda: answered(lambda: woken.extend(worlds.opened(trainer, "clinic"))), patience_s=120
        )
        world.wait_for("library", "ready", patience_s=120)
        assert trainer.get(old.id).state == "open"
        for each in (old, new, *woken):
            trainer.close(each.id)
    world.scale("clinic", 0)
    world.wait_for("clinic", "asleep", patience_s=120)
    assert restarts(world, "router") == 0  # a controller that cannot keep its lease starts anew


def described(world: worlds.World, scenario: str) -> str:
    """What `awm fleet describe` prints."""
    command = [sys.executable, "-m", "awm_fleet", "fleet", "describe", scenario, "--namespace", world.team]
    command += ["--kubeconfig", str(world.cluster.kubeconfig)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def answered(act: Callable[[], object]) -> bool:
    """Whether a fleet answers; that it is not there yet is no fault."""
    try:
        act()
    except (client.Unreachable, problems.ProblemError):
        return False
    return True


def lost(world: worlds.World, trainer: client.ControlClient, episode: episodes.EpisodeView) -> problems.ProblemError:
    """What is said of an episode whose pod is gone, once that is known."""
    said: list[problems.ProblemError] = []

    def gone() -> bool:
        try:
            trainer.get(episode.id)
        except client.Unreachable:
            return False
        except problems.ProblemError as exc:
            said.append(exc)
        return bool(said) and said[-1].code is problems.Code.EPISODE_LOST

    world.wait("the loss", gone, patience_s=120)
    return said[-1]


def restarts(world: worlds.World, component: str) -> int:
    """How often the containers of a part of the release ended."""
    pods = world.get("pods", world.namespace, f"--selector=app.kubernetes.io/component={component}")
    return sum(each["status"]["containerStatuses"][0]["restartCount"] for each in pods)
