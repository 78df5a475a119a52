"""The controller on a real API server: what it makes of environments, and what it says of them."""

import json
import urllib.request

from cluster import fleets, stubs

GOOD = stubs.TOOLS_HASH
OTHER = "sha256:" + "0" * 64


def test_an_entry_of_the_index_becomes_a_verified_environment(fleet: fleets.Fleet, stub: stubs.Stub) -> None:
    fleet.index(fleets.entry())
    with fleet.controller():
        fleet.wait_for("ready")
    found = fleet.environment()
    assert {each["type"]: each["status"] for each in found["status"]["conditions"]} == {
        "Accepted": "True",
        "Available": "True",
        "Verified": "True",
        "Ready": "True",
    }
    assert {each["observedGeneration"] for each in found["status"]["conditions"]} == {found["metadata"]["generation"]}
    assert (found["status"]["tools"], found["status"]["revision"], found["status"]["catalogGeneration"]) == (2, 1, 1)
    assert sum(stub.asked.values()) == 1


def test_a_scenario_that_nobody_asked_for_has_no_children(fleet: fleets.Fleet) -> None:
    fleet.team["warm"] = 0
    fleet.index(fleets.entry())
    with fleet.controller():
        fleet.wait_for("asleep")
        assert (fleet.list("deployments"), fleet.list("pods")) == ([], [])
        fleet.cluster.kubectl("scale", "environment/rover", "--replicas=1", f"--namespace={fleet.namespace}")
        fleet.wait_for("ready")


def test_a_new_generation_takes_over_and_the_old_one_goes_when_its_last_episode_is_closed(
    fleet: fleets.Fleet, stub: stubs.Stub
) -> None:
    fleet.index(fleets.entry())
    with fleet.controller():
        fleet.wait_for("ready")
        old = fleet.addresses()
        before = fleet.environment()["status"]["serving"]
        stub.open.update(old)
        fleet.index(fleets.entry(generation=2))
        fleet.wait("the new revision", lambda: fleet.environment()["status"]["serving"] != before, patience_s=60)
        assert fleet.environment()["status"]["bundleGeneration"] == 2
        assert len(fleet.list("deployments")) == 2
        assert old < fleet.addresses()
        stub.open.clear()
        fleet.wait("the end of the old revision", lambda: len(fleet.list("deployments")) == 1)
    assert stub.drained == old
    assert fleets.revisions(fleet.list("deployments")) == {fleet.environment()["status"]["serving"]}


def test_a_generation_with_other_tools_than_it_says_takes_no_episodes(fleet: fleets.Fleet) -> None:
    fleet.index(fleets.entry())
    with fleet.controller():
        fleet.wait_for("ready")
        serving = fleet.environment()["status"]["serving"]
        fleet.index(fleets.entry(generation=2, tools_hash=OTHER))
        fleet.wait("the fault", lambda: fleet.condition("Verified").get("reason") == "WrongTools", patience_s=60)
        found = fleet.environment()
        assert (found["status"]["serving"], found["status"]["bundleGeneration"]) == (serving, 1)
        assert (found["status"]["state"], fleet.condition("Ready")["reason"]) == ("ready", "ServingOlder")
        assert OTHER in fleet.condition("Verified")["message"]
        assert "WrongTools" in {each["reason"] for each in fleet.list("events")}


def test_a_rollback_is_a_new_revision_with_the_old_image(fleet: fleets.Fleet) -> None:
    fleet.index(fleets.entry())
    with fleet.controller():
        fleet.wait_for("ready")
        first = fleet.environment()
        fleet.patch("rover", image=fleets.entry(generation=2)["image"], bundleGeneration=2)
        fleet.wait("the second", lambda: fleet.environment()["status"]["bundleGeneration"] == 2)
        fleet.patch("rover", image=first["spec"]["image"], bundleGeneration=1)
        fleet.wait("the first again", lambda: fleet.environment()["status"]["bundleGeneration"] == 1)
    found = fleet.environment()["status"]
    assert (found["serving"], found["revision"]) == (first["status"]["serving"], 3)


def test_a_restarted_controller_writes_nothing_and_asks_nobody(fleet: fleets.Fleet, stub: stubs.Stub) -> None:
    fleet.index(fleets.entry(), fleets.entry("farm"))
    with fleet.controller():
        fleet.wait_for("ready")
        fleet.wait_for("ready", "farm")
    before = {kind: _versions(fleet, kind) for kind in ("environments", "deployments", "pods", "secrets")}
    stub.asked.clear()
    fleet.index(fleets.entry(), fleets.entry("farm"), fleets.entry("zebra"))
    with fleet.controller():
        fleet.wait_for("ready", "zebra")
    after = {kind: _versions(fleet, kind) for kind in before}
    assert {kind: before[kind].items() <= after[kind].items() for kind in before} == dict.fromkeys(before, True)
    assert sum(stub.asked.values()) == 1


