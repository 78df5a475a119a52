"""A real node of a cluster: containerd, kubelet, kube-proxy, a bridge for pods, and DNS, in the cluster's namespaces.

What these programs would leave on the machine stays inside: /run, /var/lib and /var/log are private, in memory, and so
are the kernel's settings that kubelet makes. Pods' control groups are in a group of the node's own.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from cluster.testbed import cgroups, clusters, registries

NAME = "node-0"
PODS = "10.244.0.0/16"
NEEDS = {
    "containerd": "containerd",
    "runc": "runc",
    "nft": "nftables",
    "docker-registry": "docker-registry",
    "busybox": "busybox-static",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
}
"""Programs that are not built by `tools`, and Debian's packages of them."""

GRACE_S = 12
_SOCKET = "/run/containerd/containerd.sock"
_PRIVATE = ("/run", "/var/lib", "/var/log")
_SETTINGS = {  # what kubelet wants to see, and would write
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def lacking() -> list[str]:
    """Debian's packages that are not there."""
    return sorted({package for program, package in NEEDS.items() if shutil.which(program) is None})


@contextlib.contextmanager
def real(programs: Path, state: Path) -> Iterator[clusters.Cluster]:
    """A cluster of one real node and an image registry for the length of a `with` block."""
    with cgroups.own() as group:
        cluster = clusters.Cluster(programs, state, node_grace_s=GRACE_S)
        try:
            cluster.start()
            _seclude(cluster)
            with cluster.namespaces.network():
                registries.start(cluster)
                registries.put("pause", registries.pause())
            _start(cluster, group)
            yield cluster
        finally:
            cluster.close()


def stop_kubelet(cluster: clusters.Cluster) -> None:
    """Ends kubelet; the node's pods run on, and the node is lost after `GRACE_S`."""
    cluster.stop("kubelet")


def start_kubelet(cluster: clusters.Cluster) -> None:
    """Starts kubelet; returns when the node is ready."""
    state = cluster.state
    arguments = [f"--config={state}/kubelet.yaml", f"--kubeconfig={state}/kubelet.kubeconfig"]
    cluster.launch("kubelet", *arguments, f"--hostname-override={NAME}", f"--node-ip={clusters.ADDRESS}")
    cluster.wait("the node", lambda: _is_ready(cluster))


def images(cluster: clusters.Cluster) -> set[str]:
    """The digests of the images that the node holds."""
    return {each.rpartition("@")[2] for each in _ctr(cluster, "images", "list", "--quiet").split() if "@" in each}


def forget(cluster: clusters.Cluster, image: str) -> None:
    """Removes an image from the node, with what no other needs."""
    digest = image.rpartition("@")[2]
    named = _ctr(cluster, "images", "list", "--quiet", f"target.digest=={digest}").split()
    _ctr(cluster, "images", "remove", "--sync", *named)


def _start(cluster: clusters.Cluster, group: str) -> None:
    _configure(cluster.state, group)
    cluster.credentials("kubelet", f"system:node:{NAME}", "system:nodes")
    cluster.credentials("kube-proxy", "system:kube-proxy")
    cluster.credentials("coredns", "coredns", "system:masters")
    cluster.launch(str(shutil.which("containerd")), f"--config={cluster.state}/containerd.toml")
    cluster.wait("containerd", lambda: bool(_ctr(cluster, "version")))
    cluster.launch("kube-proxy", f"--config={cluster.state}/kube-proxy.yaml")
    cluster.launch("coredns", f"-conf={cluster.state}/Corefile")
    start_kubelet(cluster)


def _seclude(cluster: clusters.Cluster) -> None:
    """Puts private folders and files over those of the machine that would be written to."""
    run = cluster.namespaces.run
    for folder in _PRIVATE:
        run("mount", "-t", "tmpfs", "-o", "mode=755", "testbed", folder)
    for name, value in _SETTINGS.items():
        file = cluster.state / "settings" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")
        run("mount", "--bind", file, Path("/proc/sys") / name)
    for name in ("net.ipv4.ip_forward", "net.bridge.bridge-nf-call-iptables"):  # those are the namespace's
        run("sysctl", "--quiet", "--write", f"{name}=1")
    run("ip", "route", "add", clusters.SERVICES, "dev", "node0")  # a way out first; then kube-proxy sees who is meant


def _configure(state: Path, group: str) -> None:
    hosts = state / "registries" / registries.HOST
    for folder in (state / "cni", hosts):
        folder.mkdir(parents=True)
    (hosts / "hosts.toml").write_text(f'[host."http://{registries.HOST}"]\n')
    (state / "resolv.conf").touch()
    (state / "cni" / "10-bridge.conflist").write_text(json.dumps(_BRIDGE))
    (state / "containerd.toml").write_text(
        _CONTAINERD.format(state=state, pause=f"{registries.HOST}/{registries.PAUSE}")
    )
    (state / "kubelet.yaml").write_text(yaml.safe_dump(_kubelet(state, group)))
    (state / "kube-proxy.yaml").write_text(yaml.safe_dump(_kube_proxy(state)))
    (state / "Corefile").write_text(_COREFILE.format(state=state, address=clusters.ADDRESS))


def _is_ready(cluster: clusters.Cluster) -> bool:
    conditions = cluster.get("node", NAME)["status"]["conditions"]
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _ctr(cluster: clusters.Cluster, *arguments: str) -> str:
    return cluster.namespaces.run("ctr", f"--address={_SOCKET}", "--namespace=k8s.io", *arguments)


def _kubelet(state: Path, group: str) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{_SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{group}",
        "failSwapOn": False,
        "failCgroupV1": False,
        "oomScoreAdj": 0,  # less takes a right that a container may lack, as do more open files
        "maxOpenFiles": 20000,
        "address": clusters.ADDRESS,
        "healthzPort": 0,
        "authentication": {"x509": {"clientCAFile": f"{state}/keys/ca.crt"}, "anonymous": {"enabled": False}},
        "authorization": {"mode": "Webhook"},
        "clusterDomain": "cluster.local",
        "clusterDNS": [clusters.ADDRESS],
        "resolvConf": f"{state}/resolv.conf",
        "makeIPTablesUtilChains": False,
        "volumePluginDir": f"{state}/flex",
        "serializeImagePulls": False,
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi"},  # a full disk of the machine is no reason here
        "nodeStatusUpdateFrequency": "2s",
        "nodeLeaseDurationSeconds": GRACE_S // 2,
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
    }


def _kube_proxy(state: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": PODS,
        "hostnameOverride": NAME,
        "bindAddress": clusters.ADDRESS,
        "oomScoreAdj": 0,
        "clientConnection": {"kubeconfig": f"{state}/kube-proxy.kubeconfig"},
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "nftables": {"minSyncPeriod": "100ms", "syncPeriod": "30s"},
    }


_BRIDGE = {
    "cniVersion": "1.0.0",
    "name": "pods",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "pods0",
            "isGateway": True,
            "hairpinMode": True,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}]},
        }
    ],
}
_CONTAINERD = """
version = 2
oom_score = 0
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt",
]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "{state}/cni"
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "{state}/registries"
"""
_COREFILE = """
.:53 {{
    bind {address}
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {state}/coredns.kubeconfig
        pods insecure
        ttl 1
    }}
    template ANY ANY . {{
        rcode NXDOMAIN
    }}
}}
"""
