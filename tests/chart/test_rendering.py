"""What the chart renders from each values file, and what it refuses."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import charts
import pytest
from cluster.testbed import tools

from awm_fleet.backends.kubernetes import api, names, settings

DIGEST = "1" * 64
PODS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "Pod")


def entry(name: str, **changed: Any) -> dict[str, Any]:
    digest = f"sha256:{DIGEST}"
    image = f"registry.example/awm/{name}@{digest}"
    return {"name": name, "generation": 1, "image": image, "bundle": digest, "tools_hash": digest, **changed}


def index(tmp_path: Path, *entries: dict[str, Any]) -> str:
    path = tmp_path / "index.json"
    path.write_text(json.dumps({"format": "awm-catalogue/1", "entries": entries}))
    return f"--set-file=catalog.index={path}"


def values(tmp_path: Path, **changed: Any) -> str:
    path = tmp_path / "values.yaml"
    path.write_text(json.dumps({"image": {"reference": charts.IMAGE}, **changed}))
    return f"--values={path}"


@pytest.mark.parametrize("file", charts.VALUES, ids=lambda path: path.stem)
def test_every_values_file_passes_lint(helm: Path, file: Path) -> None:
    charts.run(helm, "lint", "--strict", charts.CHART, f"--values={file}")


@pytest.mark.parametrize("file", charts.VALUES, ids=lambda path: path.stem)
def test_every_pod_is_hardened(helm: Path, file: Path) -> None:
    pods = [each["spec"]["template"]["spec"] for kind in PODS for each in charts.named(_rendered(helm, file), kind)]
    assert pods
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}
        for container in pod["containers"]:
            allowed = container["securityContext"]
            assert allowed == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "@sha256:" in container["image"]
            assert container["resources"]["limits"]["memory"]
            assert {"livenessProbe", "readinessProbe", "startupProbe"} <= container.keys()


@pytest.mark.parametrize("file", charts.VALUES, ids=lambda path: path.stem)
def test_nothing_is_granted_for_the_whole_cluster(helm: Path, file: Path) -> None:
    kinds = {each["kind"] for each in _rendered(helm, file)}
    assert not kinds & {"ClusterRole", "ClusterRoleBinding"}


@pytest.mark.parametrize("file", charts.VALUES, ids=lambda path: path.stem)
def test_the_controller_reads_the_configuration_that_is_rendered(helm: Path, file: Path, tmp_path: Path) -> None:
    [made] = charts.named(_rendered(helm, file), "ConfigMap", "fleet-awm-fleet-controller") or charts.named(
        _rendered(helm, file), "ConfigMap", "fleet-controller"
    )
    path = tmp_path / "config.json"
    path.write_text(made["data"]["config.json"])
    assert settings.read(path).teams


def test_a_default_is_the_same_in_the_values_and_in_the_controller(helm: Path, tmp_path: Path) -> None:
    made = charts.rendered(helm, values(tmp_path))
    [config] = charts.named(made, "ConfigMap", "fleet-awm-fleet-controller")
    path = tmp_path / "config.json"
    path.write_text(config["data"]["config.json"])
    read = settings.read(path)
    assert (read.pods, read.rollout, read.idle_timeout) == (
        settings.Pods(),
        settings.Rollout(),
        settings.Config(teams=()).idle_timeout,
    )


def test_the_network_policies_select_what_the_controller_makes(helm: Path, tmp_path: Path) -> None:
    made = charts.rendered(helm, values(tmp_path))
    [policy] = charts.named(made, "NetworkPolicy", "awm-environments")
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= names.labels("rover").items()
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert policy["spec"]["egress"] == []
    [rule] = policy["spec"]["ingress"]
    [peer] = rule["from"]
    [controller] = charts.named(made, "Deployment")
    assert peer["podSelector"]["matchLabels"] == controller["spec"]["template"]["metadata"]["labels"]
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "awm"}


def test_a_team_has_its_own_namespace_with_pod_security_and_an_anchor(helm: Path) -> None:
    made = _rendered(helm, charts.CHART / "ci" / "everything.yaml")
    namespaces = {each["metadata"]["name"]: each["metadata"] for each in charts.named(made, "Namespace")}
    assert namespaces.keys() == {"team-red", "team-green"}  # blue's is there already
    for each in namespaces.values():
        assert each["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
        assert each["annotations"]["helm.sh/resource-policy"] == "keep"
    anchors = charts.named(made, "ConfigMap", names.TEAM_ANCHOR)
    assert {each["metadata"]["namespace"] for each in anchors} == {"team-red", "team-blue", "team-green"}


def test_the_definition_is_the_controllers_and_is_kept(helm: Path, tmp_path: Path) -> None:
    [definition] = charts.named(charts.rendered(helm, values(tmp_path)), "CustomResourceDefinition")
    assert definition["spec"]["group"] == names.GROUP
    assert definition["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert (
        charts.named(charts.rendered(helm, values(tmp_path, crds={"install": False})), "CustomResourceDefinition") == []
    )


def test_the_controller_may_do_what_it_does_and_no_more(helm: Path, tmp_path: Path) -> None:
    made = charts.rendered(helm, values(tmp_path))
    [role] = [
        each
        for each in charts.named(made, "Role", "fleet-awm-fleet-controller")
        if each["metadata"]["namespace"] == "awm-default"
    ]
    granted = {resource for rule in role["rules"] for resource in rule["resources"]}
    kinds = (api.ENVIRONMENTS, api.DEPLOYMENTS, api.PODS, api.QUOTAS, api.CONFIG_MAPS, api.SECRETS, api.EVENTS)
    assert granted == {each.plural for each in kinds} | {"environments/status", "pods/log"}
    reads = [rule for rule in role["rules"] if rule["resources"] == ["secrets"] and "get" in rule["verbs"]]
    assert [rule["resourceNames"] for rule in reads] == [[names.CONTROL_SECRET]]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"colour": "red"}, "colour"),
        ({"environments": {"memory": 5}}, "memory"),
        ({"environments": {"memoryMiB": "5"}}, "memoryMiB"),
        ({"environments": {"settings": {"PATH": "/"}}}, "PATH"),
        ({"teams": [{"name": "red"}]}, "namespace"),
        ({"teams": [{"name": "Red", "namespace": "red"}]}, "name"),
        ({"teams": [{"name": "r" * 200, "namespace": "red"}]}, "name"),
        ({"teams": [{"name": "a", "namespace": "x"}, {"name": "b", "namespace": "x"}]}, "two have the namespace x"),
        ({"teams": [{"name": "a", "namespace": "x"}, {"name": "a", "namespace": "y"}]}, "two have the name a"),
        ({"teams": [{"name": "a", "namespace": "awm"}]}, "release's own namespace"),
        ({"teams": []}, "teams"),
        (
            {"teams": [{"name": "a", "namespace": "x", "quota": {"requests.memory": "511Mi"}}]},
            "a: its quota of 511Mi requests.memory is less than the 512 MiB of one environment",
        ),
        ({"rollout": {"onNoCapacity": "hope"}}, "onNoCapacity"),
        ({"networkPolicy": {"enforcement": "maybe"}}, "enforcement"),
        ({"image": {"reference": "registry.example/control:1"}}, "reference"),
        ({"image": {"reference": ""}}, "image.reference: give the controller's image by digest"),
        ({"catalog": {"index": "[]"}}, "no catalogue index"),
        ({"catalog": {"index": "{}"}}, "no catalogue index"),
        ({"networkPolicy": {"controlPlaneEgress": [{"cidr": "anywhere", "ports": [1]}]}}, "cidr"),
    ],
)
def test_wrong_values_are_refused_by_their_name(helm: Path, tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        charts.rendered(helm, values(tmp_path, **changed))
    assert said in caught.value.stderr


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([entry("rover"), entry("rover")], "rover, generation 1 is in it twice"),
        ([entry("rover", image=None)], "rover, generation 1 has no image by digest"),
        ([entry("rover", image="registry.example/rover:1")], "rover, generation 1 has no image by digest"),
    ],
)
def test_a_wrong_index_is_refused(helm: Path, tmp_path: Path, entries: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        charts.rendered(helm, values(tmp_path), index(tmp_path, *entries))
    assert said in caught.value.stderr


def test_the_index_comes_to_the_controller_as_it_was_given(helm: Path, tmp_path: Path) -> None:
    made = charts.rendered(helm, values(tmp_path), index(tmp_path, entry("rover"), entry("farm")))
    [catalog] = charts.named(made, "ConfigMap", "fleet-awm-fleet-catalog")
    assert catalog["data"]["index.json"] == (tmp_path / "index.json").read_text()


def test_the_package_has_the_version_of_the_members_and_renders(helm: Path, tmp_path: Path) -> None:
    root = charts.CHART.parents[1]
    [version] = {
        tomllib.loads((root / member / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
        for member in ("fleet", "registry", "generator", "images/runtime")
    }
    subprocess.run(["make", "chart", f"HELM={helm}"], cwd=root, check=True, capture_output=True, timeout=120)
    package = root / "dist" / f"awm-fleet-{version}.tgz"
    given = (values(tmp_path), f"--kube-version={tools.KUBERNETES}")
    assert "kind: CustomResourceDefinition" in charts.run(helm, "template", "fleet", package, *given)


def test_the_generated_files_are_what_they_are_made_from() -> None:
    helm = Path(__file__).resolve().parents[2] / "helm"
    sys.path.insert(0, str(helm))
    try:
        import generate
    finally:
        sys.path.remove(str(helm))
    stale = [str(path) for path, content in generate.files().items() if path.read_text(encoding="utf-8") != content]
    assert stale == [], "run helm/generate.py"


def _rendered(helm: Path, file: Path) -> list[dict[str, Any]]:
    return charts.rendered(helm, f"--values={file}")
