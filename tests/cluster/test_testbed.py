"""The test bed itself: what other tests take for granted."""

import json
import subprocess
import urllib.request
from pathlib import Path

import pytest

from cluster.testbed import clusters, tools


def test_nodes_are_ready_and_of_the_version_that_was_built(cluster: clusters.Cluster) -> None:
    nodes = cluster.get("nodes")["items"]
    conditions = [next(each for each in node["status"]["conditions"] if each["type"] == "Ready") for node in nodes]
    assert {each["status"] for each in conditions} == {"True"}
    assert json.loads(cluster.kubectl("get", "--raw=/version"))["gitVersion"] == f"v{tools.KUBERNETES}"


def test_the_network_is_the_clusters_own(cluster: clusters.Cluster) -> None:
    seen = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    assert "node0" in seen
    assert "node0" not in Path("/proc/1/net/dev").read_text()
    with pytest.raises(OSError, match="unreachable"):
        urllib.request.urlopen("http://192.0.2.1/", timeout=5)
