"""Reads an image back: what it says of itself, and whether that is true."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from awm_generator.images import assembly, errors, layers, model, seeds
from awm_runtime import errors as runtime_errors
from awm_runtime import names
from awm_runtime.bundle import digest, reading
from awm_runtime.server import keeper
from awm_runtime.server.__main__ import DIGEST_VARIABLE


@dataclass(frozen=True, slots=True)
class Card:
    """An image at a glance.

    Attributes:
        digest: Its digest.
        platforms: What it runs on.
        labels: All its labels.
        layers: Digests and sizes in bytes, the lowest first.
    """

    digest: str
    platforms: tuple[str, ...]
    labels: Mapping[str, str]
    layers: tuple[tuple[str, int], ...]

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "digest": self.digest,
            "platforms": list(self.platforms),
            "labels": dict(self.labels),
            "layers": [{"digest": digest, "size": size} for digest, size in self.layers],
        }


def card(image: model.Image) -> Card:
    """What an image says of itself; its layers are not read."""
    listed = tuple((layer.digest, layer.size) for layer in image.manifests[0].layers)
    return Card(image.digest, image.platforms, image.labels, listed)


def slips(image: model.Image) -> Iterator[str]:
    """What is wrong with a scenario's image, in sentences; nothing where all of it is true.

    The scenario's layer is read, the bundle's digest computed, its database compared with the one that its SQL makes.

    Raises:
        ImageError: It is no scenario's image, or cannot be read.
    """
    if assembly.SCENARIO not in image.labels:
        raise errors.ImageError("it is no scenario's image: it has no label " + assembly.SCENARIO)
    shared = {manifest.layers[-1].digest for manifest in image.manifests}
    if len(shared) != 1:
        yield "its platforms have different scenario layers"
    files = layers.unpack(image.manifests[0].layers[-1])
    for manifest in image.manifests:
        yield from (f"{manifest.platform}: {slip}" for slip in _slips(manifest, files))


def _slips(manifest: model.Manifest, files: Mapping[str, bytes]) -> Iterator[str]:
    labels = manifest.labels
    with tempfile.TemporaryDirectory(prefix="awm-image-") as scratch:
        folder = _written(files, Path(scratch))
        try:
            bundle = reading.read(folder)
        except runtime_errors.BundleError as exc:
            yield str(exc).replace(str(folder), layers.BUNDLE)
            return
    identity = digest.digest(bundle)
    said = {
        assembly.SCENARIO: bundle.scenario.name,
        assembly.GENERATION: str(bundle.scenario.generation),
        assembly.BUNDLE: identity,
        assembly.TOOLS: digest.tools_hash(bundle.tools),
        assembly.SEED: seeds.state_hash(seeds.build(bundle)),
    }
    for label, value in said.items():
        if labels.get(label) != value:
            yield f"the label {label} says {labels.get(label)}, and the bundle has {value}"
    if f"{DIGEST_VARIABLE}={identity}" not in ((manifest.config.get("config") or {}).get("Env") or ()):
        yield f"{DIGEST_VARIABLE} does not name its bundle {identity}: it would not start"
    seed = files.get(f"{layers.SEEDS}/{keeper.seed_name(identity)}")
    if seed is None:
        yield "the bundle's database is missing"
    elif seeds.state_hash(seed) != said[assembly.SEED]:
        yield "its database is not what the bundle's SQL makes"


def _written(files: Mapping[str, bytes], scratch: Path) -> Path:
    """The bundle as files; the paths were checked when the layer was unpacked."""
    for path, content in files.items():
        target = scratch / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return scratch / layers.BUNDLE


def name_of(labels: Mapping[str, str]) -> tuple[str, int] | None:
    """The slug and the generation that labels speak of; None where they are no scenario's."""
    scenario, generation = labels.get(assembly.SCENARIO), labels.get(assembly.GENERATION, "")
    return (names.slug(scenario), int(generation)) if scenario and generation.isdigit() else None
