"""One cluster of simulated nodes for all tests of this folder; each test has namespaces of its own in it."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from cluster import fleets, stubs
from cluster.testbed import clusters, tools

NODES = 6


@pytest.fixture(scope="session")
def programs(missing: Callable[[str, str], NoReturn]) -> Path:
    """kube-apiserver, kubectl, helm3, helm4 and the others."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        missing("cluster", "a cluster in namespaces of its own needs root and util-linux")
    found = tools.built()
    if found is None:
        missing("cluster", "the programs of Kubernetes are not built: run `make testbed`")
    return found


@pytest.fixture(scope="package")
def cluster(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[clusters.Cluster]:
    """A control plane with simulated nodes."""
    with clusters.simulated(programs, tmp_path_factory.mktemp("cluster") / "state", nodes=NODES) as running:
        yield running


@pytest.fixture(autouse=True)
def _inside(cluster: clusters.Cluster) -> Iterator[None]:
    """Tests are in the cluster's network; others of the same run are not."""
    with cluster.namespaces.network():
        yield


@pytest.fixture
def stub(_inside: None) -> Iterator[stubs.Stub]:
    """What answers for simulated pods."""
    with stubs.serving() as running:
        yield running


@pytest.fixture
def fleet(cluster: clusters.Cluster, stub: stubs.Stub, tmp_path: Path) -> Iterator[fleets.Fleet]:
    """A team's namespace, removed afterwards."""
    made = fleets.Fleet(cluster, tmp_path)
    yield made
    cluster.kubectl("delete", "namespace", made.namespace, "--wait=false", "--ignore-not-found")
