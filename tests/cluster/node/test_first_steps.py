"""Runs the first steps of docs/kubernetes.md as a platform engineer would paste them, on a node that enforces policies.

What a reader fills in is filled in: the registry, the digest that a push prints, the id of the episode. `make images`
has been run, and the images are where it puts them.
"""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from cluster import relays
from cluster.node import worlds
from cluster.testbed import clusters, policies

PAGE = worlds.ROOT / "docs" / "kubernetes.md"
SECTION = "## From an empty cluster to the first verdict"
NEXT = "=== next command ==="
OWNER = "meta.helm.sh/release-namespace"
"""Who brought the definition of `Environment`; Helm lets nobody else."""


def commands() -> list[str]:
    """The section's commands, each as one line."""
    text = PAGE.read_text(encoding="utf-8").partition(SECTION)[2].partition("\n## ")[0]
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
    return done


@pytest.fixture(scope="module")
def printed(
    world: worlds.World,
    cluster: clusters.Cluster,
    programs: Path,
    built_images: Path,
    docker_engine: None,
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
    with policies.enforced(cluster), relays.registry(cluster) as registry, cluster.namespaces.network():
        _hand_over(cluster, "awm")
        variables = {
            **os.environ,
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
            timeout=240,
            check=False,
        )
        try:
            assert done.returncode == 0, done.stdout + done.stderr
            yield dict(zip(asked, done.stdout.split(f"{NEXT}\n"), strict=True))
        finally:
            _clean(cluster, programs, registry)
            _hand_over(cluster, world.namespace)


def test_the_trial_of_the_page_finds_the_fleet_in_order(printed: dict[str, str]) -> None:
    [said] = [output for command, output in printed.items() if command.startswith("helm test")]
    assert "judged: " in said
    assert "closed to others, as it should be" in said


def test_the_page_shows_what_kubectl_shows(printed: dict[str, str]) -> None:
    [said] = [output for command, output in printed.items() if command.startswith("kubectl get environments")]
    shown = PAGE.read_text(encoding="utf-8")
    assert said.splitlines()[0].split() == ["NAME", "STATE", "GENERATION", "TOOLS", "REVISION", "URL", "AGE"]
    assert said.splitlines()[0].split()[:3] == re.search(r"^NAME +STATE +GENERATION", shown, re.MULTILINE)[0].split()
    assert "http://127.0.0.1:8001/t/default/s/library/mcp" in said
    assert "http://127.0.0.1:8001/t/default/s/library/mcp" in shown


def test_the_page_leads_to_a_verdict(printed: dict[str, str]) -> None:
    *_, called, verdict = printed.values()
    assert "items" in called
    assert "failed" in verdict  # the answer on the page is none


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
