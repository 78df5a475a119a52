"""Environments on a real node: pods are hardened, tools are asked for, and what goes wrong is said."""

import json

from cluster.node import worlds
from cluster.testbed import nodes

INSIDE = """
import json, os, pathlib
status = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
def may_write(path):
    try:
        pathlib.Path(path, "probe").write_text("x")
    except OSError as exc:
        return type(exc).__name__
    return "yes"
print(json.dumps({
    "user": os.getuid(),
    "capabilities": int(status["CapBnd"], 16),
    "seccomp": status["Seccomp"].strip(),
    "no_new_privileges": status["NoNewPrivs"].strip(),
    "root": may_write("/"), "bundle": may_write("/awm/bundle"), "state": may_write("/state"),
    "token": os.path.exists("/var/run/secrets/kubernetes.io/serviceaccount/token"),
}))
"""


def test_a_scenario_wakes_verified_and_hardened_and_sleeps_without_a_trace(world: worlds.World) -> None:
    world.wait_for("library", "asleep")
    assert world.pods("library") == []
    world.scale("library", 1)
    world.wait_for("library", "ready")
    assert world.condition("library", "Verified")[:2] == ("True", "ToolsMatch")
    assert world.environment("library")["status"]["tools"] == 24
    [pod] = world.pods("library")
    seen = world.cluster.kubectl(
        "exec", pod["metadata"]["name"], f"--namespace={world.team}", "--", "python3", "-c", INSIDE
    )
    assert json.loads(seen) == {
        "user": 10001,
        "capabilities": 0,
        "seccomp": "2",
        "no_new_privileges": "1",
        "root": "OSError",
        "bundle": "OSError",
        "state": "yes",
        "token": False,
    }
    world.scale("library", 0)
    world.wait_for("library", "asleep")
    left = "deployments,replicasets,pods"
    world.wait("the end", lambda: not world.get(left, world.team, "--selector=awm.dev/environment=library"))


def test_an_image_that_is_not_there_is_said_and_starts_when_another_is_named(world: worlds.World) -> None:
    world.scale("absent", 1)
    world.wait("the fault", lambda: world.condition("absent", "Available")[1] in ("ErrImagePull", "ImagePullBackOff"))
    assert world.states(0)["absent"] == "failed"
    assert worlds.ABSENT in world.condition("absent", "Available")[2]
    assert world.condition("absent", "Ready")[:2] == ("False", "NotServing")


def test_an_image_of_another_scenario_does_not_start_and_says_so(world: worlds.World) -> None:
    world.scale("stranger", 1)
    wanted = world.rows["stranger"]["bundle"]
    world.wait("the fault", lambda: f"and {wanted} is wanted" in world.condition("stranger", "Available")[2])
    assert world.states(0)["stranger"] == "failed"
    assert world.condition("stranger", "Verified")[0] == "Unknown"


def test_a_pod_that_is_deleted_by_hand_comes_back_verified(world: worlds.World) -> None:
    world.scale("deleted", 1)
    world.wait_for("deleted", "ready")
    [before] = world.pods("deleted")
    world.cluster.kubectl("delete", "pod", before["metadata"]["name"], f"--namespace={world.team}", "--wait=false")
    world.wait(
        "another pod",
        lambda: [each["metadata"]["uid"] for each in world.pods("deleted")] != [before["metadata"]["uid"]],
    )
    world.wait_for("deleted", "ready")
    [after] = world.pods("deleted")
    assert world.condition("deleted", "Verified")[0] == "True"
    assert after["metadata"]["uid"] != before["metadata"]["uid"]


def test_an_environment_of_a_lost_node_is_not_called_ready_until_the_node_is_back(world: worlds.World) -> None:
    world.scale("distant", 1)
    world.wait_for("distant", "ready")
    nodes.stop_kubelet(world.cluster)
    try:
        world.wait("the loss", lambda: world.condition("distant", "Ready")[0] == "False")
        assert world.condition("distant", "Available")[0] == "False"
    finally:
        nodes.start_kubelet(world.cluster)
    world.wait_for("distant", "ready")
