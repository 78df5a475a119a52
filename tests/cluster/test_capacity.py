"""What becomes of environments for which a team's quota has no room."""

from pathlib import Path

import pytest

from cluster import fleets, stubs
from cluster.testbed import clusters

NAMES = ("rover", "farm", "zebra", "otter", "heron")


def test_a_quota_is_looked_at_before_anything_is_made(fleet: fleets.Fleet) -> None:
    fleet.quota(requests_memory="256Mi")
    fleet.index(fleets.entry())
    with fleet.controller():
        fleet.wait("the refusal", lambda: fleet.condition("Accepted").get("reason") == "NoRoom")
        assert fleet.list("deployments") == []
        assert "requests.memory is 256Mi, which is less than the 536870912" in fleet.condition("Accepted")["message"]
        fleet.quota(requests_memory="2Gi")
        fleet.wait_for("ready")


def test_those_that_are_woken_at_once_are_counted_before_their_pods_are(fleet: fleets.Fleet) -> None:
    fleet.quota(pods="2")
    fleet.team["warm"] = "all"
    fleet.index(*map(fleets.entry, NAMES))
    with fleet.controller():
        fleet.wait("two and no more", lambda: states(fleet) == ["failed"] * 3 + ["ready"] * 2)
        assert len(fleet.list("deployments")) == 2  # and none that waits for its ReplicaSet to try again
        awake = [name for name in NAMES if fleet.environment(name)["status"]["state"] == "ready"]
        reasons = {fleet.condition("Accepted", name)["reason"] for name in set(NAMES) - set(awake)}
        assert reasons == {"NoRoom"}
        fleet.patch(awake[0], replicas=0)  # a pod less: the next in line starts at once
        fleet.wait("the next", lambda: states(fleet) == ["asleep", "failed", "failed", "ready", "ready"], patience_s=15)


def test_one_teams_full_quota_leaves_the_other_alone(
    fleet: fleets.Fleet, cluster: clusters.Cluster, tmp_path: Path
) -> None:
    (tmp_path / "blue").mkdir()
    blue = fleets.Fleet(cluster, tmp_path / "blue")
    fleet.others = [{**blue.team, "name": "blue"}]
    fleet.quota(pods="1")
    fleet.index(fleets.entry(), fleets.entry("farm"))
    with fleet.controller():
        fleet.wait("a full quota", lambda: states(fleet) == ["failed", "ready"])
        blue.wait("the other team", lambda: states(blue) == ["ready", "ready"])
        [full] = [each for each in ("rover", "farm") if fleet.environment(each)["status"]["state"] == "failed"]
        assert fleet.condition("Accepted", full)["reason"] == "NoRoom"
        assert len(fleet.list("deployments")) == 1
    said = {each["reason"] for each in blue.list("events")} | {blue.condition("Accepted")["reason"]}
    assert "NoRoom" not in said
    assert (len(blue.list("deployments")), len(blue.addresses())) == (2, 2)
    cluster.kubectl("delete", "namespace", blue.namespace, "--wait=false")


def test_what_is_woken_leaves_room_for_changes(fleet: fleets.Fleet) -> None:
    fleet.quota(pods="2")
    fleet.options["rollout"] = {"surge_reserve": 1}
    fleet.team["warm"] = ["rover"]
    fleet.index(fleets.entry(), fleets.entry("farm"))
    with fleet.controller():
        fleet.wait_for("ready")
        fleet.wait_for("asleep", "farm")
        fleet.patch("farm", replicas=1)
        fleet.wait("no room", lambda: fleet.condition("Accepted", "farm").get("reason") == "NoRoom")
        assert "1 are kept for changes" in fleet.condition("Accepted", "farm")["message"]
        fleet.index(fleets.entry(generation=2), fleets.entry("farm"))
        fleet.wait("the change", lambda: fleet.environment()["status"]["bundleGeneration"] == 2)


@pytest.mark.parametrize("policy", ["wait", "recreate"])
def test_without_room_for_both_a_change_waits_or_begins_with_the_end_of_the_old(
    policy: str, fleet: fleets.Fleet, stub: stubs.Stub
) -> None:
    fleet.quota(pods="1")
    fleet.options["rollout"] = {"on_no_capacity": policy}
    fleet.index(fleets.entry())
    with fleet.controller():
        fleet.wait_for("ready")
        old = fleet.addresses()
        stub.open.update(old)
        fleet.index(fleets.entry(generation=2))
        fleet.wait("no room", lambda: fleet.condition("Accepted").get("reason") == "NoRoom")
        status = fleet.environment()["status"]
        assert (status["state"], status["bundleGeneration"]) == ("ready", 1)
        assert ("drainingSince" in status) == (policy == "recreate")
        stub.open.clear()
        if policy == "wait":
            fleet.quota(pods="2")
        fleet.wait("the change", lambda: fleet.environment()["status"]["bundleGeneration"] == 2)
        fleet.wait("one revision", lambda: len(fleet.list("deployments")) == 1)
    assert stub.drained == old


def states(fleet: fleets.Fleet) -> list[str]:
    """The states of all environments, sorted."""
    return sorted(each.get("status", {}).get("state", "") for each in fleet.list("environments"))
