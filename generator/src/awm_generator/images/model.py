"""An image as values: blobs, the manifests of its platforms, and the index over them where there are several.

The formats are those of the OCI image specification 1.1; what Docker writes differs in the media types alone.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from awm_generator.images import errors

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEXES = frozenset({INDEX, DOCKER_INDEX})
MANIFESTS = frozenset({MANIFEST, DOCKER_MANIFEST})
_LAYERS = {
    "application/vnd.docker.image.rootfs.diff.tar.gzip": LAYER,
    "application/vnd.docker.image.rootfs.diff.tar": "application/vnd.oci.image.layer.v1.tar",
}
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Blob:
    """Content with a known digest, read when it is needed.

    Attributes:
        media_type: What it is.
        digest: `sha256:...` of the content.
        size: In bytes.
        read: Opens it; gives its bytes in chunks.
        origin: HOST/REPOSITORY of a registry that holds it, if one does.
    """

    media_type: str
    digest: str
    size: int
    read: Callable[[], Iterator[bytes]] = field(compare=False, repr=False)
    origin: str | None = field(default=None, compare=False)

    @classmethod
    def of(cls, content: bytes, media_type: str) -> "Blob":
        """Content that is in memory."""
        return cls(media_type, digest_of(content), len(content), lambda: _chunks(content))

    def chunks(self) -> Iterator[bytes]:
        """The content.

        Raises:
            ImageError: It is not what its digest says.
        """
        seen, size = hashlib.sha256(), 0
        for chunk in self.read():
            seen.update(chunk)
            size += len(chunk)
            yield chunk
        if f"sha256:{seen.hexdigest()}" != self.digest:
            raise errors.ImageError(f"the blob {self.digest} is corrupt: {size} bytes with another digest were read")

    def content(self) -> bytes:
        """All of it."""
        return b"".join(self.chunks())

    def descriptor(self) -> dict[str, Any]:
        """How a manifest speaks of it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True)
class Manifest:
    """An image for one platform.

    Attributes:
        config: Its configuration.
        layers: Its layers, the lowest first.
        annotations: Notes in the manifest itself.
        raw: The manifest and the configuration as they were read; None where they are ours to write.
    """

    config: Mapping[str, Any]
    layers: tuple[Blob, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)
    raw: tuple[Blob, Blob] | None = None

    @property
    def platform(self) -> str:
        """`linux/amd64`, with a variant where there is one."""
        parts = (self.config.get("os"), self.config.get("architecture"), self.config.get("variant"))
        return "/".join(str(part) for part in parts if part)

    @property
    def labels(self) -> dict[str, str]:
        return dict((self.config.get("config") or {}).get("Labels") or {})

    @cached_property
    def config_blob(self) -> Blob:
        return self.raw[1] if self.raw else Blob.of(canonical(self.config), CONFIG)

    @cached_property
    def blob(self) -> Blob:
        """The manifest itself."""
        if self.raw:
            return self.raw[0]
        document: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.config_blob.descriptor(),
            "layers": [layer.descriptor() for layer in self.layers],
        }
        if self.annotations:
            document["annotations"] = dict(self.annotations)
        return Blob.of(canonical(document), MANIFEST)


@dataclass(frozen=True)
class Image:
    """An image: one manifest, or an index over one for each platform.

    Attributes:
        manifests: By platform, in the index's order.
        has_index: Whether an index stands above them.
        raw_index: The index as it was read; None where it is ours to write.
    """

    manifests: tuple[Manifest, ...]
    has_index: bool = False
    raw_index: Blob | None = None

    @cached_property
    def root(self) -> Blob:
        """The index, or the one manifest; its digest is the image's."""
        if self.raw_index is not None:
            return self.raw_index
        if not self.has_index:
            return self.manifests[0].blob
        entries = [
            {**manifest.blob.descriptor(), "platform": _platform(manifest.config)} for manifest in self.manifests
        ]
        return Blob.of(canonical({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}), INDEX)

    @property
    def digest(self) -> str:
        return self.root.digest

    @property
    def platforms(self) -> tuple[str, ...]:
        return tuple(manifest.platform for manifest in self.manifests)

    @property
    def labels(self) -> dict[str, str]:
        """The labels that all platforms share."""
        return self.manifests[0].labels

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """Layers and configurations, each once."""
        every = [blob for manifest in self.manifests for blob in (*manifest.layers, manifest.config_blob)]
        return tuple({blob.digest: blob for blob in every}.values())

    @property
    def documents(self) -> tuple[Blob, ...]:
        """The manifests, and the index after what it names."""
        below = tuple(manifest.blob for manifest in self.manifests)
        return (*below, self.root) if self.has_index else below

    @property
    def size(self) -> int:
        """What is sent of the first platform, in bytes."""
        return sum(layer.size for layer in self.manifests[0].layers)

    def for_platform(self, platform: str) -> "Image":
        """The image of one platform alone.

        Raises:
            ImageError: There is none for it.
        """
        fitting = [
            each for each in self.manifests if each.platform == platform or each.platform.startswith(f"{platform}/")
        ]
        if not fitting:
            raise errors.ImageError(f"it is for {', '.join(self.platforms)}, and {platform} is wanted")
        return Image((fitting[0],))


