"""`awm fleet` on a cluster."""

import json
import subprocess
import sys

import pytest

from cluster import fleets, stubs


def awm(fleet: fleets.Fleet, *arguments: str) -> str:
    """What a command prints; its complaints are in the error."""
    given = ("--namespace", fleet.namespace, "--kubeconfig", str(fleet.cluster.kubeconfig))
    command = [sys.executable, "-m", "awm_fleet", "fleet", *arguments, *given]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def test_a_scenario_is_looked_at_rolled_out_and_rolled_back(fleet: fleets.Fleet, stub: stubs.Stub) -> None:
    fleet.index(fleets.entry(), fleets.entry("farm"))
    fleet.team["warm"] = ["rover"]
    with fleet.controller():
        fleet.wait_for("ready")
        fleet.wait_for("asleep", "farm")
        listed = json.loads(awm(fleet, "list", "--json"))["environments"]
        assert [(each["name"], each["status"]["state"]) for each in listed] == [("farm", "asleep"), ("rover", "ready")]
        fleet.index(fleets.entry(generation=2), fleets.entry("farm"))
        fleet.wait("the change", lambda: fleet.environment()["spec"]["bundleGeneration"] == 2)
        assert "revision 2 serves generation 2" in awm(fleet, "rollout", "status", "rover", "--timeout", "60")
        assert "goes back to generation 1" in awm(fleet, "rollback", "rover")
        assert "revision 3 serves generation 1" in awm(fleet, "rollout", "status", "rover", "--timeout", "60")
        said = awm(fleet, "describe", "rover")
        assert "ToolsMatch" in said
        assert said.index(fleets.entry(generation=1)["image"]) < said.index(fleets.entry(generation=2)["image"])


def test_a_rollout_that_cannot_end_says_why(fleet: fleets.Fleet) -> None:
    fleet.index(fleets.entry())
    with fleet.controller():
        fleet.wait_for("ready")
        fleet.patch("rover", bundleGeneration=2, toolsHash=f"sha256:{'0' * 64}")
        fleet.wait("the fault", lambda: fleet.condition("Verified").get("reason") == "WrongTools")
        with pytest.raises(subprocess.CalledProcessError) as caught:
            awm(fleet, "rollout", "status", "rover")
    assert caught.value.returncode == 1
    assert "lists 2 tools with the hash" in caught.value.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("describe", "nowhere"), "has no environment of 'nowhere'"),
        (("rollback", "rover"), "nothing else served before"),
    ],
)
def test_what_cannot_be_done_is_said(fleet: fleets.Fleet, arguments: tuple[str, ...], said: str) -> None:
    fleet.index(fleets.entry())
    with fleet.controller():
        fleet.wait_for("ready")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        awm(fleet, *arguments)
    assert caught.value.returncode == 1
    assert said in caught.value.stderr
