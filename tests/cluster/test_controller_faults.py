"""What becomes of a fleet when something goes wrong, and what is said about it."""

import json
import signal
import subprocess
from pathlib import Path

import pytest

from awm_fleet.backends.kubernetes import names
from cluster import fleets, stubs
from cluster.testbed import clusters

HELD = {"pods": {"node_selector": {"type": "nowhere"}}}


def test_the_api_server_may_go_and_come_back(fleet: fleets.Fleet) -> None:
    fleet.index(fleets.entry())
    with fleet.controller() as process:
        fleet.wait_for("ready")
        fleet.cluster.stop("kube-apiserver")
        fleet.cluster.restart_api_server()
        fleet.cluster.kubectl("scale", "environment/rover", "--replicas=2", f"--namespace={fleet.namespace}")
        fleet.wait("two pods", lambda: fleet.condition("Verified").get("message", "").startswith("2 pods"))
        assert process.poll() is None


def test_a_controller_that_was_killed_in_a_rollout_is_gone_on_with_by_the_next(
    fleet: fleets.Fleet, stub: stubs.Stub
) -> None:
    fleet.index(fleets.entry())
    with fleet.controller() as process:
        fleet.wait_for("ready")
        old = fleet.addresses()
        stub.open.update(old)
        fleet.index(fleets.entry(generation=2))
        fleet.wait("both revisions", lambda: len(fleet.list("deployments")) == 2)
        process.send_signal(signal.SIGKILL)
        process.wait()
    stub.open.clear()
    with fleet.controller():  # waits until the dead one's lease has run out
        fleet.wait("the end of the old revision", lambda: len(fleet.list("deployments")) == 1, patience_s=60)
        fleet.wait_for("ready")
    assert fleet.environment()["status"]["bundleGeneration"] == 2
    assert stub.drained == old


def test_of_two_controllers_one_works_and_the_other_takes_over(fleet: fleets.Fleet, stub: stubs.Stub) -> None:
    fleet.index(fleets.entry())
    with fleet.controller() as first:
        fleet.wait_for("ready")
        with fleet.controller():
            assert _holder(fleet)
            leader = _holder(fleet)
            fleet.index(fleets.entry(), fleets.entry("farm"))
            fleet.wait_for("ready", "farm")
            assert _holder(fleet) == leader
            first.terminate()
            assert first.wait(20) == 0
            fleet.index(fleets.entry(), fleets.entry("farm"), fleets.entry("zebra"))
            fleet.wait_for("ready", "zebra")
            assert _holder(fleet) not in ("", leader)
    assert max(stub.asked.values()) == 1


def test_an_instance_that_does_not_answer_is_asked_again(fleet: fleets.Fleet, stub: stubs.Stub) -> None:
    fleet.team["warm"] = 0
    fleet.index(fleets.entry(), fleets.entry("farm"))
    with fleet.controller():
        fleet.wait_for("asleep")
        stub.silent.update(f"10.245.0.{number}" for number in range(256))
        fleet.patch("rover", replicas=1)
        fleet.wait("the fault", lambda: fleet.condition("Verified").get("reason") == "NoAnswer")
        assert fleet.condition("Ready")["status"] == "False"
        stub.silent.clear()
        fleet.wait_for("ready")


def test_a_pod_that_finds_no_node_is_said_so_and_the_old_revision_serves_on(fleet: fleets.Fleet) -> None:
    fleet.index(fleets.entry())
    with fleet.controller():
        fleet.wait_for("ready")
        serving = fleet.environment()["status"]["serving"]
    fleet.options.update(HELD)
    with fleet.controller():
        fleet.wait("the trouble", lambda: fleet.condition("Available").get("reason") == "Unschedulable")
        assert (fleet.condition("Ready")["reason"], fleet.environment()["status"]["serving"]) == (
            "ServingOlder",
            serving,
        )
        assert len(fleet.list("deployments")) == 2


def test_one_revision_at_a_time_starts_beside_another(fleet: fleets.Fleet) -> None:
    fleet.options["rollout"] = {"max_unavailable": 1}
    scenarios = ("rover", "farm", "zebra")
    fleet.index(*map(fleets.entry, scenarios))
    with fleet.controller():
        for name in scenarios:
            fleet.wait_for("ready", name)
    fleet.options.update(HELD)
    with fleet.controller():
        fleet.wait("one rollout", lambda: len(fleet.list("deployments")) == 4)
        fleet.wait("the others wait", lambda: _reasons(fleet, scenarios) == ["Accepted", "Waiting", "Waiting"])
        assert len(fleet.list("deployments")) == 4
    fleet.options["pods"] = dict(fleets.SIMULATED, memory_mib=200)
    with fleet.controller():
        fleet.wait("all on the newest", lambda: _memories(fleet) == {"328Mi"}, patience_s=90)


def test_a_namespace_that_is_deleted_takes_all_with_it_and_other_teams_are_served_on(
    fleet: fleets.Fleet, cluster: clusters.Cluster, tmp_path: Path
) -> None:
    (tmp_path / "blue").mkdir()
    blue = fleets.Fleet(cluster, tmp_path / "blue")
    blue.others = [{**fleet.team, "name": "doomed"}]
    blue.index(fleets.entry())
    with blue.controller() as process:
        fleet.wait_for("ready")
        cluster.kubectl("delete", "namespace", fleet.namespace, "--wait=true", "--timeout=60s")
        blue.index(fleets.entry(), fleets.entry("farm"))
        blue.wait_for("ready", "farm")
        assert process.poll() is None
    cluster.kubectl("delete", "namespace", blue.namespace, "--wait=false")


