"""What the controller knows of a cluster's objects: no more than it needs, so that thousands fit into memory."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from awm_fleet.backends.kubernetes import names, quotas
from awm_registry import directory

Truth = Literal["True", "False", "Unknown"]
ConditionType = Literal["Accepted", "Available", "Verified", "Ready"]

_SECONDS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One thing that is said about an environment; `since` is RFC 3339."""

    type: ConditionType
    status: Truth
    reason: str
    message: str
    generation: int
    since: str


@dataclass(frozen=True, slots=True)
class ToolList:
    """What a pod (by UID) listed as its tools when it was asked: the list's hash and length."""

    pod: str
    tools_hash: str
    tools: int


@dataclass(frozen=True, slots=True)
class Served:
    """A bundle that served: all that an `Environment` has to say to serve it again."""

    bundle_generation: int
    image: str
    bundle_digest: str
    tools_hash: str

    def spec(self) -> dict[str, Any]:
        """These fields of `spec`."""
        return {
            "bundleGeneration": self.bundle_generation,
            "image": self.image,
            "bundleDigest": self.bundle_digest,
            "toolsHash": self.tools_hash,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What `status` says. Hashes name revisions; None is what is not known yet."""

    state: directory.State | None = None
    url: str | None = None
    revision: int = 0
    revision_hash: str | None = None
    serving: str | None = None
    bundle_generation: int | None = None
    catalog_generation: int | None = None
    tools: int | None = None
    replicas: int = 0
    selector: str | None = None
    draining_since: str | None = None
    observed_generation: int | None = None
    tool_lists: tuple[ToolList, ...] = ()
    history: tuple[Served, ...] = ()
    conditions: tuple[Condition, ...] = ()

    def condition(self, kind: ConditionType) -> Condition | None:
        """What is said about one thing."""
        return next((each for each in self.conditions if each.type == kind), None)

    def document(self) -> dict[str, Any]:
        """As the API has it."""
        plain = {
            "state": self.state,
            "url": self.url,
            "revision": self.revision,
            "revisionHash": self.revision_hash,
            "serving": self.serving,
            "bundleGeneration": self.bundle_generation,
            "catalogGeneration": self.catalog_generation,
            "tools": self.tools,
            "replicas": self.replicas,
            "selector": self.selector,
            "drainingSince": self.draining_since,
            "observedGeneration": self.observed_generation,
        }
        lists = {
            "toolLists": [
                {"pod": each.pod, "toolsHash": each.tools_hash, "tools": each.tools} for each in self.tool_lists
            ],
            "history": [each.spec() for each in self.history],
            "conditions": [
                {
                    "type": each.type,
                    "status": each.status,
                    "reason": each.reason,
                    "message": each.message,
                    "observedGeneration": each.generation,
                    "lastTransitionTime": each.since,
                }
                for each in self.conditions
            ],
        }
        return {name: value for name, value in plain.items() if value is not None} | lists


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """An `Environment`. `idle_s` is None where it never falls asleep by itself."""

    namespace: str
    name: str
    uid: str
    generation: int
    deleting: bool
    scenario: str
    bundle_generation: int
    image: str
    bundle_digest: str
    tools_hash: str
    replicas: int
    idle_s: float | None
    catalog_generation: int | None
    status: Status = field(default_factory=Status)

    @property
    def wanted(self) -> Served:
        """The bundle that `spec` asks for."""
        return Served(self.bundle_generation, self.image, self.bundle_digest, self.tools_hash)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A revision's Deployment.

    Attributes:
        version: Grows with every change, whoever makes it.
        spec: What is live.
        needs: What one of its pods takes of a quota.
        trouble: Why no pod can be made.
    """

    namespace: str
    name: str
    environment: str
    revision: str
    bundle_generation: int
    replicas: int
    version: int
    deleting: bool
    spec: Mapping[str, Any] = field(repr=False)
    needs: quotas.Needs
    trouble: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod.

    Attributes:
        bundle_generation, bundle: What it serves.
        node: Where it is; "" until it is somewhere.
        drained: It opens no more episodes and has none open.
        trouble: Why it does not become ready, in one word and in a sentence.
    """

    namespace: str
    name: str
    uid: str
    environment: str
    revision: str
    bundle_generation: int
    bundle: str
    node: str
    address: str | None
    ready: bool
    drained: bool
    deleting: bool
    trouble: tuple[str, str] | None = None


def environment(document: Mapping[str, Any]) -> Environment:
    """An `Environment` as the API has it."""
    metadata, spec = document["metadata"], document["spec"]
    seeded = metadata.get("annotations", {}).get(names.CATALOG_GENERATION, "")
    return Environment(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata["generation"],
        deleting="deletionTimestamp" in metadata,
        scenario=spec["scenario"],
        bundle_generation=spec["bundleGeneration"],
        image=spec["image"],
        bundle_digest=spec["bundleDigest"],
        tools_hash=spec["toolsHash"],
        replicas=spec.get("replicas", 0),
        idle_s=seconds(spec.get("idleTimeout", "15m")) or None,
        catalog_generation=int(seeded) if seeded.isdigit() else None,
        status=_status(document.get("status", {})),
    )


def deployment(document: Mapping[str, Any]) -> Deployment:
    """A Deployment as the API has it."""
    metadata, spec = document["metadata"], document["spec"]
    return Deployment(
        namespace=metadata["namespace"],
        name=metadata["name"],
        environment=metadata["labels"][names.ENVIRONMENT],
        revision=metadata["labels"].get(names.REVISION, ""),
        bundle_generation=int(metadata.get("annotations", {}).get(names.GENERATION, 0)),
        replicas=spec.get("replicas", 1),
        version=metadata["generation"],
        deleting="deletionTimestamp" in metadata,
        spec=spec,
        needs=quotas.needs(spec["template"]["spec"]),
        trouble=_refused(document.get("status", {}).get("conditions", ())),
    )


def pod(document: Mapping[str, Any]) -> Pod:
    """A pod as the API has it."""
    metadata, status = document["metadata"], document.get("status", {})
    conditions = {each["type"]: each for each in status.get("conditions", ())}
    ready = conditions.get("Ready", {}).get("status") == "True"
    facts = metadata.get("annotations", {})
    return Pod(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        environment=metadata["labels"][names.ENVIRONMENT],
        revision=metadata["labels"].get(names.REVISION, ""),
        bundle_generation=int(facts.get(names.GENERATION, 0)),
        bundle=facts.get(names.BUNDLE, ""),
        node=document["spec"].get("nodeName", ""),
        address=status.get("podIP"),
        ready=ready,
        drained=names.DRAINED in metadata["labels"],
        deleting="deletionTimestamp" in metadata,
        trouble=None if ready else _trouble(status, conditions),
    )


def seconds(duration: str) -> float:
    """`"1h30m"` in seconds."""
    return float(sum(int(number) * _SECONDS[unit] for number, unit in re.findall(r"(\d+)([smh])", duration)))


def _status(document: Mapping[str, Any]) -> Status:
    return Status(
        state=document.get("state"),
        url=document.get("url"),
        revision=document.get("revision", 0),
        revision_hash=document.get("revisionHash"),
        serving=document.get("serving"),
        bundle_generation=document.get("bundleGeneration"),
        catalog_generation=document.get("catalogGeneration"),
        tools=document.get("tools"),
        replicas=document.get("replicas", 0),
        selector=document.get("selector"),
        draining_since=document.get("drainingSince"),
        observed_generation=document.get("observedGeneration"),
        tool_lists=tuple(
            ToolList(each["pod"], each["toolsHash"], each["tools"]) for each in document.get("toolLists", ())
        ),
        history=tuple(
            Served(each["bundleGeneration"], each["image"], each["bundleDigest"], each["toolsHash"])
            for each in document.get("history", ())
        ),
        conditions=tuple(
            Condition(
                type=each["type"],
                status=each["status"],
                reason=each["reason"],
                message=each["message"],
                generation=each.get("observedGeneration", 0),
                since=each["lastTransitionTime"],
            )
            for each in document.get("conditions", ())
        ),
    )


def _refused(conditions: Sequence[Mapping[str, Any]]) -> str | None:
    """Why no pod can be made: a quota, or a policy of the namespace."""
    for each in conditions:
        if each["type"] == "ReplicaFailure" and each["status"] == "True":
            return str(each.get("message", ""))
    return None


def _trouble(status: Mapping[str, Any], conditions: Mapping[str, Mapping[str, Any]]) -> tuple[str, str] | None:
    """What keeps a pod from being ready, as the kubelet or the scheduler says it."""
    for each in status.get("containerStatuses", ()):
        state = each.get("state", {})
        ended = each.get("lastState", {}).get("terminated") or state.get("terminated")
        if waiting := state.get("waiting"):
            if waiting.get("reason") in (None, "ContainerCreating", "PodInitializing"):
                continue
            said = waiting.get("message") or waiting["reason"]
            if ended:
                said = f"{said}; it ended with {ended.get('exitCode')} ({ended.get('reason')})"
            return waiting["reason"], said
        if ended:
            return str(ended.get("reason", "Ended")), f"it ended with {ended.get('exitCode')} ({ended.get('reason')})"
    if status.get("phase") == "Failed":
        return str(status.get("reason", "Failed")), str(status.get("message", "the pod failed"))
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return str(scheduled.get("reason", "Unschedulable")), str(scheduled.get("message", ""))
    return None
