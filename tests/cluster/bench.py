"""`python -m cluster.bench`: a thousand scenarios on simulated nodes, and a few on a real one.

The table goes to standard error, JSON to standard output. Handshakes are real; one stub answers them for all pods.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import psutil
from bench import report

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
        print(f"{what:<60} {value:>10.1f} {unit}", file=sys.stderr, flush=True)

    if given.only != "node":
        _simulated(programs, given.scenarios, note)
    if given.only != "simulated":
        real.measure(programs, given.images, note)
    print(json.dumps({"machine": report.machine(), "scenarios": given.scenarios, "rows": rows}, indent=1))


def _simulated(programs: Path, scenarios: int, note: real.Note) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="awm-bench-") as folder,
        clusters.simulated(programs, Path(folder) / "cluster", nodes=scenarios // 150 + 2) as cluster,
        cluster.namespaces.network(),
        stubs.serving() as stub,
    ):
        release = releases.Release(cluster, programs / "helm4", Path(folder))
        release.teams = [{**release.teams[0], "quota": {"pods": 4 * scenarios}}]
        release.values["teams"] = release.teams
        release.index(*(fleets.entry(f"scenario_{number}") for number in range(scenarios)))
        _measure(release, stub, scenarios, programs / "kubectl", note)


def _measure(release: releases.Release, stub: stubs.Stub, count: int, kubectl: Path, note: real.Note) -> None:
    begun = time.monotonic()
    release.helm("install", "--create-namespace")
    note("helm install", time.monotonic() - begun, "s")
    with release.controller() as process, _followed(release, kubectl) as conditions:
        _until(lambda: _with(conditions, "Accepted") == count)
        note(f"{count} environments accepted, from helm install on", time.monotonic() - begun, "s")
        _until(lambda: _with(conditions, "Ready") == count)
        note(f"{count} environments ready, from helm install on", time.monotonic() - begun, "s")
        note("handshakes", sum(stub.asked.values()), "")
        note("memory of the controller", psutil.Process(process.pid).memory_info().rss / 2**20, "MiB")
        begun = time.monotonic()
        with release.router() as router:
            note("a router has heard of all", time.monotonic() - begun, "s")
            with client.SyncFleet(f"{router.control}/t/red", token=router.token("red")) as trainer:
                assert len(list(trainer.scenarios())) == count
            note("memory of a router", psutil.Process(router.process.pid).memory_info().rss / 2**20, "MiB")
        before = _versions(release)
        begun = time.monotonic()
        release.helm("upgrade")
        note("helm upgrade without a change", time.monotonic() - begun, "s")
        note("objects changed by it", _changed(before, _versions(release)), "")
    stub.asked.clear()
    extra = "zebra"
    release.index(
        *(fleets.entry(f"scenario_{number}") for number in range(count)),
        fleets.entry(extra),
    )
    begun = time.monotonic()
    with release.controller() as process, _followed(release, kubectl) as conditions:
        _until(lambda: "Ready" in conditions.get(extra, ()))
        note("a restarted controller has looked at all, and served one more", time.monotonic() - begun, "s")
        note("objects changed by it", _changed(before, _versions(release)), "")
        note("handshakes beside the new one's", sum(stub.asked.values()) - 1, "")
        note("memory of the controller", psutil.Process(process.pid).memory_info().rss / 2**20, "MiB")
    begun = time.monotonic()
    release.helm("uninstall")
    space = release.teams[0]["namespace"]
    _until(lambda: release.get("environments,deployments,pods", space, "--chunk-size=0") == [])
    note("helm uninstall until nothing is left", time.monotonic() - begun, "s")


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
