"""A Kubernetes control plane in namespaces of its own, with simulated nodes, or with a real one (`nodes`).

Pods of simulated nodes are ready by decree: nothing runs in them. Their addresses lead to the loopback interface, so
that a stub (`cluster.stubs`) can answer for all of them.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cluster.testbed import certificates, namespaces

ADDRESS = "10.250.0.1"
SERVER = f"https://{ADDRESS}:6443"
SERVICES = "10.96.0.0/16"
SIMULATED_PODS = "10.245.0.0/16"
ETCD = "http://127.0.0.1:2379"
_NODE_PODS = 200
_SIMULATED_GRACE_S = 600
"""Simulated nodes cannot be lost, but kwok may need a minute to renew their leases after the API server was gone."""
_PATIENCE_S = 60.0

KWOK = """
---
kind: KwokConfiguration
apiVersion: config.kwok.x-k8s.io/v1alpha1
options:
  manageAllNodes: false
  manageNodesWithAnnotationSelector: kwok.x-k8s.io/node=fake
  cidr: 10.245.0.1/16
  nodeIP: 10.250.0.1
  nodePort: 10247
  nodeLeaseDurationSeconds: 40
  nodeLeaseParallelism: 4
  podPlayStageParallelism: 16
  nodePlayStageParallelism: 8
  enablePodCache: true
"""


class Cluster:
    """A running control plane.

    Args:
        programs: The folder of `tools.built`.
        state: An empty folder for everything that it keeps.
        node_grace_s: A node that says nothing for so long is taken for lost.
    """

    def __init__(self, programs: Path, state: Path, *, node_grace_s: int) -> None:
        self.kubeconfig = state / "admin.kubeconfig"
        self.namespaces = namespaces.Namespaces()
        self.state = state
        self._programs = programs
        self._node_grace_s = node_grace_s
        self._issuer = certificates.authority("testbed")
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._launched: dict[str, tuple[str, ...]] = {}
        for each in ("keys", "logs", "etcd"):
            (state / each).mkdir(parents=True)

    def start(self) -> None:
        """Starts etcd, API server, controller manager and scheduler; returns when they serve."""
        run = self.namespaces.run
        run("ip", "link", "add", "node0", "type", "bridge")  # not every kernel has the link type `dummy`
        run("ip", "address", "add", f"{ADDRESS}/32", "dev", "node0")
        run("ip", "link", "set", "node0", "up")
        run("ip", "route", "add", "local", SIMULATED_PODS, "dev", "lo")
        self._write_keys()
        self.launch("etcd", *_etcd(self.state / "etcd"))
        self.launch("kube-apiserver", *_api_server(self.state / "keys"))
        self.wait("the API server", lambda: self.kubectl("get", "--raw", "/readyz") == "ok")
        self.launch("kube-controller-manager", *_controller_manager(self.state, self._node_grace_s))
        self.launch("kube-scheduler", *_scheduler(self.state))
        self.wait("service accounts", lambda: bool(self.kubectl("get", "serviceaccount", "default", "-o", "name")))

    def simulate_nodes(self, count: int) -> None:
        """Adds nodes whose pods become ready without running anything."""
        config = self.state / "kwok.yaml"
        config.write_text((self._programs / "kwok-stages.yaml").read_text() + KWOK)
        arguments = (f"--kubeconfig={self.state}/kwok.kubeconfig", f"--config={config}")
        self.launch("kwok", *arguments, f"--server-address={ADDRESS}:10247", "--node-lease-duration-seconds=40")
        nodes = {"apiVersion": "v1", "kind": "List", "items": [_simulated_node(number) for number in range(count)]}
        self.apply(nodes)
        self.kubectl("wait", "--for=condition=Ready", "node", "--selector=type=kwok", "--timeout=60s")

    def kubectl(self, *arguments: str, input: str | None = None) -> str:
        """What kubectl prints.

        Raises:
            CalledProcessError: It failed; its words are in `stderr`.
        """
        command = self.inside("kubectl", f"--kubeconfig={self.kubeconfig}", *arguments)
        return subprocess.run(command, check=True, capture_output=True, text=True, input=input, timeout=180).stdout

    def apply(self, document: dict[str, Any]) -> None:
        """Applies an object on the server's side."""
        self.kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", input=json.dumps(document))

    def get(self, *arguments: str) -> Any:
        """An object, or a list of objects."""
        return json.loads(self.kubectl("get", *arguments, "--output=json"))

    def inside(self, program: str, *arguments: str) -> list[str]:
        """The command line of one of our programs, or of another by its path, inside."""
        return self.namespaces.inside(self._programs / program, *arguments)

    def launch(self, program: str, *arguments: str) -> None:
        """Starts a part in the background; it is known by the program's name from now on."""
        name = Path(program).name
        self._launched[name] = (program, *arguments)
        self._running[name] = namespaces.started(self.inside(program, *arguments), self.state / "logs" / f"{name}.log")

    def credentials(self, name: str, user: str, group: str | None = None) -> Path:
        """A new kubeconfig for somebody."""
        path = self.state / f"{name}.kubeconfig"
        certificates.kubeconfig(path, SERVER, self._issuer, certificates.issued(self._issuer, user, group=group))
        return path

    def stop(self, name: str) -> None:
        """Kills one part, "kube-apiserver" for example; returns when it has ended."""
        process = self._running.pop(name)
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)  # nsenter is the parent of what it runs, and ends with it
        process.wait()

    def restart_api_server(self) -> None:
        """Starts the API server again after a `stop`, and with it who would look again after a minute only."""
        self.launch("kube-apiserver", *_api_server(self.state / "keys"))
        self.wait("the API server", lambda: self.kubectl("get", "--raw", "/readyz") == "ok")
        for name in self._running.keys() & {"kube-controller-manager", "kube-scheduler"}:
            self.stop(name)
            self.launch(*self._launched[name])

    def wait(self, what: str, seen: Callable[[], bool], *, patience_s: float = _PATIENCE_S) -> None:
        """Waits until something is so.

        Raises:
            TimeoutError: It did not come to be; the message has what the cluster warns of, and its pods.
            RuntimeError: A part ended; the message has its last words.
        """
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            for name, process in self._running.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{name} ended with {process.returncode}: {self._last_words(name)}")
            with contextlib.suppress(subprocess.CalledProcessError, subprocess.TimeoutExpired):
                if seen():
                    return
            time.sleep(0.1)
        raise TimeoutError(f"{what}: not in {patience_s:g} s\n{self._circumstances()}")

    def close(self) -> None:
        """Ends the cluster."""
        self.namespaces.close()
        for process in self._running.values():
            process.kill()
            process.wait()

    def _circumstances(self) -> str:
        everywhere = ("--all-namespaces", "--no-headers")
        seen = ""
        for what in (
            ("events", "--field-selector=type=Warning", "--sort-by=.lastTimestamp"),
            ("pods", "--output=wide"),
        ):
            with contextlib.suppress(subprocess.CalledProcessError, subprocess.TimeoutExpired):
                seen += "\n".join(self.kubectl("get", *what, *everywhere).splitlines()[-10:]) + "\n"
        return seen

    def _last_words(self, name: str) -> str:
        return "\n".join((self.state / "logs" / f"{name}.log").read_text().splitlines()[-5:])

    def _write_keys(self) -> None:
        keys = self.state / "keys"
        issuer, front = self._issuer, certificates.authority("testbed-front")
        issuer.write(keys, "ca")
        front.write(keys, "front-ca")
        names = [ADDRESS, "127.0.0.1", "10.96.0.1", "localhost", "kubernetes.default.svc"]
        certificates.issued(issuer, "kube-apiserver", serves=names).write(keys, "apiserver")
        certificates.issued(front, "front-proxy-client").write(keys, "front-proxy")
        certificates.issued(issuer, "service-accounts").write(keys, "service-accounts")
        certificates.issued(issuer, "api-server", group="system:masters").write(keys, "kubelet-client")
        for name, user, group in (
            ("admin", "admin", "system:masters"),
            ("kwok", "kwok", "system:masters"),
            ("controller-manager", "system:kube-controller-manager", None),
            ("scheduler", "system:kube-scheduler", None),
        ):
            self.credentials(name, user, group)


