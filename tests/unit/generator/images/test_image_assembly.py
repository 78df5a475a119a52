"""A layer on a base: what the image says of itself, for one platform and for several."""

import dataclasses
import json

import base_images
import pytest

from awm_generator.images import assembly, errors, inspection, layers, model


def test_the_same_layer_on_the_same_base_is_the_same_image(layer: layers.ScenarioLayer, image: model.Image) -> None:
    assert assembly.assemble(base_images.make(), layer).digest == image.digest
    assert assembly.assemble(base_images.make(filler=b"newer"), layer).digest != image.digest


def test_labels_and_environment_name_the_bundle(layer: layers.ScenarioLayer, image: model.Image) -> None:
    said = image.labels
    assert said["dev.awm.scenario"] == "library"
    assert said["dev.awm.generation"] == said["org.opencontainers.image.version"] == "1"
    assert said["dev.awm.bundle"] == layer.bundle
    assert said["dev.awm.tools"] == layer.tools
    assert said["dev.awm.seed"] == layer.seed
    assert said["dev.awm.runtime"] == base_images.RUNTIME
    assert said["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert f"AWM_BUNDLE_DIGEST={layer.bundle}" in image.manifests[0].config["config"]["Env"]


def test_the_bases_layers_and_process_stay_as_they_are(base: model.Image, image: model.Image) -> None:
    [below], [manifest] = base.manifests, image.manifests
    assert manifest.layers[:-1] == below.layers
    assert manifest.config["rootfs"]["diff_ids"][:-1] == below.config["rootfs"]["diff_ids"]
    assert len(manifest.config["history"]) == len(manifest.layers)
    assert manifest.config["config"]["Entrypoint"] == below.config["config"]["Entrypoint"]
    assert manifest.annotations["org.opencontainers.image.base.digest"] == below.blob.digest


def test_a_base_for_several_platforms_gives_an_index_over_one_scenario_layer(layer: layers.ScenarioLayer) -> None:
    both = assembly.assemble(base_images.make("linux/amd64", "linux/arm64"), layer)
    assert both.platforms == ("linux/amd64", "linux/arm64")
    assert both.root.media_type == model.INDEX
    index = json.loads(both.root.content())
    assert [entry["platform"]["architecture"] for entry in index["manifests"]] == ["amd64", "arm64"]
    assert len({manifest.layers[-1].digest for manifest in both.manifests}) == 1
    assert len({manifest.layers[0].digest for manifest in both.manifests}) == 2
    assert both.for_platform("linux/arm64").platforms == ("linux/arm64",)
    with pytest.raises(errors.ImageError, match="linux/s390x is wanted"):
        both.for_platform("linux/s390x")


def test_a_base_without_our_runtime_is_refused() -> None:
    with pytest.raises(errors.ImageError, match=r"no label dev.awm.runtime"):
        assembly.check_base(base_images.make(labels={}), "registry:example/python")


def test_a_scenarios_image_is_no_base(image: model.Image) -> None:
    with pytest.raises(errors.ImageError, match="the image of the scenario library"):
        assembly.check_base(image, "oci:images")


def test_an_image_is_what_it_says(image: model.Image) -> None:
    assert list(inspection.slips(image)) == []
    assert inspection.name_of(image.labels) == ("library", 1)


@pytest.mark.parametrize("label", ["bundle", "tools", "seed", "generation", "scenario"])
def test_a_label_that_lies_is_found(image: model.Image, label: str) -> None:
    manifest = image.manifests[0]
    process = manifest.config["config"]
    labels = {**process["Labels"], f"dev.awm.{label}": "7"}
    forged = dataclasses.replace(manifest, config={**manifest.config, "config": {**process, "Labels": labels}})
    [slip] = inspection.slips(model.Image((forged,)))
    assert f"dev.awm.{label} says 7" in slip


def test_a_database_that_belongs_to_another_bundle_is_found(base: model.Image, layer: layers.ScenarioLayer) -> None:
    files = layers.unpack(model.Blob.of(layer.content, model.LAYER))
    [name] = [path for path in files if path.startswith(layers.SEEDS)]
    plain = layers.tar({**files, name: b""})
    forged = dataclasses.replace(layer, content=layers.compression.compress(plain), diff_id=model.digest_of(plain))
    [slip] = inspection.slips(assembly.assemble(base, forged))
    assert "not what the bundle's SQL makes" in slip


def test_an_index_of_builders_attestations_is_read_without_them(image: model.Image) -> None:
    both = dataclasses.replace(image, has_index=True)
    index = json.loads(both.root.content())
    index["manifests"].append({**index["manifests"][0], "platform": {"os": "unknown", "architecture": "unknown"}})
    blobs = {blob.digest: blob for blob in (*both.blobs, *both.documents)}
    root = model.Blob.of(model.canonical(index), model.INDEX)
    found = model.resolve(root, lambda kind, digest, _: dataclasses.replace(blobs[digest], media_type=kind))
    assert found.platforms == ("linux/amd64",)
    assert found.digest == root.digest


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"[]", "no JSON object"),
        (b"{", "no JSON"),
        (b"{}", "names something without a digest"),
        (b'{"config": {"digest": "sha256:0", "size": 1}}', "no list of layers"),
    ],
)
def test_a_manifest_that_is_none_is_refused(document: bytes, reason: str) -> None:
    config = model.Blob.of(b"{}", model.CONFIG)
    with pytest.raises(errors.ImageError, match=reason):
        model.resolve(model.Blob.of(document, model.MANIFEST), lambda *_: config)


def test_something_else_than_an_image_is_refused() -> None:
    with pytest.raises(errors.ImageError, match="text/html, no image"):
        model.resolve(model.Blob.of(b"<html>", "text/html"), lambda *_: pytest.fail("nothing to be fetched"))
