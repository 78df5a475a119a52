"""`awm fleet regenerate`: from a bundle, or from the generator, to the revision that serves."""

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import base_images
import doubles
import generating
import image_registries
import pytest
import yaml

from awm_fleet import examples
from awm_generator.images import layouts, registries
from awm_runtime.bundle import digest, reading
from cluster import fleets, stubs


class Operator:
    """Someone with a bundle, a base image and a registry, who calls `awm fleet regenerate`."""

    def __init__(self, fleet: fleets.Fleet, host: str, folder: Path) -> None:
        self.fleet = fleet
        self.host = host
        self.folder = folder
        self.kubeconfig = fleet.cluster.kubeconfig
        layouts.Layout(folder / "base").add(base_images.make(), "awm-runtime:0.1.0")

    def bundle(self, generation: int, name: str = "library") -> Path:
        """A bundle of an example at a generation."""
        folder = self.folder / f"{name}-{generation}"
        shutil.copytree(examples.path(name), folder, ignore=shutil.ignore_patterns("report.json"))
        scenario = folder / "scenario.json"
        scenario.write_text(json.dumps(json.loads(scenario.read_text()) | {"generation": generation}))
        return folder

    def regenerate(self, *arguments: str | Path, code: int = 0, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Runs the command, and sees how it exits."""
        command = [sys.executable, "-m", "awm_fleet", "fleet", "regenerate", *map(str, arguments)]
        command += [
            "--base",
            f"oci:{self.folder}/base",
            "--repository",
            f"registry:{self.host}/awm",
            "--gate_level=static",
        ]
        command += ["--namespace", self.fleet.namespace, "--kubeconfig", str(self.kubeconfig)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=200, env=generating.variables(None, **variables)
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def stored(self, name: str, generation: int) -> str | None:
        """The digest of a generation's image in the registry."""
        with contextlib.closing(registries.Registry(self.host)) as registry:
            return registry.digest(f"awm/{name}", str(generation))


@pytest.fixture
def operator(fleet: fleets.Fleet, tmp_path: Path, missing: Callable[[str, str], NoReturn]) -> Iterator[Operator]:
    """An operator of a fleet in which generation 1 of the library serves."""
    program = image_registries.command()
    if program is None:
        missing("docker-registry", "no docker-registry on the PATH")
    (tmp_path / "registry").mkdir()
    with image_registries.running(program, tmp_path / "registry") as host:
        yield Operator(fleet, host, tmp_path)


def test_a_bundle_becomes_the_revision_that_serves(operator: Operator, stub: stubs.Stub) -> None:
    fleet = operator.fleet
    fleet.index(fleets.entry("library"))
    bundle = operator.bundle(2)
    with fleet.controller():
        fleet.wait_for("ready", "library")
        stub.everywhere = reading.read(bundle).tools
        told = json.loads(operator.regenerate("library", "--bundle", bundle, "--json").stdout)
        again = json.loads(operator.regenerate("library", "--bundle", bundle, "--json").stdout)
    assert states(told) == {"look": "done", "gate": "done", "push": "done", "patch": "done", "rollout": "done"}
    assert states(again) == states(told) | {"push": "unchanged", "patch": "unchanged"}
    found = fleet.environment("library")
    spec = {key: found["spec"][key] for key in ("bundleGeneration", "image", "bundleDigest", "toolsHash")}
    assert spec == {
        "bundleGeneration": 2,
        "image": f"{operator.host}/awm/library@{operator.stored('library', 2)}",
        "bundleDigest": digest.digest(reading.read(bundle)),
        "toolsHash": digest.tools_hash(reading.read(bundle).tools),
    }
    assert {told["image"], told["bundle"]} == {spec["image"], spec["bundleDigest"]}
    assert (found["status"]["bundleGeneration"], found["status"]["revision"]) == (2, 2)
    assert [each["bundleGeneration"] for each in found["status"]["history"]] == [2, 1]


def test_a_push_that_succeeded_and_a_patch_that_did_not_is_gone_on_with(operator: Operator, stub: stubs.Stub) -> None:
    fleet = operator.fleet
    fleet.index(fleets.entry("library"))
    bundle = operator.bundle(2)
    with fleet.controller():
        fleet.wait_for("ready", "library")
        stub.everywhere = reading.read(bundle).tools
        forbid(fleet)
        refused = operator.regenerate("library", "--bundle", bundle, code=1)
        assert "not today" in refused.stderr
        assert operator.stored("library", 2)
        assert fleet.environment("library")["spec"]["bundleGeneration"] == 1
        permit(fleet)
        told = json.loads(operator.regenerate("library", "--bundle", bundle, "--json").stdout)
    assert (states(told)["push"], states(told)["patch"]) == ("unchanged", "done")
    assert fleet.environment("library")["status"]["bundleGeneration"] == 2


def test_a_generation_that_is_not_verified_leaves_the_old_one_serving(operator: Operator) -> None:
    fleet = operator.fleet
    fleet.index(fleets.entry("library"))
    with fleet.controller():
        fleet.wait_for("ready", "library")  # its successor lists the tools of the stub, not its own
        failed = operator.regenerate("library", "--bundle", operator.bundle(2), code=1)
        assert "lists 2 tools with the hash" in failed.stderr
        status = fleet.environment("library")["status"]
        assert (status["state"], status["bundleGeneration"]) == ("ready", 1)


def test_what_cannot_be_regenerated_is_said_before_anything_is_pushed(operator: Operator) -> None:
    fleet = operator.fleet
    fleet.team["warm"] = 0
    fleet.index(fleets.entry("library", generation=3))
    with fleet.controller():
        fleet.wait_for("asleep", "library")
    for arguments, said in (
        (("nowhere", "--bundle", operator.bundle(4)), "has no environment of 'nowhere'"),
        (("library", "--bundle", operator.bundle(4, "clinic")), "a bundle of 'clinic', not of 'library'"),
        (("library", "--bundle", operator.bundle(3)), "at least 4"),
        (
            ("library", "--output_dir", operator.folder / "none"),
            "is at generation 1, and generation 3",
        ),
    ):
        assert said in operator.regenerate(*arguments, code=1).stderr
    broken = operator.bundle(5)
    (broken / "environment.py").write_text("import os\nraise SystemExit(1)\n")
    assert "quarantined" in operator.regenerate("library", "--bundle", broken, code=1).stderr
    assert [operator.stored("library", each) for each in (3, 4, 5)] == [None] * 3


def test_who_may_only_look_is_told_so_first(operator: Operator) -> None:
    fleet = operator.fleet
    fleet.team["warm"] = 0
    fleet.index(fleets.entry("library"))
    with fleet.controller():
        fleet.wait_for("asleep", "library")
    operator.kubeconfig = viewer(fleet, operator.folder)
    refused = operator.regenerate("library", "--bundle", operator.bundle(2), code=1)
    assert "the role awm-edit" in refused.stderr
    assert operator.stored("library", 2) is None


def test_a_sleeping_scenario_is_moved_without_waking_it(operator: Operator) -> None:
    fleet = operator.fleet
    fleet.team["warm"] = 0
    fleet.index(fleets.entry("library"))
    with fleet.controller():
        fleet.wait_for("asleep", "library")
        said = operator.regenerate("library", "--bundle", operator.bundle(2)).stdout
        assert "asleep; generation 2 is what wakes" in said
        assert fleet.list("deployments") == []


def test_the_generator_makes_the_next_generation_once(
    operator: Operator, stub: stubs.Stub, sample: Path, tmp_path: Path
) -> None:
    fleet = operator.fleet
    fleet.team["warm"] = 0
    fleet.index(fleets.entry("rover"))
    outputs = tmp_path / "outputs"
    shutil.copytree(sample, outputs)
    for path in (outputs, *outputs.rglob("*")):
        path.chmod(0o755)
    words = ("rover", "--output_dir", outputs, "--from", "env", "--gate_level", "static", "--json")
    with fleet.controller(), doubles.running(sample) as double:
        fleet.wait_for("asleep")
        forbid(fleet)
        operator.regenerate(*words, code=1, **double.environment)
        asked = double.stats()["jobs"]
        permit(fleet)
        told = json.loads(operator.regenerate(*words, **double.environment).stdout)
        assert double.stats()["jobs"] == asked
    assert states(told) == {
        "look": "done",
        "generate": "unchanged",
        "gate": "done",
        "push": "unchanged",
        "patch": "done",
        "rollout": "done",
    }
    assert fleet.environment()["spec"]["bundleDigest"] == digest.digest(reading.read(outputs / "bundles" / "rover"))


def states(told: Any) -> dict[str, str]:
    """What became of each step."""
    return {each["step"]: each["state"] for each in told["steps"]}


def forbid(fleet: fleets.Fleet) -> None:
    """Has the cluster refuse generation 2, whoever wants it."""
    api = "admissionregistration.k8s.io/v1"
    rule = {"apiGroups": ["awm.dev"], "apiVersions": ["*"], "operations": ["UPDATE"], "resources": ["environments"]}
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": fleet.namespace}}}
    for kind, spec in (
        (
            "ValidatingAdmissionPolicy",
            {
                "matchConstraints": {"resourceRules": [rule]},
                "validations": [{"expression": "object.spec.bundleGeneration != 2", "message": "not today"}],
            },
        ),
        (
            "ValidatingAdmissionPolicyBinding",
            {"policyName": fleet.namespace, "validationActions": ["Deny"], "matchResources": here},
        ),
    ):
        fleet.cluster.apply({"apiVersion": api, "kind": kind, "metadata": {"name": fleet.namespace}, "spec": spec})
    fleet.wait("the ban", lambda: not is_permitted(fleet))


def permit(fleet: fleets.Fleet) -> None:
    """Takes that back."""
    for kind in ("validatingadmissionpolicybinding", "validatingadmissionpolicy"):
        fleet.cluster.kubectl("delete", kind, fleet.namespace)
    fleet.wait("the end of the ban", lambda: is_permitted(fleet))


def is_permitted(fleet: fleets.Fleet) -> bool:
    """Whether the cluster would take generation 2."""
    [name] = [each["metadata"]["name"] for each in fleet.list("environments")]
    change = json.dumps({"spec": {"bundleGeneration": 2}})
    try:
        arguments = ("patch", "environment", name, "--type=merge", f"--patch={change}", "--dry-run=server")
        fleet.cluster.kubectl(*arguments, f"--namespace={fleet.namespace}")
    except subprocess.CalledProcessError:
        return False
    return True


def viewer(fleet: fleets.Fleet, folder: Path) -> Path:
    """The kubeconfig of somebody who may look at environments, and no more."""
    kubectl, here = fleet.cluster.kubectl, f"--namespace={fleet.namespace}"
    kubectl("create", "serviceaccount", "viewer", here)
    kubectl("create", "role", "looks", "--verb=get,list,watch", "--resource=environments.awm.dev", here)
    kubectl("create", "rolebinding", "looks", "--role=looks", f"--serviceaccount={fleet.namespace}:viewer", here)
    document = yaml.safe_load(fleet.cluster.kubeconfig.read_text())
    document["users"][0]["user"] = {"token": kubectl("create", "token", "viewer", here).strip()}
    path = folder / "viewer.kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return path
