"""Runs the commands of docs/kubernetes.md as a platform engineer would paste them, on a node that enforces policies.

What a reader fills in is filled in: the registry, the digest that a push prints, the id of the episode. `make images`
has been run, and the images are where it puts them. The generator's model is the double.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import doubles
import generating
import pytest

from cluster import relays
from cluster.node import worlds
from cluster.testbed import clusters, policies

pytestmark = pytest.mark.timeout(600)  # images may have to be built, and a generation is gated
PAGE = worlds.ROOT / "docs" / "kubernetes.md"
NEXT = "=== next command ==="
IN_USE = """
kubectl scale environment/rover --namespace awm-default --replicas=1 > /dev/null
kubectl wait --for=condition=Ready environment/rover --namespace awm-default --timeout=60s > /dev/null
"""
"""A scenario that is regenerated is awake, as in a fleet that somebody uses."""
OWNER = "meta.helm.sh/release-namespace"
"""Who brought the definition of `Environment`; Helm lets nobody else."""


def commands() -> list[str]:
    """The page's commands, each as one line; those of the test bed are for developers."""
    text = PAGE.read_text(encoding="utf-8").partition("\n## The test bed")[0]
    found: list[str] = []
    for block in re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        lines = block.replace("\\\n", " ").splitlines()
        found += [line[2:] for line in lines if line.startswith("$ ")]
    return found


def filled_in(command: str) -> str:
    """A command of the page with what the reader takes from others' output."""
    done = (
        command.replace("REGISTRY", "$REGISTRY")
        .replace("sha256:...", "$(cat digest)")
        .replace("ep_...", "$(cat episode)")
    )
    done = re.sub(r"\s+#.*$", "", done)
    if done.startswith("docker push"):
        return f"{done} | tee pushed\ngrep -o 'sha256:[0-9a-f]*' pushed > digest"
    if done.startswith("awm episode open"):
        return f"{done} | tee opened\ngrep -o 'ep_[A-Za-z0-9_-]*' opened | head -n 1 > episode"
    if "port-forward" in done:
        [port] = re.findall(r" (\d+):", done)
        answers = f"(: < /dev/tcp/127.0.0.1/{port}) 2> /dev/null"
        return f"{done.removesuffix('&')} > forwarded-{port} 2>&1 &\nuntil {answers}; do sleep 0.1; done"
    if done.startswith("awm fleet regenerate"):
        return f"{IN_USE}\n{done} --gate_level static"  # what the double writes has the sample's defects
    return done


@pytest.fixture(scope="module")
def printed(
    world: worlds.World,
    cluster: clusters.Cluster,
    programs: Path,
    built_images: Path,
    docker_engine: None,
    sample: Path,
    tmp_path_factory: pytest.TempPathFactory,
    missing: Callable[[str, str], NoReturn],
) -> Iterator[dict[str, str]]:
    """What each command printed, by its text on the page."""
    folder = tmp_path_factory.mktemp("reader")
    first, *asked = commands()
    assert first == "make images"
    if subprocess.run(["docker", "image", "inspect", "awm-control:0.1.0"], capture_output=True).returncode:
        missing("docker", "the engine has no awm-control:0.1.0: run `make images`")
    _lay_out(folder, programs, built_images)
    shutil.copytree(sample, folder / "outputs", copy_function=shutil.copyfile)
    worlds.awm("bundle", "import", sample, "--out", folder / "bundles")
    with (
        policies.enforced(cluster),
        relays.registry(cluster) as registry,
        cluster.namespaces.network(),
        doubles.running(sample) as double,
    ):
        _hand_over(cluster, "awm")
        variables = {
            **generating.variables(double),
            "PATH": f"{folder}/bin:{os.environ['PATH']}",
            "KUBECONFIG": str(cluster.kubeconfig),
            "REGISTRY": registry,
        }
        script = f"\necho '{NEXT}'\n".join(map(filled_in, asked))
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"trap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n{script}"],
            cwd=folder,
            env=variables,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        try:
            assert done.returncode == 0, done.stdout + done.stderr
            yield dict(zip(asked, done.stdout.split(f"{NEXT}\n"), strict=True))
        finally:
            _clean(cluster, programs, registry)
            _hand_over(cluster, world.namespace)


