"""A base image for tests: as small as an image can be, with the label that says what is in it."""

import io
import tarfile

from awm_generator.images import compression, model

RUNTIME = "0.1.0"


def make(*platforms: str, labels: dict[str, str] | None = None, filler: bytes = b"base") -> model.Image:
    """A base for some platforms, by default for linux/amd64; several have an index over them.

    Args:
        platforms: Such as `linux/arm64`.
        labels: In place of the runtime's.
        filler: What its one layer holds, beside the platform's name.
    """
    chosen = platforms or ("linux/amd64",)
    manifests = tuple(_manifest(platform, labels, filler) for platform in chosen)
    return model.Image(manifests, has_index=len(chosen) > 1)


def _manifest(platform: str, labels: dict[str, str] | None, filler: bytes) -> model.Manifest:
    system, _, architecture = platform.partition("/")
    plain = _tar(platform.encode() + filler)
    config = {
        "architecture": architecture,
        "os": system,
        "created": "2026-01-01T00:00:00Z",
        "config": {
            "Entrypoint": ["/opt/awm/bin/python"],
            "Env": ["PATH=/opt/awm/bin"],
            "Labels": {"dev.awm.runtime": RUNTIME} if labels is None else labels,
        },
        "history": [{"created_by": "tests"}],
        "rootfs": {"type": "layers", "diff_ids": [model.digest_of(plain)]},
    }
    return model.Manifest(config, (model.Blob.of(compression.compress(plain), model.LAYER),))


def _tar(content: bytes) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        entry = tarfile.TarInfo("base")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return output.getvalue()