def test_a_pod_of_a_lost_node_is_replaced_on_another_and_verified(fleet: fleets.Fleet, stub: stubs.Stub) -> None:
    fleet.index(fleets.entry())
    taint = "node.kubernetes.io/out-of-service=lost:NoExecute"
    with fleet.controller():
        fleet.wait_for("ready")
        [lost] = fleet.list("pods")
        fleet.cluster.kubectl("taint", "node", lost["spec"]["nodeName"], taint)
        try:
            fleet.wait("another pod", lambda: _pods(fleet) not in ([], [lost["metadata"]["name"]]))
            fleet.wait("its handshake", lambda: sum(stub.asked.values()) == 2)
            fleet.wait_for("ready")
            [now] = [each for each in fleet.list("pods") if "deletionTimestamp" not in each["metadata"]]
        finally:
            fleet.cluster.kubectl("taint", "node", lost["spec"]["nodeName"], f"{taint}-")
    assert now["spec"]["nodeName"] != lost["spec"]["nodeName"]


def test_a_pod_that_was_evicted_is_replaced_and_verified(fleet: fleets.Fleet, stub: stubs.Stub) -> None:
    fleet.index(fleets.entry())
    with fleet.controller():
        fleet.wait_for("ready")
        [name] = _pods(fleet)
        metadata = {"name": name, "namespace": fleet.namespace}
        eviction = json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata})
        path = f"/api/v1/namespaces/{fleet.namespace}/pods/{name}/eviction"
        fleet.cluster.kubectl("create", f"--raw={path}", "--filename=-", input=eviction)
        fleet.wait("the second handshake", lambda: sum(stub.asked.values()) == 2)
        fleet.wait_for("ready")
        assert _pods(fleet) != [name]


def test_a_pod_that_takes_more_memory_than_it_has_is_said_to_do_so(fleet: fleets.Fleet) -> None:
    fleet.index(fleets.entry())
    with fleet.controller():
        fleet.wait_for("ready")
        [name] = _pods(fleet)
        killed = {
            "name": "environment",
            "image": "",
            "imageID": "",
            "ready": False,
            "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}},
            "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
        }
        conditions = [{"type": "Ready", "status": "False", "reason": "ContainersNotReady"}]
        change = json.dumps({"status": {"conditions": conditions, "containerStatuses": [killed]}})
        arguments = ("patch", "pod", name, "--subresource=status", "--type=strategic", f"--patch={change}")
        fleet.cluster.kubectl(*arguments, f"--namespace={fleet.namespace}")
        fleet.wait_for("failed")
        available = fleet.condition("Available")
    assert available["reason"] == "CrashLoopBackOff"
    assert "it ended with 137 (OOMKilled)" in available["message"]


def test_a_name_of_two_hundred_characters_is_served(fleet: fleets.Fleet) -> None:
    name = "n" * 200
    fleet.index(fleets.entry(name, image=fleets.entry()["image"]))
    with fleet.controller():
        fleet.wait_for("ready", names.environment(name))
        assert fleet.environment(names.environment(name))["spec"]["scenario"] == name


def test_a_row_that_is_in_the_index_twice_is_served_once_and_told(
    fleet: fleets.Fleet, capfd: pytest.CaptureFixture[str]
) -> None:
    fleet.index(fleets.entry(), fleets.entry(), fleets.entry("farm", image="registry.example/farm:latest"))
    with fleet.controller():
        fleet.wait_for("ready")
        assert len(fleet.list("environments")) == 1
    told = capfd.readouterr().out
    assert "rover is not served: generation 1 is in the index twice" in told
    assert "farm is not served" in told


def test_an_environment_that_the_schema_forbids_is_refused_by_the_api_server(fleet: fleets.Fleet) -> None:
    fleet.index(fleets.entry())
    with fleet.controller():
        fleet.wait_for("ready")
    for change, said in (
        ({"image": "registry.example/rover:latest"}, "spec.image"),
        ({"scenario": "farm"}, "scenario never changes"),
        ({"replicas": -1}, "spec.replicas"),
        ({"idleTimeout": "soon"}, "spec.idleTimeout"),
    ):
        with pytest.raises(subprocess.CalledProcessError) as caught:
            fleet.patch("rover", **change)
        assert said in caught.value.stderr


def _holder(fleet: fleets.Fleet) -> str:
    holder: str = fleet.list("leases")[0]["spec"].get("holderIdentity", "")
    return holder


def _pods(fleet: fleets.Fleet) -> list[str]:
    """The names of the pods that are not ending."""
    alive = [each["metadata"] for each in fleet.list("pods") if "deletionTimestamp" not in each["metadata"]]
    return [each["name"] for each in alive]


def _reasons(fleet: fleets.Fleet, scenarios: tuple[str, ...]) -> list[str]:
    return sorted(fleet.condition("Accepted", name).get("reason", "") for name in scenarios)


def _memories(fleet: fleets.Fleet) -> set[str]:
    """What the pods of all Deployments request."""
    deployments = fleet.list("deployments")
    containers = [each["spec"]["template"]["spec"]["containers"][0] for each in deployments]
    return {each["resources"]["requests"]["memory"] for each in containers}
