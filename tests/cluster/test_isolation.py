"""What a controller makes of nodes that enforce network policies, and of those that do not."""

import shutil
from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest

from cluster import fleets
from cluster.testbed import clusters

TABLE = "inet awm_closed"


@pytest.fixture
def close(cluster: clusters.Cluster, missing: Callable[[str, str], NoReturn]) -> Iterator[Callable[[], None]]:
    """Closes the port at which nothing may reach environments, as a network plug-in does."""
    if not shutil.which("nft"):
        missing("cluster", "the network is closed by nftables, which is not installed")

    def closing() -> None:
        run = cluster.namespaces.run
        run("nft", "add", "table", *TABLE.split())
        run("nft", "add", "chain", *TABLE.split(), "input", "{ type filter hook input priority filter; }")
        run("nft", "add", "rule", *TABLE.split(), "input", "tcp", "dport", "8003", "drop")

    yield closing
    cluster.namespaces.run("sh", "-c", f"nft delete table {TABLE} || true")


def test_where_policies_must_be_enforced_no_episode_is_opened_until_they_are(
    fleet: fleets.Fleet, close: Callable[[], None]
) -> None:
    fleet.options["enforcement"] = "require"
    fleet.index(fleets.entry())
    with fleet.controller():
        fleet.wait("the fault", lambda: "lets through" in fleet.condition("Verified").get("message", ""))
        assert fleet.condition("Verified")["reason"] == "NotIsolated"
        assert fleet.condition("Ready")["status"] == "False"
        close()
        fleet.wait_for("ready")


def test_where_policies_should_be_enforced_it_is_told_that_they_are_not(fleet: fleets.Fleet) -> None:
    fleet.options["enforcement"] = "warn"
    fleet.index(fleets.entry(), fleets.entry("farm"))
    with fleet.controller():
        fleet.wait_for("ready")
        fleet.wait_for("ready", "farm")
        fleet.wait("the warning", lambda: _warned(fleet) != set())
        assert _warned(fleet) <= {each["spec"]["nodeName"] for each in fleet.list("pods")}


def test_where_policies_are_enforced_nothing_is_told(fleet: fleets.Fleet, close: Callable[[], None]) -> None:
    close()
    fleet.options["enforcement"] = "require"
    fleet.index(fleets.entry())
    with fleet.controller():
        fleet.wait_for("ready")
        assert _warned(fleet) == set()


def _warned(fleet: fleets.Fleet) -> set[str]:
    """The nodes that events warn of."""
    told = [each["message"].split() for each in fleet.list("events") if each["reason"] == "NotIsolated"]
    return {node for _, node, *_ in told}