@contextlib.contextmanager
def simulated(programs: Path, state: Path, *, nodes: int) -> Iterator[Cluster]:
    """A cluster of simulated nodes for the length of a `with` block."""
    cluster = Cluster(programs, state, node_grace_s=_SIMULATED_GRACE_S)
    try:
        cluster.start()
        cluster.simulate_nodes(nodes)
        yield cluster
    finally:
        cluster.close()


def _etcd(folder: Path) -> list[str]:
    return [
        f"--data-dir={folder}",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--unsafe-no-fsync",  # the data is thrown away
        "--quota-backend-bytes=4294967296",
        "--log-level=warn",
    ]


def _api_server(keys: Path) -> list[str]:
    return [
        f"--etcd-servers={ETCD}",
        f"--advertise-address={ADDRESS}",
        f"--service-cluster-ip-range={SERVICES}",
        f"--tls-cert-file={keys}/apiserver.crt",
        f"--tls-private-key-file={keys}/apiserver.key",
        f"--client-ca-file={keys}/ca.crt",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--kubelet-client-certificate={keys}/kubelet-client.crt",
        f"--kubelet-client-key={keys}/kubelet-client.key",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-key-file={keys}/service-accounts.crt",
        f"--service-account-signing-key-file={keys}/service-accounts.key",
        f"--requestheader-client-ca-file={keys}/front-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={keys}/front-proxy.crt",
        f"--proxy-client-key-file={keys}/front-proxy.key",
        "--max-requests-inflight=1600",
        "--max-mutating-requests-inflight=800",
        "--event-ttl=15m",
        "--profiling=false",
    ]


def _controller_manager(state: Path, node_grace_s: int) -> list[str]:
    keys = state / "keys"
    return [
        f"--kubeconfig={state}/controller-manager.kubeconfig",
        "--leader-elect=false",
        "--use-service-account-credentials",
        f"--service-account-private-key-file={keys}/service-accounts.key",
        f"--root-ca-file={keys}/ca.crt",
        "--kube-api-qps=1000",
        "--kube-api-burst=2000",
        "--concurrent-deployment-syncs=20",
        "--concurrent-replicaset-syncs=20",
        f"--node-monitor-grace-period={node_grace_s}s",
        f"--flex-volume-plugin-dir={state}/flex",  # else it makes a folder below /usr
    ]


def _scheduler(state: Path) -> list[str]:
    return [
        f"--kubeconfig={state}/scheduler.kubeconfig",
        "--leader-elect=false",
        "--kube-api-qps=1000",
        "--kube-api-burst=2000",
    ]


def _simulated_node(number: int) -> dict[str, Any]:
    name = f"simulated-{number}"
    room = {"cpu": "64", "memory": "512Gi", "pods": str(_NODE_PODS)}
    labels = {
        "type": "kwok",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
        "status": {"allocatable": room, "capacity": room},
    }
