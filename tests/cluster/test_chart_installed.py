"""The chart on a real API server: its objects are taken, its rights are enough and no more, and it goes as it came."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import charts
import pytest
import yaml

from awm_fleet.backends.kubernetes import api, definition
from cluster import fleets, releases, stubs
from cluster.testbed import clusters


@pytest.fixture(params=charts.HELMS)
def release(
    request: pytest.FixtureRequest, cluster: clusters.Cluster, programs: Path, stub: stubs.Stub, tmp_path: Path
) -> Iterator[releases.Release]:
    made = releases.Release(cluster, programs / request.param, tmp_path)
    made.index(fleets.entry(), fleets.entry("farm"))
    # The chart brings the definition, which other tests have applied.
    cluster.kubectl("delete", "crd", "environments.awm.dev", "--ignore-not-found", "--wait=true")
    yield made
    cluster.kubectl("delete", "crd", "environments.awm.dev", "--ignore-not-found", "--wait=true")
    for each in (made.namespace, *(team["namespace"] for team in made.teams)):
        cluster.kubectl("delete", "namespace", each, "--ignore-not-found", "--wait=false")


def test_a_release_serves_upgrades_and_goes(release: releases.Release, stub: stubs.Stub) -> None:
    cluster, red, blue = release.cluster, release.teams[0]["namespace"], release.teams[1]["namespace"]
    release.helm("install", "--create-namespace")
    with release.controller():
        cluster.wait("red", lambda: release.states(0) == {"rover": "ready", "farm": "ready"})
        cluster.wait("blue", lambda: release.states(1) == {"rover": "asleep", "farm": "asleep"})
        before = _versions(release.get("environments", red) + release.get("deployments", red))
        release.helm("upgrade")
        assert _versions(release.get("environments", red) + release.get("deployments", red)) == before
        release.teams.pop()
        release.helm("upgrade")
        cluster.wait("blue's end", lambda: release.get("environments", blue) == [])
        release.helm("uninstall")
        cluster.wait("red's end", lambda: release.get("environments,deployments,pods", red) == [], patience_s=60)
    for namespace in (red, blue):
        kinds = "environments,deployments,pods,secrets,roles,rolebindings,networkpolicies,resourcequotas,limitranges"
        assert release.get(kinds, namespace) == []
        shown = [each["metadata"]["name"] for each in release.get("configmaps", namespace)]
        assert shown == ["kube-root-ca.crt"]
    cluster.wait("the keys' end", lambda: release.get("secrets", release.namespace) == [])
    assert cluster.get("crd", "environments.awm.dev")["metadata"]["name"]
    assert sum(stub.asked.values()) == 2


def test_a_rollback_of_the_release_moves_no_scenario_back(release: releases.Release) -> None:
    red = release.teams[0]["namespace"]
    release.index(fleets.entry(), fleets.entry("farm"), fleets.entry("zebra"))
    release.helm("install", "--create-namespace")
    with release.controller():
        release.cluster.wait("the first", lambda: _generations(release) == {"rover": 1, "farm": 1, "zebra": 1})
        release.index(fleets.entry(generation=2), fleets.entry("farm", generation=2))
        release.helm("upgrade")
        release.cluster.wait("the second", lambda: _generations(release) == {"rover": 2, "farm": 2, "zebra": 1})
        regenerated = {"spec": {"bundleGeneration": 5, "image": fleets.entry(generation=5)["image"]}}
        change = f"--patch={json.dumps(regenerated)}"
        release.cluster.kubectl("patch", "environment", "rover", "--type=merge", change, f"--namespace={red}")
        release.cluster.wait("the fifth", lambda: _generations(release)["rover"] == 5)
        release.cluster.kubectl("delete", "environment", "zebra", f"--namespace={red}", "--wait=true")
        release.helm("rollback", "1")
        release.mount_index()
        release.cluster.wait("zebra, which is in the first index", lambda: _generations(release).get("zebra") == 1)
        assert _generations(release) == {"rover": 5, "farm": 2, "zebra": 1}


def test_who_may_not_write_definitions_installs_beside_the_one_that_is_there(release: releases.Release) -> None:
    cluster = release.cluster
    spaces = [release.namespace, *(each["namespace"] for each in release.teams)]
    for space in spaces:
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})
        cluster.kubectl("create", "role", "all", "--verb=*", "--resource=*.*", f"--namespace={space}")
        who = f"--serviceaccount={release.namespace}:installer"
        cluster.kubectl("create", "rolebinding", "all", "--role=all", who, f"--namespace={space}")
    cluster.kubectl("create", "serviceaccount", "installer", f"--namespace={release.namespace}")
    release.kubeconfig = Path(release.acting_as("installer")["KUBECONFIG"])
    for each in release.teams:
        each["create"] = False
    with pytest.raises(subprocess.CalledProcessError) as caught:
        release.helm("install")
    assert "customresourcedefinitions" in caught.value.stderr
    assert release.get("deployments,roles,configmaps", release.namespace, "--selector=helm.sh/chart") == []
    cluster.apply(definition.definition())
    release.values["crds"] = {"install": False}
    release.helm("upgrade", "--install")
    with release.controller():
        cluster.wait("red", lambda: release.states(0) == {"rover": "ready", "farm": "ready"})


def test_a_team_without_rights_for_the_controller_leaves_the_others_alone(release: releases.Release) -> None:
    release.helm("install", "--create-namespace")
    red = release.teams[0]["namespace"]
    release.cluster.kubectl("delete", "rolebinding", "--all", f"--namespace={release.teams[1]['namespace']}")
    with release.controller():
        release.cluster.wait("red", lambda: release.states(0) == {"rover": "ready", "farm": "ready"})
    assert release.get("environments", release.teams[1]["namespace"]) == []
    assert len(release.get("deployments", red)) == 2


def test_the_controller_has_no_rights_beyond_its_teams(release: releases.Release) -> None:
    release.helm("install", "--create-namespace")
    red = release.teams[0]["namespace"]
    assert release.may("create", "deployments.apps", red)
    assert release.may("get", "secrets/fleet-awm-fleet-keys-red", release.namespace)
    for verb, resource, namespace in (
        ("get", "secrets/other", release.namespace),
        ("list", "secrets", release.namespace),
        ("create", "secrets", red),
        ("get", "configmaps/other", red),
        ("delete", "environments.awm.dev", red),
        ("create", "deployments.apps", release.namespace),
        ("list", "pods", "kube-system"),
        ("get", "nodes", "default"),
    ):
        assert not release.may(verb, resource, namespace), f"{verb} {resource}"
    for subresource in ("exec", "attach", "portforward"):
        assert not release.may("create", "pods", red, f"--subresource={subresource}"), subresource


def test_the_router_may_wake_scenarios_and_change_nothing_else(release: releases.Release) -> None:
    release.helm("install", "--create-namespace")
    red = release.teams[0]["namespace"]

    def may(verb: str, resource: str, namespace: str, *arguments: str) -> bool:
        return release.may(verb, resource, namespace, *arguments, who=releases.ROUTER)

    assert may("patch", "environments.awm.dev", red, "--subresource=scale")
    assert may("watch", "environments.awm.dev", red)
    assert may("watch", "pods", red)
    for verb, resource, namespace in (
        ("patch", "environments.awm.dev", red),
        ("update", "environments.awm.dev", red),
        ("delete", "environments.awm.dev", red),
        ("patch", "pods", red),
        ("get", "secrets", red),
        ("get", "secrets/fleet-awm-fleet-keys-red", release.namespace),
        ("list", "environments.awm.dev", "default"),
    ):
        assert not may(verb, resource, namespace), f"{verb} {resource}"
    for verb, subresource in (("get", "log"), ("create", "exec"), ("create", "portforward")):
        assert not may(verb, "pods", red, f"--subresource={subresource}"), subresource
    assert not may("patch", "environments.awm.dev", red, "--subresource=status")


def test_the_routers_account_patches_the_scale_and_is_refused_the_image(
    release: releases.Release, cluster: clusters.Cluster
) -> None:
    release.helm("install", "--create-namespace")
    blue = release.teams[1]["namespace"]
    with release.controller():
        cluster.wait("blue", lambda: release.states(1) == {"rover": "asleep", "farm": "asleep"})
        image = f"registry.example/awm/other@sha256:{'9' * 64}"
        refused = asyncio.run(_patched(release, blue, image))
        cluster.wait("rover", lambda: release.states(1)["rover"] == "ready")
        assert refused.is_forbidden
    [rover] = [each for each in release.get("environments", blue) if each["metadata"]["name"] == "rover"]
    assert rover["spec"]["image"] == fleets.entry()["image"]


@pytest.mark.parametrize("file", charts.VALUES, ids=lambda path: path.stem)
def test_the_api_server_takes_every_object_of_every_rendering(
    release: releases.Release, programs: Path, file: Path
) -> None:
    cluster = release.cluster
    made = charts.rendered(programs / "helm4", f"--values={file}")
    for namespace in {each["metadata"].get("namespace", "default") for each in made}:
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    for account in charts.named(made, "ServiceAccount"):  # a pod is refused without its own
        cluster.apply(account)
    # The Prometheus operator's and the Gateway API's definitions are not installed here.
    ours = [each for each in made if each["kind"] not in ("ServiceMonitor", "HTTPRoute")]
    text = yaml.safe_dump_all(ours)
    said = cluster.kubectl("apply", "--dry-run=server", "--server-side", "--validate=strict", "-f", "-", input=text)
    assert len(said.splitlines()) == len(ours)


def test_a_release_of_a_thousand_scenarios_fits_into_a_third_of_helms_limit(release: releases.Release) -> None:
    # Digests do not compress: three a scenario, in the values and in the ConfigMap, are most of it.
    release.index(*(fleets.real_entry(number) for number in range(1000)))
    release.helm("install", "--create-namespace")
    size = release.size()
    print(f"{size} bytes, {size / releases.MOST_OF_A_SECRET:.1%} of what a Secret holds")
    assert size < releases.MOST_OF_A_SECRET / 3


def _versions(objects: list[dict[str, Any]]) -> dict[str, str]:
    return {each["metadata"]["uid"]: each["metadata"]["resourceVersion"] for each in objects}


def _generations(release: releases.Release) -> dict[str, int]:
    """What red's environments serve."""
    found = release.get("environments", release.teams[0]["namespace"])
    return {each["metadata"]["name"]: each.get("status", {}).get("bundleGeneration", 0) for each in found}


async def _patched(release: releases.Release, namespace: str, image: str) -> api.ApiError:
    """Wakes a scenario as the router, also by a patch that says more; returns what a patch of its image came to."""
    connection = await api.Api.connect(release.acting_as(releases.ROUTER)["KUBECONFIG"])
    try:
        more = {"spec": {"replicas": 1, "image": image}}
        await connection.merge(api.ENVIRONMENTS, namespace, "rover", more, subresource="scale")
        with pytest.raises(api.ApiError) as caught:
            await connection.merge(api.ENVIRONMENTS, namespace, "rover", {"spec": {"image": image}})
        return caught.value
    finally:
        await connection.close()