def test_the_trial_of_the_page_finds_the_fleet_in_order(printed: dict[str, str]) -> None:
    said = said_by(printed, "helm test")
    assert "judged: " in said
    assert "closed to others, as it should be" in said


def test_the_page_shows_what_kubectl_shows(printed: dict[str, str]) -> None:
    said = said_by(printed, "kubectl get environments")
    shown = PAGE.read_text(encoding="utf-8")
    assert said.splitlines()[0].split() == ["NAME", "STATE", "GENERATION", "TOOLS", "REVISION", "URL", "AGE"]
    assert said.splitlines()[0].split()[:3] == re.search(r"^NAME +STATE +GENERATION", shown, re.MULTILINE)[0].split()
    assert "http://127.0.0.1:8001/t/default/s/library/mcp" in said
    assert "http://127.0.0.1:8001/t/default/s/library/mcp" in shown


def test_the_page_leads_to_a_verdict(printed: dict[str, str]) -> None:
    assert "items" in said_by(printed, "awm call")
    assert "failed" in said_by(printed, "awm episode verify")  # the answer on the page is none


def test_the_page_regenerates_a_scenario_that_is_in_use_and_goes_back(printed: dict[str, str]) -> None:
    said = said_by(printed, "awm fleet regenerate")
    shown = PAGE.read_text(encoding="utf-8").partition("$ awm fleet regenerate")[2].partition("\n```")[0]
    steps = re.compile(r"^(\w+) +\S", re.MULTILINE)
    assert steps.findall(said) == steps.findall(shown)
    assert "serves generation 2" in said.splitlines()[-1]
    assert re.search(r"rover .*ready.* 2 ", said_by(printed, "awm fleet list"))
    assert "serves generation 2" in said_by(printed, "awm fleet rollout status")
    assert "rover goes back to generation 1" in said_by(printed, "awm fleet rollback")


def test_the_page_makes_and_rotates_keys(printed: dict[str, str]) -> None:
    assert "secret/red-keys created" in said_by(printed, "kubectl create secret")
    brought, rotated = (said for command, said in printed.items() if command.startswith("awm token rotate"))
    assert brought
    assert rotated


def said_by(printed: dict[str, str], beginning: str) -> str:
    """What the one command that begins so has printed."""
    [said] = [said for command, said in printed.items() if command.startswith(beginning)]
    return said


def _lay_out(folder: Path, programs: Path, images: Path) -> None:
    """A checkout as the reader has it: chart, images, some bundles, and the programs on the PATH."""
    for name, target in (
        ("helm", worlds.ROOT / "helm"),
        (".awm/images", images),
        ("bundles/library", worlds.EXAMPLES / "library"),
        ("bundles/clinic", worlds.EXAMPLES / "clinic"),
        ("bin/helm", programs / "helm4"),
        ("bin/kubectl", programs / "kubectl"),
        ("bin/awm", worlds.ROOT / ".venv" / "bin" / "awm"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(target)


def _hand_over(cluster: clusters.Cluster, namespace: str) -> None:
    """The page's cluster is empty; this one has the definition of `Environment`, of another release."""
    cluster.kubectl("annotate", "crd", "environments.awm.dev", f"{OWNER}={namespace}", "--overwrite")


def _clean(cluster: clusters.Cluster, programs: Path, registry: str) -> None:
    helm = [programs / "helm4", "uninstall", "fleet", "--namespace=awm", f"--kubeconfig={cluster.kubeconfig}"]
    subprocess.run(helm, capture_output=True, check=False)
    cluster.kubectl("delete", "namespace", "awm", "awm-default", "--ignore-not-found", "--wait=false")
    subprocess.run(["docker", "image", "rm", f"{registry}/awm/control:0.1.0"], capture_output=True, check=False)
