"""A small engine for NetworkPolicies: what they say becomes rules of nftables in the cluster's network.

It knows pod selectors, namespace selectors, address blocks without exceptions and numeric ports, in both directions,
over IPv4. What a policy forbids is rejected, so that a test tells it from a port at which nobody listens. It is
evidence for our policies, and none for the engine of a network plug-in. Connections that are open are left alone.
"""

import contextlib
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.testbed import clusters

TABLE = "inet awm_policies"
_LOOK_S = 0.3
_PATIENCE_S = 30.0
_KINDS = "pods,namespaces,networkpolicies"
_OVER = frozenset({"Succeeded", "Failed"})
Document = Mapping[str, Any]


class Unsupported(Exception):
    """A policy says something that this engine does not know."""


@dataclass(frozen=True, slots=True)
class _Pod:
    namespace: str
    labels: Mapping[str, str]
    address: str


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the two directions of traffic, from a pod's point of view."""

    kind: str
    rules: str
    peers: str
    own: str
    other: str
    then: str


_LEAVING = _Side("Egress", "egress", "to", own="ip saddr", other="ip daddr", then="goto arriving")
_ARRIVING = _Side("Ingress", "ingress", "from", own="ip daddr", other="ip saddr", then="accept")


def ruleset(documents: Sequence[Document]) -> str:
    """The rules that pods, namespaces and policies of a cluster make together, as nftables reads them.

    Raises:
        Unsupported: A policy has a named port, or another kind of peer.
    """
    pods = [_pod(each) for each in documents if each["kind"] == "Pod" and _has_address(each)]
    spaces = {
        each["metadata"]["name"]: each["metadata"].get("labels", {})
        for each in documents
        if each["kind"] == "Namespace"
    }
    policies = [each for each in documents if each["kind"] == "NetworkPolicy"]
    arriving = _chain(_ARRIVING, policies, pods, spaces)
    leaving = [*_chain(_LEAVING, policies, pods, spaces), "goto arriving"]
    every = ["ct state established,related accept", "goto leaving"]
    hooks = {hook: [f"type filter hook {hook} priority filter - 5;", *every] for hook in ("input", "forward")}
    chains = {"arriving": arriving, "leaving": leaving, **hooks}
    body = [line for name, rules in chains.items() for line in (f"chain {name} {{", *rules, "}")]
    return "\n".join([f"table {TABLE}", f"delete table {TABLE}", f"table {TABLE} {{", *body, "}\n"])


class Engine:
    """Keeps the rules of a cluster up to date while it is `enforced`."""

    def __init__(self, cluster: clusters.Cluster) -> None:
        self._cluster = cluster
        self._rules = ""
        self._looks = 0
        self._looked = threading.Condition()
        self._end = threading.Event()
        self._fault: Exception | None = None

    def settle(self) -> None:
        """Returns when all that is in the cluster now is in force.

        Raises:
            Unsupported: A policy says something that the engine does not know.
            TimeoutError: The cluster cannot be looked at.
        """
        with self._looked:
            wanted = self._looks + 2  # the look that is under way may have begun before
            if not self._looked.wait_for(lambda: self._looks >= wanted or self._fault is not None, _PATIENCE_S):
                raise TimeoutError("the policies were not looked at")
        if self._fault is not None:
            raise self._fault

    def run(self) -> None:
        """Looks again and again until `stop`."""
        while not self._end.is_set():
            try:
                self._apply(ruleset(self._cluster.get(_KINDS, "--all-namespaces")["items"]))
            except subprocess.SubprocessError:
                continue  # an API server that is away is not news
            except Unsupported as exc:
                self._fault = exc
            with self._looked:
                self._looks += 1
                self._looked.notify_all()
            self._end.wait(_LOOK_S)

    def stop(self) -> None:
        """Ends `run`, after the look that is under way."""
        self._end.set()

    def _apply(self, rules: str) -> None:
        if rules == self._rules:
            return
        command = self._cluster.namespaces.inside("nft", "--file", "-")
        subprocess.run(command, input=rules, check=True, capture_output=True, text=True, timeout=60)
        self._rules = rules


