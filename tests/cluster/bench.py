"""`python -m cluster.bench`: a thousand scenarios on simulated nodes, and a few on a real one.

The table goes to standard error, JSON to standard output. Handshakes are real; one stub answers them for all pods.
"""

import argparse
import contextlib
import functools
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import charts
import httpx
import psutil
from bench import report

from awm_fleet.backends.kubernetes import names
from awm_registry import client
from cluster import fleets, releases, stubs
from cluster.node import bench as real
from cluster.testbed import clusters, tools

_PATIENCE_S = 600.0
Row = dict[str, Any]


def main() -> None:
    """Measures, and prints what was seen."""
    parser = argparse.ArgumentParser(prog="python -m cluster.bench", description=__doc__)
    parser.add_argument("--scenarios", type=int, default=1000)
    parser.add_argument(
        "--helm", choices=charts.HELMS, action="append", help="with this Helm only; by default with both"
    )
    parser.add_argument("--only", choices=["simulated", "node"], help="one kind of nodes alone")
    parser.add_argument("--images", type=Path, default=Path(".awm/images"), help="what `make images` made")
    given = parser.parse_args()
    programs = tools.built()
    if programs is None:
        sys.exit("the programs of Kubernetes are not built: run `make testbed`")
    if given.only != "simulated" and not (given.images / "awm-control").is_dir():
        sys.exit(f"{given.images} has no images for the real node: run `make images`, or give --only simulated")
    rows: list[Row] = []

    def note(what: str, value: float, unit: str) -> None:
        rows.append({"what": what, "value": round(value, 1), "unit": unit})
        print(f"{what:<64} {value:>10.1f} {unit}", file=sys.stderr, flush=True)

    if given.only != "node":
        _simulated(programs, given.scenarios, given.helm or charts.HELMS, note)
    if given.only != "simulated":
        real.measure(programs, given.images, note)
    print(json.dumps({"machine": report.machine(), "scenarios": given.scenarios, "rows": rows}, indent=1))


def _simulated(programs: Path, scenarios: int, helms: Sequence[str], note: real.Note) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="awm-bench-") as folder,
        clusters.simulated(programs, Path(folder) / "cluster", nodes=scenarios // 150 + 2) as cluster,
        cluster.namespaces.network(),
        stubs.serving() as stub,
    ):
        for helm in helms:
            made = Path(folder) / helm
            made.mkdir()
            release = releases.Release(cluster, programs / helm, made)
            release.teams[:] = [{**release.teams[0], "quota": {"pods": 4 * scenarios}}]
            measured = _Life(release, stub, scenarios, programs / "kubectl", functools.partial(_prefixed, note, helm))
            measured.measure()
            # The next one brings the definition itself.
            cluster.kubectl("delete", "crd", "environments.awm.dev", "--wait=true")


def _prefixed(note: real.Note, helm: str, what: str, value: float, unit: str) -> None:
    note(f"{helm}: {what}", value, unit)