def digest_of(content: bytes) -> str:
    """`sha256:...` of some content."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def canonical(document: Mapping[str, Any]) -> bytes:
    """A document as JSON that is the same everywhere."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def parse(content: bytes, place: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ImageError: It is none.
    """
    try:
        document = json.loads(content)
    except ValueError as exc:
        raise errors.ImageError(f"{place} is no JSON: {exc}") from exc
    if not isinstance(document, dict):
        raise errors.ImageError(f"{place} is no JSON object")
    return document


def resolve(root: Blob, get: Callable[[str, str, int], Blob]) -> Image:
    """An image out of its root.

    Args:
        root: The index or manifest.
        get: Gives the blob of a media type, a digest and a size.

    Raises:
        ImageError: Something that it needs is missing or broken, or it is of an unknown kind.
    """
    if root.media_type in MANIFESTS:
        return Image((_manifest(root, get),))
    if root.media_type not in INDEXES:
        raise errors.ImageError(f"{root.digest} is a {root.media_type or 'thing of no media type'}, no image")
    document = parse(root.content(), f"the index {root.digest}")
    entries = [entry for entry in _list(document, "manifests", root.digest) if _is_image(entry)]
    if not entries:
        raise errors.ImageError(f"the index {root.digest} names no image")
    manifests = tuple(_manifest(get(*_described(entry, root.digest)), get) for entry in entries)
    return Image(manifests, has_index=True, raw_index=root)


def _manifest(blob: Blob, get: Callable[[str, str, int], Blob]) -> Manifest:
    document = parse(blob.content(), f"the manifest {blob.digest}")
    config = get(*_described(document.get("config"), blob.digest))
    layers = tuple(
        get(_LAYERS.get(kind, kind), digest, size)
        for kind, digest, size in (_described(entry, blob.digest) for entry in _list(document, "layers", blob.digest))
    )
    values = parse(config.content(), f"the configuration {config.digest}")
    if len((values.get("rootfs") or {}).get("diff_ids") or ()) != len(layers):
        raise errors.ImageError(f"the manifest {blob.digest} and its configuration name different numbers of layers")
    return Manifest(values, layers, document.get("annotations") or {}, raw=(blob, config))


def _list(document: Mapping[str, Any], name: str, digest: str) -> list[Any]:
    value = document.get(name)
    if not isinstance(value, list):
        raise errors.ImageError(f"{digest} has no list of {name}")
    return value


def _described(entry: object, digest: str) -> tuple[str, str, int]:
    if (
        not isinstance(entry, dict)
        or not isinstance(entry.get("digest"), str)
        or not isinstance(entry.get("size"), int)
    ):
        raise errors.ImageError(f"{digest} names something without a digest or a size")
    return str(entry.get("mediaType", "")), entry["digest"], entry["size"]


def _is_image(entry: object) -> bool:
    """Not one of the attestations that builders put into an index."""
    platform = entry.get("platform") if isinstance(entry, dict) else None
    return not isinstance(platform, dict) or platform.get("os") != "unknown"


def _platform(config: Mapping[str, Any]) -> dict[str, str]:
    return {name: config[name] for name in ("architecture", "os", "os.version", "variant") if config.get(name)}


def _chunks(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), _CHUNK):
        yield content[start : start + _CHUNK]
