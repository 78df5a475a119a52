"""What environments become, their names, what is read back, and what there is room for."""

import dataclasses
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awm_fleet.backends.kubernetes import drift, model, names, objects, quotas

DIGEST = "1" * 64
BEFORE = objects.PodOptions()


def environment(**changed: Any) -> model.Environment:
    made = model.Environment(
        namespace="ns",
        name="rover",
        uid="uid",
        generation=1,
        deleting=False,
        scenario="rover",
        bundle_generation=1,
        image=f"registry.example/rover@sha256:{DIGEST}",
        bundle_digest=f"sha256:{DIGEST}",
        tools_hash=f"sha256:{DIGEST}",
        replicas=1,
        idle_s=900,
        catalog_generation=1,
    )
    return dataclasses.replace(made, **changed)


def revision(of: model.Environment, options: objects.PodOptions = BEFORE) -> str:
    hash_: str = objects.deployment(of, options)["metadata"]["labels"][names.REVISION]
    return hash_


@pytest.mark.parametrize(
    ("of", "options"),
    [
        (environment(image=f"registry.example/rover@sha256:{'2' * 64}"), BEFORE),
        (environment(bundle_digest=f"sha256:{'2' * 64}"), BEFORE),
        (environment(name="farm"), BEFORE),
        (environment(), objects.PodOptions(memory_mib=512)),
        (environment(), objects.PodOptions(tolerations=[{"key": "x", "operator": "Exists"}])),
        (environment(), objects.PodOptions(settings={"AWM_EPISODES": "9"})),
        (environment(), objects.PodOptions(runtime_class="gvisor")),
    ],
)
def test_whatever_changes_pods_makes_another_revision(of: model.Environment, options: objects.PodOptions) -> None:
    assert revision(of, options) != revision(environment())


@pytest.mark.parametrize("changed", [{"replicas": 3}, {"idle_s": None}, {"generation": 9}, {"tools_hash": "sha256:9"}])
def test_what_pods_do_not_depend_on_makes_no_revision(changed: dict[str, Any]) -> None:
    assert revision(environment(**changed)) == revision(environment())


def test_a_pod_is_hardened_and_counts_its_scratch_as_memory() -> None:
    pod = objects.deployment(environment(), objects.PodOptions(memory_mib=100, scratch_mib=28))["spec"]["template"][
        "spec"
    ]
    [container] = pod["containers"]
    assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert container["resources"]["requests"]["memory"] == container["resources"]["limits"]["memory"] == "128Mi"
    assert pod["volumes"] == [
        {"name": "state", "emptyDir": {"medium": "Memory", "sizeLimit": "28Mi"}},
        {"name": "keys", "configMap": {"name": "awm-keys"}},
    ]


@given(st.text(min_size=1, max_size=200), st.text(min_size=1, max_size=200))
def test_names_are_labels_and_never_shared(one: str, other: str) -> None:
    made = []
    for scenario in (one, other):
        name = names.environment(scenario)
        deployment = names.deployment(name, names.revision(name, {}))
        for each in (name, deployment):
            assert len(each) <= names.LONGEST
            assert each.replace("-", "").isalnum()
            assert each.isascii()
            assert not each.startswith("-")
        made.append((name, deployment))
    assert (one == other) == (made[0][0] == made[1][0]) == (made[0][1] == made[1][1])


def test_a_selector_of_one_environment_never_takes_anothers_pods() -> None:
    ours, theirs = (objects.deployment(environment(name=name), BEFORE) for name in ("rover", "farm"))
    selected = ours["spec"]["selector"]["matchLabels"].items()
    assert selected <= ours["spec"]["template"]["metadata"]["labels"].items()
    assert not selected <= theirs["spec"]["template"]["metadata"]["labels"].items()


def test_a_pod_is_given_public_keys_its_own_id_its_bundles_digest_and_no_secret() -> None:
    pod = objects.deployment(environment(), BEFORE)["spec"]["template"]["spec"]
    [container] = pod["containers"]
    given = {each["name"]: each.get("value") or each["valueFrom"] for each in container["env"]}
    assert given == {
        "AWM_TOKEN_KEYS": "/etc/awm/keys/jwks.json",
        "AWM_INSTANCE_ID": {"fieldRef": {"fieldPath": "metadata.uid"}},
        "AWM_TEAM": {"configMapKeyRef": {"name": "awm-keys", "key": "team"}},
        "AWM_BUNDLE_DIGEST": f"sha256:{DIGEST}",
    }
    assert container["volumeMounts"][1] == {"name": "keys", "mountPath": "/etc/awm/keys", "readOnly": True}
    assert "secret" not in json.dumps(pod).lower()