def test_a_deployment_that_was_edited_by_hand_is_put_right(fleet: fleets.Fleet) -> None:
    fleet.index(fleets.entry())
    with fleet.controller():
        fleet.wait_for("ready")
        [before] = fleet.list("deployments")
        name = before["metadata"]["name"]
        edit = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "evil.example/x"}]
        arguments = ("patch", "deployment", name, "--type=json", f"--patch={json.dumps(edit)}")
        fleet.cluster.kubectl(*arguments, f"--namespace={fleet.namespace}")
        fleet.wait("another version", lambda: _generation(fleet, name) == before["metadata"]["generation"] + 2)
        fleet.wait_for("ready")
    [after] = fleet.list("deployments")
    assert after["spec"] == before["spec"]
    assert fleet.environment()["status"]["revision"] == 1


def test_a_pod_that_was_deleted_by_hand_is_verified_again(fleet: fleets.Fleet, stub: stubs.Stub) -> None:
    fleet.index(fleets.entry())
    with fleet.controller():
        fleet.wait_for("ready")
        [pod] = fleet.list("pods")
        fleet.cluster.kubectl(
            "delete", "pod", pod["metadata"]["name"], f"--namespace={fleet.namespace}", "--wait=false"
        )
        fleet.wait("another pod", lambda: {each["pod"] for each in _lists(fleet)} - {pod["metadata"]["uid"]} != set())
        fleet.wait_for("ready")
    assert sum(stub.asked.values()) == 2


def test_an_idle_environment_is_drained_and_falls_asleep(fleet: fleets.Fleet, stub: stubs.Stub) -> None:
    fleet.team["warm"] = 0
    fleet.options["idle_timeout"] = "2s"
    fleet.index(fleets.entry())
    with fleet.controller():
        fleet.wait_for("asleep")
        fleet.patch("rover", replicas=1)
        fleet.wait_for("ready")
        pods = fleet.addresses()
        fleet.wait_for("asleep")
        fleet.wait("no pods", lambda: fleet.addresses() == set())
    assert stub.drained == pods
    assert fleet.environment()["spec"]["replicas"] == 0


def test_an_environment_with_an_open_episode_stays_awake(fleet: fleets.Fleet, stub: stubs.Stub) -> None:
    fleet.team["warm"] = 0
    fleet.options["idle_timeout"] = "1s"
    fleet.index(fleets.entry(), fleets.entry("farm"))
    with fleet.controller():
        for name in ("rover", "farm"):
            fleet.wait_for("asleep", name)
            fleet.patch(name, replicas=1)
            fleet.wait_for("ready", name)
            stub.open.update(fleet.addresses() if name == "rover" else ())
        fleet.wait_for("asleep", "farm")  # as idle as the other, but for the episode
    assert fleet.environment()["status"]["state"] == "ready"


def test_a_newer_generation_of_an_operator_is_not_moved_back_by_the_index(fleet: fleets.Fleet) -> None:
    fleet.index(fleets.entry())
    with fleet.controller():
        fleet.wait_for("ready")
        fleet.patch("rover", image=fleets.entry(generation=5)["image"], bundleGeneration=5)
        fleet.index(fleets.entry(generation=2), fleets.entry("farm"))
        fleet.wait_for("ready", "farm")
    assert fleet.environment()["spec"]["bundleGeneration"] == 5


def test_a_controller_answers_probes_and_tells_what_it_counts(fleet: fleets.Fleet) -> None:
    fleet.index(fleets.entry(), fleets.entry("farm"))
    fleet.team["warm"] = ["rover"]
    with fleet.controller(port=8090) as process:
        fleet.wait_for("ready")
        fleet.wait_for("asleep", "farm")
        assert {path: _read(path) for path in ("/livez", "/readyz")} == {"/livez": "ok", "/readyz": "ok"}
        told = _read("/metrics")
        for state in ("ready", "asleep"):
            assert f'awm_controller_environments{{namespace="{fleet.namespace}",state="{state}"}} 1.0' in told
        assert 'awm_controller_handshakes_total{result="ok"} 1.0' in told
        process.terminate()
        assert process.wait(20) == 0


def test_a_regeneration_is_few_writes(fleet: fleets.Fleet) -> None:
    fleet.index(fleets.entry())
    with fleet.controller(port=8090):
        fleet.wait_for("ready")
        before = _writes()
        fleet.patch("rover", image=fleets.entry(generation=2)["image"], bundleGeneration=2)
        fleet.wait("the end of the old revision", lambda: fleet.environment()["status"].get("revision") == 2)
        fleet.wait("the last word", lambda: "drainingSince" not in fleet.environment()["status"])
        fleet.wait("one revision", lambda: len(fleet.list("deployments")) == 1)
        assert _writes() - before <= 6


def _writes() -> float:
    [line] = [each for each in _read("/metrics").splitlines() if each.startswith("awm_controller_writes ")]
    return float(line.split()[1])


def _read(path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:8090{path}", timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def _versions(fleet: fleets.Fleet, kind: str) -> dict[str, str]:
    return {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in fleet.list(kind)}


def _generation(fleet: fleets.Fleet, deployment: str) -> int:
    found: int = fleet.cluster.get("deployment", deployment, f"--namespace={fleet.namespace}")["metadata"]["generation"]
    return found


def _lists(fleet: fleets.Fleet) -> list[dict[str, str]]:
    found: list[dict[str, str]] = fleet.environment()["status"].get("toolLists", [])
    return found
