"""Puts a scenario's layer on a base: for each platform of it a configuration and a manifest, all over the one layer."""

from collections.abc import Mapping
from typing import Any

from awm_generator.images import errors, layers, model
from awm_runtime.server.__main__ import DIGEST_VARIABLE

RUNTIME = "dev.awm.runtime"
SCENARIO = "dev.awm.scenario"
GENERATION = "dev.awm.generation"
BUNDLE = "dev.awm.bundle"
TOOLS = "dev.awm.tools"
SEED = "dev.awm.seed"

_EPOCH = "1970-01-01T00:00:00Z"
_OCI = "org.opencontainers.image."
_CONFIGURATION = ("architecture", "author", "created", "os", "os.features", "os.version", "variant")


def check_base(base: model.Image, name: str) -> None:
    """Refuses a base that no scenario can run on.

    Args:
        base: The image.
        name: What the person called it.

    Raises:
        ImageError: The environment server is not in it, or it is a scenario's image already.
    """
    for manifest in base.manifests:
        if not manifest.labels.get(RUNTIME):
            raise errors.ImageError(
                f"{name} has no label {RUNTIME}, so the environment server is not in it; `make images` builds a base"
            )
        if SCENARIO in manifest.labels:
            raise errors.ImageError(
                f"{name} is the image of the scenario {manifest.labels[SCENARIO]}; a base has no scenario yet"
            )


def assemble(base: model.Image, layer: layers.ScenarioLayer) -> model.Image:
    """The image of a scenario. The same layer on the same base is the same image."""
    blob = model.Blob.of(layer.content, model.LAYER)
    manifests = tuple(_manifest(each, layer, blob) for each in base.manifests)
    return model.Image(manifests, has_index=base.has_index)


def _manifest(base: model.Manifest, layer: layers.ScenarioLayer, blob: model.Blob) -> model.Manifest:
    config = {name: base.config[name] for name in _CONFIGURATION if name in base.config}
    config["config"] = _process(base.config.get("config") or {}, base.labels, layer)
    config["history"] = [
        *(base.config.get("history") or ()),
        {"created": _EPOCH, "created_by": "awm image build", "comment": f"scenario {layer.scenario}"},
    ]
    config["rootfs"] = {"type": "layers", "diff_ids": [*base.config["rootfs"]["diff_ids"], layer.diff_id]}
    annotations = {f"{_OCI}base.digest": base.blob.digest}
    return model.Manifest(config, (*base.layers, blob), annotations)


def _process(base: Mapping[str, Any], labels: Mapping[str, str], layer: layers.ScenarioLayer) -> dict[str, Any]:
    environment = [each for each in base.get("Env") or () if not each.startswith(f"{DIGEST_VARIABLE}=")]
    return {
        **{name: value for name, value in base.items() if value is not None and name != "Image"},
        "Env": [*environment, f"{DIGEST_VARIABLE}={layer.bundle}"],
        "Labels": {**labels, **_labels(layer)},
    }


def _labels(layer: layers.ScenarioLayer) -> dict[str, str]:
    ours = {
        SCENARIO: layer.scenario,
        GENERATION: str(layer.generation),
        BUNDLE: layer.bundle,
        TOOLS: layer.tools,
        SEED: layer.seed,
        f"{_OCI}title": layer.title,
        f"{_OCI}description": layer.description,
        f"{_OCI}version": str(layer.generation),
    }
    return {**ours, f"{_OCI}licenses": layer.license} if layer.license else ours