class _Life:
    """A release from `helm install` to `helm uninstall`."""

    def __init__(self, release: releases.Release, stub: stubs.Stub, count: int, kubectl: Path, note: real.Note) -> None:
        self._release = release
        self._stub = stub
        self._count = count
        self._kubectl = kubectl
        self._note = note
        self._space = str(release.teams[0]["namespace"])
        [self._port] = fleets.free_ports(1)

    def measure(self) -> None:
        self._stub.asked.clear()
        self._release.index(*(fleets.entry(f"scenario_{number}") for number in range(self._count)))
        self._install()
        self._restart()
        begun = time.monotonic()
        self._release.helm("uninstall")
        self._note("helm uninstall", time.monotonic() - begun, "s")
        _until(lambda: self._release.get("environments,deployments,pods", self._space, "--chunk-size=0") == [])
        self._note("nothing left, from helm uninstall on", time.monotonic() - begun, "s")
        self._release.index(*(fleets.real_entry(number) for number in range(self._count)))
        self._release.helm("install")
        share = self._release.size() / releases.MOST_OF_A_SECRET
        self._note("of Helm's limit taken by a release with real digests", 100 * share, "%")
        self._release.helm("uninstall")

    def _install(self) -> None:
        begun = time.monotonic()
        self._release.helm("install", "--create-namespace")
        self._note("helm install", time.monotonic() - begun, "s")
        with self._release.controller() as process, _followed(self._release, self._kubectl) as conditions:
            for what in ("Accepted", "Ready"):
                _until(lambda what=what: _with(conditions, what) == self._count)
                self._note(f"{self._count} {what}, from helm install on", time.monotonic() - begun, "s")
            self._note("handshakes", sum(self._stub.asked.values()), "")
            self._note("memory of the controller", _memory(process), "MiB")
            self._routed()
            before = _versions(self._release)
            for verb, *arguments in (("upgrade",), ("rollback", "1")):
                begun = time.monotonic()
                self._release.helm(verb, *arguments)
                self._note(f"helm {verb} without a change", time.monotonic() - begun, "s")
                self._note("objects changed by it", _changed(before, _versions(self._release)), "")

    def _routed(self) -> None:
        begun = time.monotonic()
        with self._release.router() as router:
            self._note("a router has heard of all", time.monotonic() - begun, "s")
            with client.SyncFleet(f"{router.control}/t/red", token=router.token("red")) as trainer:
                assert len(list(trainer.scenarios())) == self._count
            self._note("memory of a router", _memory(router.process), "MiB")

    def _restart(self) -> None:
        """A second controller finds everything as the first one left it; then it regenerates one scenario."""
        self._stub.asked.clear()
        before = _versions(self._release)
        begun = time.monotonic()
        with self._release.controller(port=self._port) as process:
            _until(lambda: self._told("awm_controller_environments{") == self._count)
            self._note("a restarted controller has looked at all", time.monotonic() - begun, "s")
            writes = self._told("awm_controller_writes ")
            self._note("writes by it", writes, "")
            self._note("objects changed by it", _changed(before, _versions(self._release)), "")
            self._note("handshakes by it", sum(self._stub.asked.values()), "")
            self._note("memory of it", _memory(process), "MiB")
            self._regenerate()
            self._note(
                "writes of one regeneration, beside its patch", self._told("awm_controller_writes ") - writes, ""
            )

    def _regenerate(self) -> None:
        changed = fleets.entry("scenario_0", generation=2)
        patch = json.dumps({"spec": {"image": changed["image"], "bundleGeneration": 2}})
        name, here = names.environment("scenario_0"), f"--namespace={self._space}"
        self._release.cluster.kubectl("patch", "environment", name, "--type=merge", f"--patch={patch}", here)
        selected = f"--selector={names.ENVIRONMENT}={name}"
        cluster = self._release.cluster
        _until(lambda: cluster.get("environment", name, here)["status"]["bundleGeneration"] == 2)
        _until(lambda: "drainingSince" not in cluster.get("environment", name, here)["status"])
        _until(lambda: len(self._release.get("deployments", self._space, selected)) == 1)

    def _told(self, metric: str) -> float:
        """The sum of what the controller says of a metric; 0 until it answers."""
        try:
            lines = httpx.get(f"http://127.0.0.1:{self._port}/metrics", timeout=10).text.splitlines()
        except httpx.TransportError:
            return 0
        return sum(float(each.rsplit(" ", 1)[1]) for each in lines if each.startswith(metric))


def _memory(process: fleets.Process) -> float:
    return float(psutil.Process(process.pid).memory_info().rss / 2**20)


def _until(seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not seen():
        if time.monotonic() > deadline:
            sys.exit("not in time")
        time.sleep(0.5)


@contextlib.contextmanager
def _followed(release: releases.Release, kubectl: Path) -> Iterator[Mapping[str, set[str]]]:
    """What is true of each environment, from a watch: lists of a thousand would slow down what is measured."""
    conditions: dict[str, set[str]] = {}
    shown = 'jsonpath={.metadata.name}{" "}{.status.conditions[*].type}{" "}{.status.conditions[*].status}{"\\n"}'
    command = [kubectl, f"--kubeconfig={release.cluster.kubeconfig}", "get", "environments", "--watch"]
    command += [f"--namespace={release.teams[0]['namespace']}", f"--output={shown}"]

    def follow(lines: IO[str]) -> None:
        for line in lines:
            if not line.strip():  # kubectl's, when the API server ends a watch
                continue
            name, *words = line.split()  # all types, then all states
            half = len(words) // 2
            conditions[name] = {kind for kind, state in zip(words[:half], words[half:], strict=True) if state == "True"}

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        thread = threading.Thread(target=follow, args=[watch.stdout])
        thread.start()
        try:
            yield conditions
        finally:
            watch.terminate()
            thread.join()


def _with(conditions: Mapping[str, set[str]], kind: str) -> int:
    return sum(kind in each for each in tuple(conditions.values()))


def _versions(release: releases.Release) -> dict[str, str]:
    objects = release.get("environments,deployments", release.teams[0]["namespace"])
    return {each["metadata"]["uid"]: each["metadata"]["resourceVersion"] for each in objects}


def _changed(before: dict[str, str], after: dict[str, str]) -> int:
    return sum(after.get(uid) != version for uid, version in before.items())


if __name__ == "__main__":
    main()
