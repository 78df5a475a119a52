"""The objects that an environment becomes. Pure: the same input gives the same objects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from awm_fleet.backends.kubernetes import model, names
from awm_registry.catalogue import model as catalogue
from awm_registry.tokens import keys

AGENT_PORT = 8001
CONTROL_PORT = 8002
STATE_PATH = "/state"
KEYS_PATH = "/etc/awm/keys"
_USER = 10001
"""As the runtime's image has it."""

_KEEP = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}
"""Autoscalers leave such pods alone: their episodes would be lost. Idle ones are put to sleep by the controller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodOptions:
    """What the pods of a fleet have in common; any change makes a new revision of every environment.

    Attributes:
        cpu: The request of processor time, in Kubernetes' quantities.
        memory_mib: What an instance may use apart from its episodes' files.
        scratch_mib: What its episodes' files may take; it is memory too, and counted as such.
        drain_s: How long a pod may take to end.
        settings: `AWM_*` variables of the environment server.
        pull_secrets: Names of Secrets for the image registry.
        node_selector, tolerations, runtime_class: Where pods run, as in a pod's `spec`.
    """

    cpu: str = "50m"
    memory_mib: int = 384
    scratch_mib: int = 128
    drain_s: int = 60
    settings: Mapping[str, str] = field(default_factory=dict)
    pull_secrets: Sequence[str] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, Any]] = ()
    runtime_class: str | None = None


def environment(
    entry: catalogue.Entry, *, namespace: str, replicas: int, idle_timeout: str, anchor_uid: str
) -> dict[str, Any]:
    """The `Environment` that a row of the catalogue's index seeds.

    Args:
        entry: The row; it has an image.
        namespace: The team's.
        replicas: How many are awake at first.
        idle_timeout: When they fall asleep.
        anchor_uid: The UID of the team's ConfigMap, which owns it.
    """
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": names.TEAM_ANCHOR, "uid": anchor_uid}
    return {
        "apiVersion": f"{names.GROUP}/{names.VERSION}",
        "kind": names.KIND,
        "metadata": {
            "name": names.environment(entry.name),
            "namespace": namespace,
            "labels": {names.MANAGED_BY: names.MANAGER},
            "annotations": {names.CATALOG_GENERATION: str(entry.generation)},
            "ownerReferences": [owner],
        },
        "spec": _content(entry) | {"scenario": entry.name, "replicas": replicas, "idleTimeout": idle_timeout},
    }


def moved(entry: catalogue.Entry) -> dict[str, Any]:
    """The change that moves an `Environment` to a newer row of the catalogue's index."""
    return {
        "metadata": {"annotations": {names.CATALOG_GENERATION: str(entry.generation)}},
        "spec": _content(entry),
    }


def _content(entry: catalogue.Entry) -> dict[str, Any]:
    return {
        "bundleGeneration": entry.generation,
        "image": entry.image,
        "bundleDigest": entry.bundle,
        "toolsHash": entry.tools_hash,
    }


def deployment(environment: model.Environment, options: PodOptions) -> dict[str, Any]:
    """The Deployment of an environment's newest revision."""
    template = _template(environment, options)
    hash_ = names.revision(environment.name, template)
    selected = {names.ENVIRONMENT: environment.name, names.REVISION: hash_}
    labels = names.labels(environment.name) | selected
    template["metadata"]["labels"] = labels
    owner = {
        "apiVersion": f"{names.GROUP}/{names.VERSION}",
        "kind": names.KIND,
        "name": environment.name,
        "uid": environment.uid,
        "controller": True,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": names.deployment(environment.name, hash_),
            "namespace": environment.namespace,
            "labels": labels,
            "annotations": {names.GENERATION: str(environment.bundle_generation)},
            "ownerReferences": [owner],
        },
        "spec": {
            "replicas": environment.replicas,
            "revisionHistoryLimit": 0,  # the next revision is a Deployment of its own
            "selector": {"matchLabels": selected},
            "strategy": {"type": "Recreate"},
            "template": template,
        },
    }


def _template(environment: model.Environment, options: PodOptions) -> dict[str, Any]:
    """The pods of a revision, without labels: those have its hash."""
    facts = {names.GENERATION: str(environment.bundle_generation), names.BUNDLE: environment.bundle_digest}
    placed: dict[str, Any] = {}
    if options.node_selector:
        placed["nodeSelector"] = dict(options.node_selector)
    if options.tolerations:
        placed["tolerations"] = [dict(each) for each in options.tolerations]
    if options.runtime_class:
        placed["runtimeClassName"] = options.runtime_class
    if options.pull_secrets:
        placed["imagePullSecrets"] = [{"name": each} for each in options.pull_secrets]
    return {
        "metadata": {"annotations": facts | _KEEP},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": options.drain_s,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": _USER,
                "runAsGroup": _USER,
                "fsGroup": _USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [_container(environment, options)],
            "volumes": [
                {"name": "state", "emptyDir": {"medium": "Memory", "sizeLimit": f"{options.scratch_mib}Mi"}},
                {"name": "keys", "configMap": {"name": names.KEYS}},  # exchanged at a rotation, while pods run
            ],
            **placed,
        },
    }


def _container(environment: model.Environment, options: PodOptions) -> dict[str, Any]:
    memory = f"{options.memory_mib + options.scratch_mib}Mi"
    return {
        "name": "environment",
        "image": environment.image,
        "ports": [
            {"name": "agent", "containerPort": AGENT_PORT},
            {"name": "control", "containerPort": CONTROL_PORT},
        ],
        "env": [
            {"name": "AWM_TOKEN_KEYS", "value": f"{KEYS_PATH}/{keys.PUBLIC_FILE}"},
            {"name": "AWM_INSTANCE_ID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
            {"name": "AWM_TEAM", "valueFrom": {"configMapKeyRef": {"name": names.KEYS, "key": "team"}}},
            *({"name": name, "value": value} for name, value in sorted(options.settings.items())),
            {"name": "AWM_BUNDLE_DIGEST", "value": environment.bundle_digest},  # an image's own word always fits
        ],
        "resources": {"requests": {"cpu": options.cpu, "memory": memory}, "limits": {"memory": memory}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "startupProbe": _probe("/readyz", period_s=1, failures=120),
        "readinessProbe": _probe("/readyz", period_s=5, failures=2),
        "livenessProbe": _probe("/livez", period_s=10, failures=6),  # the keeper inside restarts what hangs
        "volumeMounts": [
            {"name": "state", "mountPath": STATE_PATH},
            {"name": "keys", "mountPath": KEYS_PATH, "readOnly": True},
        ],
    }


def _probe(path: str, *, period_s: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": CONTROL_PORT},
        "periodSeconds": period_s,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
    }