@pytest.mark.parametrize(
    ("status", "trouble"),
    [
        ({}, None),
        ({"containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}, None),
        (
            {"containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]},
            ("ImagePullBackOff", "no such image"),
        ),
        (
            {
                "containerStatuses": [
                    {
                        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
                    }
                ]
            },
            ("CrashLoopBackOff", "back-off; it ended with 137 (OOMKilled)"),
        ),
        ({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}, ("Evicted", "low on memory")),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1"}]},
            ("Unschedulable", "0/1"),
        ),
    ],
)
def test_a_pods_trouble_is_read(status: dict[str, Any], trouble: tuple[str, str] | None) -> None:
    metadata = {"namespace": "ns", "name": "p", "uid": "u", "labels": {names.ENVIRONMENT: "rover"}}
    assert model.pod({"metadata": metadata, "spec": {}, "status": status}).trouble == trouble


@pytest.mark.parametrize(
    ("wanted", "live", "differs"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": 1}, {"a": 2}, True),
        ({"a": 1}, {}, True),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 2]}}, False),
        ({"a": [1, 2]}, {"a": [1]}, True),
        ([{"name": "x", "v": 1}], [{"name": "y"}, {"name": "x", "v": 1, "w": 2}], False),
        ([{"name": "x", "v": 1}], [{"name": "y", "v": 1}], True),
        ([], [{"name": "x"}], True),
    ],
)
def test_drift_is_what_is_missing_or_other(wanted: Any, live: Any, differs: bool) -> None:
    assert drift.differs(wanted, live) is differs


@pytest.mark.parametrize(
    ("quantity", "amount"),
    [
        ("1", "1"),
        ("50m", "0.05"),
        ("512Mi", str(512 * 2**20)),
        ("1.5Gi", str(3 * 2**29)),
        ("2k", "2000"),
        ("1e3", "1000"),
        ("1E", str(10**18)),
    ],
)
def test_quantities(quantity: str, amount: str) -> None:
    assert quotas.amount(quantity) == Decimal(amount)


@pytest.mark.parametrize(
    ("hard", "used", "count", "lacks"),
    [
        ({"requests.memory": "1Gi"}, {}, 2, None),
        ({"requests.memory": "1Gi"}, {"requests.memory": "1Mi"}, 2, "requests.memory"),
        ({"memory": "1Gi"}, {"memory": "1"}, 2, "memory"),
        ({"limits.memory": "1Gi"}, {"limits.memory": "1Mi"}, 2, "limits.memory"),
        ({"requests.cpu": "125m"}, {"requests.cpu": "50m"}, 2, "requests.cpu"),
        ({"pods": "10"}, {"pods": "9"}, 2, "pods"),
        ({"services": "0"}, {}, 2, None),
    ],
)
def test_room_is_computed_from_the_quota(
    hard: dict[str, str], used: dict[str, str], count: int, lacks: str | None
) -> None:
    pod = objects.deployment(environment(), BEFORE)["spec"]["template"]["spec"]
    said = quotas.lacking([quotas.Quota("team", hard, used)], quotas.needs(pod), count)
    assert (said is None) == (lacks is None)
    assert lacks is None or f"quota team: {lacks} has" in str(said)


ONE_POD = {"pods": Decimal(1)}
LIMITS = [quotas.Quota("team", {"pods": "5"}, {"pods": "2"})]


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"promised": {"pods": Decimal(4)}}, None),
        ({"promised": {"pods": Decimal(5)}}, "pods has 0 of 5 left, and 1 are needed"),
        ({"promised": {"pods": Decimal(5)}, "leaving": ONE_POD}, None),
        ({"reserve": 2}, None),
        ({"reserve": 3}, "pods has 3 of 5 left, and 1 are needed; 3 are kept for changes"),
    ],
)
def test_room_is_what_is_left_of_what_was_promised_beside_what_is_kept(rules: dict[str, Any], said: str | None) -> None:
    lacks = quotas.lacking(LIMITS, ONE_POD, 1, **rules)
    assert lacks == (said and f"quota team: {said}")


def test_a_quota_that_is_smaller_than_one_environment_is_said_to_be_so() -> None:
    said = quotas.lacking([quotas.Quota("team", {"memory": "1"}, {})], {"memory": Decimal(2)}, 1)
    assert said == "quota team: memory is 1, which is less than the 2 that are needed"
