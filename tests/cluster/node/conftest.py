"""One cluster with a real node for all tests of this folder, with the images of this checkout in its registry."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from cluster.node import worlds
from cluster.testbed import clusters, nodes


@pytest.fixture(scope="package")
def cluster(
    programs: Path, missing: Callable[[str, str], NoReturn], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[clusters.Cluster]:
    """A control plane with one node of containerd and kubelet, in place of simulated ones."""
    if lacking := nodes.lacking():
        missing("cluster", f"a real node needs Debian's packages {', '.join(lacking)}")
    with nodes.real(programs, tmp_path_factory.mktemp("node") / "state") as running:
        yield running


@pytest.fixture(scope="package")
def world(
    cluster: clusters.Cluster, programs: Path, built_images: Path, tmp_path_factory: pytest.TempPathFactory
) -> worlds.World:
    """The chart, installed with the images of this checkout; all scenarios sleep at first."""
    folder = tmp_path_factory.mktemp("world")
    with cluster.namespaces.network():
        made = worlds.World(cluster, programs / "helm4", folder, built_images)
        copies = [worlds.copied(worlds.EXAMPLES / "library", folder / name) for name in worlds.COPIES]
        for name, code in worlds.CHANGES.items():
            with (folder / name / "environment.py").open("a") as file:
                file.write(code)
        rows = made.build(worlds.EXAMPLES / "library", worlds.EXAMPLES / "clinic", *copies)
        made.rows = {each["name"]: each for each in rows}
        made.rows["absent"]["image"] = worlds.ABSENT
        made.rows["stranger"]["image"] = made.rows["clinic"]["image"]
        made.install()
    return made
