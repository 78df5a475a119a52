"""The real node of the test bed: it comes up in the namespaces of its cluster, and leaves nothing on the machine."""

from pathlib import Path

import psutil

from cluster.testbed import clusters, nodes, registries

SETTINGS = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops")
FOLDERS = ("/var/lib/cni", "/var/lib/kubelet", "/var/log/containers", "/var/log/pods", "/usr/libexec/kubernetes")


def test_a_cluster_with_a_real_node_leaves_nothing_on_the_machine(
    programs: Path, cluster: clusters.Cluster, tmp_path: Path
) -> None:
    before, links, folders = _settings(), _links(), [each for each in FOLDERS if Path(each).exists()]
    with nodes.real(programs, tmp_path / "state") as second:  # beside the first: each has a world of its own
        _run_a_pod(second)
        assert len(_groups()) == 2
        assert _processes(tmp_path)
    assert len(_groups()) == 1
    assert _processes(tmp_path) == []
    assert str(tmp_path) not in Path("/proc/1/mounts").read_text()
    assert _settings() == before
    assert not {"node0", "pods0"} & (_links() | links)
    assert [each for each in FOLDERS if Path(each).exists()] == folders


def _run_a_pod(cluster: clusters.Cluster) -> None:
    """A pod that runs until it is told to end: its image is pulled, its address is one of the bridge's."""
    with cluster.namespaces.network():
        image = registries.put("sleeper", registries.pause())
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "sleeper", "namespace": "default"}}
    cluster.apply({**pod, "spec": {"containers": [{"name": "sleeper", "image": image}]}})
    cluster.kubectl("wait", "--for=condition=Ready", "pod/sleeper", "--timeout=60s")
    assert cluster.get("pod", "sleeper")["status"]["podIP"].startswith("10.244.")


def _links() -> set[str]:
    """The network interfaces of the machine, not of the test's own network."""
    return {line.split(":")[0].strip() for line in Path("/proc/1/net/dev").read_text().splitlines()[2:]}


def _groups() -> list[Path]:
    """Control groups of test beds, in one hierarchy that every machine has."""
    return [*Path("/sys/fs/cgroup").glob("awm-testbed-*"), *Path("/sys/fs/cgroup/pids").glob("awm-testbed-*")]


def _processes(folder: Path) -> list[int]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(str(folder) in word for word in process.info["cmdline"] or ()):
            found.append(process.pid)
    return found


def _settings() -> list[str]:
    return [(Path("/proc/sys") / each).read_text() for each in SETTINGS]
