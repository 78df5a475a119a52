"""The chart's network policies permit what the fleet needs and nothing else, as far as simulated pods can show it.

A connection begins at the address of the pod that it is said to come from: all these addresses lead to this machine.
"""

import errno
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NoReturn

import pytest

from awm_fleet.backends.kubernetes import definition
from cluster import fleets, releases, stubs
from cluster.testbed import clusters, policies

OUTSIDE = "198.51.100.1"
DNS = clusters.ADDRESS
Outcome = Literal["let through", "refused"]


def reached(source: str, target: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> Outcome:
    """Whether policies let a connection through; that nobody listens does not matter."""
    with socket.socket(socket.AF_INET, kind) as connection:
        connection.settimeout(10)
        connection.bind((source, 0))
        try:
            connection.connect((target, port))
            if kind == socket.SOCK_DGRAM:
                connection.send(b"?")
                connection.recv(1)
        except OSError as exc:
            if exc.errno in (errno.EHOSTUNREACH, errno.EACCES):
                return "refused"
            if exc.errno != errno.ECONNREFUSED:
                raise
    return "let through"


@pytest.fixture
def release(
    cluster: clusters.Cluster, programs: Path, stub: stubs.Stub, tmp_path: Path, missing: Callable[[str, str], NoReturn]
) -> Iterator[releases.Release]:
    """Two teams whose scenarios are awake, in a network that enforces policies."""
    if not shutil.which("nft"):
        missing("cluster", "policies are enforced by nftables, which is not installed")
    made = releases.Release(cluster, programs / "helm4", tmp_path)
    made.teams[1]["warm"] = "all"
    api_server = {"cidr": f"{clusters.ADDRESS}/32", "ports": [6443]}
    made.values["networkPolicy"] |= {"controlPlaneEgress": [api_server]}
    made.values["crds"] = {"install": False}  # other tests have applied it, and use it
    cluster.apply(definition.definition())
    made.index(fleets.entry(), fleets.entry("farm"))
    made.helm("install", "--create-namespace")
    with made.controller():
        cluster.wait("both teams", lambda: {*made.states(0).values(), *made.states(1).values()} == {"ready"})
    cluster.namespaces.run("ip", "address", "replace", f"{OUTSIDE}/32", "dev", "lo")
    with policies.enforced(cluster):
        yield made
    for each in (made.namespace, *(team["namespace"] for team in made.teams)):
        cluster.kubectl("delete", "namespace", each, "--ignore-not-found", "--wait=false")


def test_environments_are_reached_by_controller_and_router_alone_and_reach_nothing(release: releases.Release) -> None:
    red, neighbour = addresses(release, release.teams[0]["namespace"])
    blue, _ = addresses(release, release.teams[1]["namespace"])
    controller, router = addresses(release, release.namespace)
    permitted = {
        (source, target, port): reached(source, target, port)
        for source, target, port in (
            *((controller, each, port) for each in (red, neighbour, blue) for port in (8001, 8002)),
            *((router, each, port) for each in (red, neighbour, blue) for port in (8001, 8002)),
            *((each, clusters.ADDRESS, 6443) for each in (controller, router)),
        )
    }
    assert set(permitted.values()) == {"let through"}, permitted
    forbidden = {
        (source, target, port): reached(source, target, port)
        for source, target, port in (
            (controller, red, 22),
            (controller, red, 8003),  # its own policy permits it, that of environments does not
            (controller, OUTSIDE, 443),
            (router, red, 8003),
            (router, OUTSIDE, 443),
            (controller, clusters.ADDRESS, 22),
            *((each, red, port) for each in (neighbour, blue, OUTSIDE) for port in (8001, 8002)),
            *((red, each, port) for each in (neighbour, blue) for port in (8001, 8002)),
            (red, controller, 8080),
            (red, OUTSIDE, 443),
            (red, clusters.ADDRESS, 6443),
        )
    }
    assert set(forbidden.values()) == {"refused"}, forbidden
    assert reached(red, DNS, 53, socket.SOCK_DGRAM) == "refused"
    assert reached(OUTSIDE, controller, 8080) == "let through"  # Prometheus may be anywhere


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"ports": [{"port": "http"}]}, "'http' is named"),
        ({"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]}, "a block with exceptions"),
        ({"from": [{"serviceAccountSelector": {}}]}, "a peer by serviceAccountSelector"),
    ],
)
def test_what_the_engine_does_not_know_is_not_passed_over(rule: dict[str, Any], said: str) -> None:
    space = {"kind": "Namespace", "metadata": {"name": "red"}}
    pod = {
        "kind": "Pod",
        "metadata": {"name": "one", "namespace": "red"},
        "spec": {},
        "status": {"phase": "Running", "podIP": "10.245.0.9"},
    }
    policy = {
        "kind": "NetworkPolicy",
        "metadata": {"name": "all", "namespace": "red"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [rule]},
    }
    with pytest.raises(policies.Unsupported, match=said):
        policies.ruleset([space, pod, policy])


def addresses(release: releases.Release, namespace: str) -> list[str]:
    """The addresses of a namespace's pods, by name."""
    return [each["status"]["podIP"] for each in release.get("pods", namespace)]
