"""An image registry in a cluster's network, and what is pushed into it by the project's own code."""

import io
import platform
import shutil
import tarfile
import urllib.error
import urllib.request

import yaml

from awm_generator.images import model, outputs, references, sources
from cluster.testbed import clusters

HOST = f"{clusters.ADDRESS}:5000"
PAUSE = "awm/pause:1"
_ACCESS = sources.Access(plain_http=True)
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def start(cluster: clusters.Cluster) -> None:
    """Serves at `HOST` until the cluster ends."""
    config = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": "/var/lib/registry"}, "delete": {"enabled": True}},
        "http": {"addr": HOST},
    }
    file = cluster.state / "registry.yaml"
    file.write_text(yaml.safe_dump(config))
    cluster.launch(str(shutil.which("docker-registry")), "serve", str(file))
    cluster.wait("the image registry", _answers)


def push(reference: str, name: str, *, generation: int = 1) -> str:
    """Pushes an image of an OCI layout, an archive or an engine; returns how the nodes call it, by its digest."""
    with sources.opened(references.parse(reference), _ACCESS) as image:
        return put(name, image, generation=generation)


def put(name: str, image: model.Image, *, generation: int = 1) -> str:
    """Pushes an image; returns how the nodes call it, by its digest."""
    with outputs.opened(references.parse(f"registry:{HOST}/awm"), _ACCESS) as output:
        [stored] = output.put([(name, generation, image)])
    return stored.reference.removeprefix("registry:")


def pause() -> model.Image:
    """What holds a pod's namespaces: a program that sleeps."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        archive.add(str(shutil.which("busybox")), "busybox")
    content = layer.getvalue()
    config = {
        "os": "linux",
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "config": {"Entrypoint": ["/busybox", "sleep", "infinity"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [model.digest_of(content)]},
    }
    return model.Image((model.Manifest(config, (model.Blob.of(content, "application/vnd.oci.image.layer.v1.tar"),)),))


def _answers() -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}/v2/", timeout=5) as answer:
            return bool(answer.status == 200)
    except urllib.error.URLError:
        return False