@contextlib.contextmanager
def enforced(cluster: clusters.Cluster) -> Iterator[Engine]:
    """Every policy of a cluster is enforced for the length of a `with` block."""
    engine = Engine(cluster)
    thread = threading.Thread(target=engine.run, name="policies", daemon=True)
    thread.start()
    try:
        engine.settle()
        yield engine
    finally:
        engine.stop()
        thread.join(_PATIENCE_S)
        with contextlib.suppress(subprocess.CalledProcessError):
            cluster.namespaces.run("nft", "delete", "table", *TABLE.split())


def _has_address(pod: Document) -> bool:
    status = pod.get("status", {})
    return "podIP" in status and status.get("phase") not in _OVER and not pod["spec"].get("hostNetwork")


def _pod(document: Document) -> _Pod:
    metadata = document["metadata"]
    return _Pod(metadata["namespace"], metadata.get("labels", {}), document["status"]["podIP"])


def _chain(
    side: _Side, policies: Sequence[Document], pods: Sequence[_Pod], spaces: Mapping[str, Document]
) -> list[str]:
    """Lets through what a policy allows, and rejects the rest of the pods that some policy isolates."""
    allowed: list[str] = []
    isolated: dict[str, None] = {}
    for policy in policies:
        space, spec = policy["metadata"]["namespace"], policy["spec"]
        if side.kind not in spec.get("policyTypes", ["Ingress"]):
            continue
        for pod in pods:
            if pod.namespace == space and _selects(spec.get("podSelector", {}), pod.labels):
                isolated[pod.address] = None
                for rule in spec.get(side.rules) or ():
                    allowed += _allowed(side, pod, rule, _peers(rule.get(side.peers), space, pods, spaces))
    themselves = [f"ip saddr {each} ip daddr {each} accept" for each in isolated]
    rejected = [f"{side.own} {each} counter reject with icmpx admin-prohibited" for each in isolated]
    return [*themselves, *dict.fromkeys(allowed), *rejected]


def _allowed(side: _Side, pod: _Pod, rule: Document, peers: Sequence[str]) -> list[str]:
    ports = [_port(each) for each in rule.get("ports") or ()] or [""]
    made = [f"{side.own} {pod.address} {side.other} {peer} {port}" for peer in peers for port in ports]
    return [f"{each.rstrip()} {side.then}" for each in made]


def _peers(
    given: Sequence[Document] | None, space: str, pods: Sequence[_Pod], spaces: Mapping[str, Document]
) -> list[str]:
    """Where a rule's peers are: addresses and blocks; without any, everywhere."""
    if not given:
        return ["0.0.0.0/0"]
    found: list[str] = []
    for each in given:
        if unknown := each.keys() - {"ipBlock", "podSelector", "namespaceSelector"}:
            raise Unsupported(f"a policy in {space} has a peer by {', '.join(sorted(unknown))}")
        if "ipBlock" in each:
            if "except" in each["ipBlock"]:
                raise Unsupported(f"a policy in {space} has a block with exceptions")
            found.append(each["ipBlock"]["cidr"])
            continue
        found += [pod.address for pod in pods if _is_peer(each, pod, space, spaces)]
    return found


def _is_peer(peer: Document, pod: _Pod, space: str, spaces: Mapping[str, Document]) -> bool:
    if "namespaceSelector" in peer:
        if not _selects(peer["namespaceSelector"], spaces.get(pod.namespace, {})):
            return False
    elif pod.namespace != space:
        return False
    return _selects(peer.get("podSelector", {}), pod.labels)


def _port(port: Document) -> str:
    protocol = port.get("protocol", "TCP").lower()
    if "port" not in port:
        return f"meta l4proto {protocol}"
    if not isinstance(port["port"], int):
        raise Unsupported(f"the port {port['port']!r} is named; only numbers are known")
    last = f"-{port['endPort']}" if "endPort" in port else ""
    return f"{protocol} dport {port['port']}{last}"


def _selects(selector: Document, labels: Mapping[str, str]) -> bool:
    exact = all(labels.get(name) == value for name, value in (selector.get("matchLabels") or {}).items())
    return exact and all(_matches(each, labels) for each in selector.get("matchExpressions") or ())


def _matches(expression: Document, labels: Mapping[str, str]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case other:
            raise Unsupported(f"the operator {other!r} is not known")
