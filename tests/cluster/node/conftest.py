"""One cluster with a real node for all tests of this folder, with the images of this checkout in its registry."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from cluster.testbed import clusters, nodes


@pytest.fixture(scope="session")
def cluster(
    programs: Path, missing: Callable[[str, str], NoReturn], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[clusters.Cluster]:
    """A control plane with one node of containerd and kubelet, in place of simulated ones."""
    if lacking := nodes.lacking():
        missing("cluster", f"a real node needs Debian's packages {', '.join(lacking)}")
    with nodes.real(programs, tmp_path_factory.mktemp("node") / "state") as running:
        yield running
