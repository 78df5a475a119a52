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
SERVING = ("Deployment", "StatefulSet", "DaemonSet")
PROBES = {"livenessProbe", "readinessProbe", "startupProbe"}


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
    said = charts.run(helm, "lint", "--strict", charts.CHART, f"--values={file}").splitlines()
    assert "1 chart(s) linted, 0 chart(s) failed" in said
    assert not [line for line in said if line.startswith(("[WARNING]", "[ERROR]"))]


@pytest.mark.parametrize("file", charts.VALUES, ids=lambda path: path.stem)
def test_every_pod_is_hardened(helm: Path, file: Path) -> None:
    made = _rendered(helm, file)
    pods = [(kind, _pod(each)) for kind in PODS for each in charts.named(made, kind)]
    assert {kind for kind, _ in pods} == {"Deployment", "Pod"}
    for kind, pod in pods:
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
            assert kind not in SERVING or container.keys() >= PROBES


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
    allowed = [each["podSelector"]["matchLabels"] for each in rule["from"]]
    deployments = charts.named(made, "Deployment")
    assert allowed == [each["spec"]["template"]["metadata"]["labels"] for each in deployments]
    assert {each["metadata"]["name"] for each in deployments} == {
        "fleet-awm-fleet-controller",
        "fleet-awm-fleet-router",
    }
    assert all(
        each["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "awm"} for each in rule["from"]
    )


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
    kinds = (api.ENVIRONMENTS, api.DEPLOYMENTS, api.PODS, api.QUOTAS, api.CONFIG_MAPS, api.EVENTS)
    assert granted == {each.plural for each in kinds} | {"environments/status", "pods/log"}
    [shown] = [rule for rule in role["rules"] if rule["resources"] == ["configmaps"] and "patch" in rule["verbs"]]
    assert shown["resourceNames"] == [names.KEYS]


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
        ({"image": {"reference": ""}}, "image.reference: give the image of controller and router by digest"),
        ({"router": {"replicas": 0}}, "replicas"),
        ({"router": {"url": "http://awm.example/path"}}, "url"),
        ({"router": {"settings": {"AWM_EPISODES": "5"}}}, "AWM_EPISODES"),
        ({"router": {"ingress": {"enabled": True}}}, "router.ingress.host"),
        ({"networkPolicy": {"enforcement": "hope"}}, "enforcement"),
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


def test_the_router_reads_the_configuration_and_the_keys_that_the_controller_makes(helm: Path, tmp_path: Path) -> None:
    teams = [
        {"name": "red", "namespace": "team-red"},
        {"name": "blue", "namespace": "team-blue", "keys": {"existingSecret": "blues"}},
    ]
    made = charts.rendered(helm, values(tmp_path, teams=teams))
    [config] = charts.named(made, "ConfigMap", "fleet-awm-fleet-controller")
    path = tmp_path / "config.json"
    path.write_text(config["data"]["config.json"])
    read = settings.read(path)
    [router] = charts.named(made, "Deployment", "fleet-awm-fleet-router")
    pod = _pod(router)
    mounted = {each["name"]: each["mountPath"] for each in pod["containers"][0]["volumeMounts"]}
    secrets = {mounted[each["name"]]: each["secret"]["secretName"] for each in pod["volumes"] if "secret" in each}
    assert secrets == {
        "/etc/awm/keys/red": read.keys_of(read.teams[0]),
        "/etc/awm/keys/blue": "blues",
        "/etc/awm/episode-ids": read.episode_ids,
    }
    [own] = [
        each
        for each in charts.named(made, "Role", "fleet-awm-fleet-controller")
        if each["metadata"]["namespace"] == "awm"
    ]
    [reads] = [each for each in own["rules"] if each["resources"] == ["secrets"] and each["verbs"] == ["get"]]
    assert set(reads["resourceNames"]) == set(secrets.values())
    assert config["metadata"]["name"] == read.anchor
    assert read.url == "http://fleet-awm-fleet-router.awm/t/{team}/s/{scenario}/mcp"


def test_the_number_of_routers_is_the_autoscalers_where_there_is_one(helm: Path, tmp_path: Path) -> None:
    [fixed] = charts.named(_router(helm, tmp_path, replicas=3), "Deployment", "fleet-awm-fleet-router")
    assert fixed["spec"]["replicas"] == 3
    made = _router(helm, tmp_path, replicas=3, autoscaling={"enabled": True, "maxReplicas": 4})
    [scaled] = charts.named(made, "Deployment", "fleet-awm-fleet-router")
    assert "replicas" not in scaled["spec"]
    [autoscaler] = charts.named(made, "HorizontalPodAutoscaler")
    assert autoscaler["spec"]["scaleTargetRef"]["name"] == scaled["metadata"]["name"]
    assert (autoscaler["spec"]["minReplicas"], autoscaler["spec"]["maxReplicas"]) == (2, 4)


def test_the_world_sees_the_agents_port_and_no_other(helm: Path) -> None:
    made = _rendered(helm, charts.CHART / "ci" / "everything.yaml")
    shown = {}
    for each in charts.named(made, "Service"):
        assert each["spec"].get("type", "ClusterIP") == "ClusterIP" or each["metadata"]["name"] == "fleet-router"
        shown[each["metadata"]["name"]] = [port["targetPort"] for port in each["spec"]["ports"]]
    assert (shown["fleet-router"], shown["fleet-router-control"]) == ([8001], [8002])
    [ingress], [route] = charts.named(made, "Ingress"), charts.named(made, "HTTPRoute")
    [path] = ingress["spec"]["rules"][0]["http"]["paths"]
    assert path["backend"]["service"] == {"name": "fleet-router", "port": {"number": 80}}
    assert route["spec"]["rules"] == [{"backendRefs": [{"name": "fleet-router", "port": 80}]}]


def test_chosen_pods_reach_a_teams_agent_plane_and_are_told_where_it_is(helm: Path, tmp_path: Path) -> None:
    peer = {"podSelector": {"matchLabels": {"app": "trainer"}}}
    made = charts.rendered(helm, values(tmp_path, teams=[{"name": "red", "namespace": "red", "directFrom": [peer]}]))
    [policy] = charts.named(made, "NetworkPolicy", "awm-environments")
    assert policy["spec"]["ingress"][1] == {"from": [peer], "ports": [{"protocol": "TCP", "port": 8001}]}
    [config] = charts.named(made, "ConfigMap", "fleet-awm-fleet-controller")
    assert json.loads(config["data"]["config.json"])["teams"] == [{"name": "red", "namespace": "red", "direct": True}]


def _rendered(helm: Path, file: Path) -> list[dict[str, Any]]:
    return charts.rendered(helm, f"--values={file}")


def _pod(document: dict[str, Any]) -> dict[str, Any]:
    """The `spec` of the pods that an object is or makes."""
    spec: dict[str, Any] = document["spec"]
    found: dict[str, Any] = spec if document["kind"] == "Pod" else spec["template"]["spec"]
    return found


def _router(helm: Path, tmp_path: Path, **router: Any) -> list[dict[str, Any]]:
    return charts.rendered(helm, values(tmp_path, router=router))
