"""From images in a registry to a catalogue, from there to an artifact, and from that to a fleet that serves it."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import base_images
import bundles
import commands
import faulty_registry
import local_fleets
import pytest

from awm_fleet import catalogue_artifacts, catalogue_images
from awm_generator.images import assembly, compression, errors, layers, layouts, registries, sources
from awm_generator.images import model as images
from awm_registry.catalogue import model, snapshots

ACCESS = sources.Access()


@dataclasses.dataclass(frozen=True)
class Shop:
    """A registry with the images of two scenarios, and the folder of their bundles."""

    host: str
    bundles: Path
    images: dict[str, images.Image]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("bundles")
    for name, tier in (("shop", "gold"), ("bakery", None)):
        bundles.make(folder / name, bundles.SHOP, tier=tier, generation=3)
    made = {name: assembly.assemble(base_images.make(), layers.build(folder / name)) for name in ("shop", "bakery")}
    with faulty_registry.running(faulty_registry.State()) as host:
        for name, image in made.items():
            _push(host, f"awm/{name}", image)
        yield Shop(host, folder, made)


def _push(host: str, repository: str, image: images.Image, tag: str = "3", *, ca: Path | None = None) -> None:
    registry = registries.Registry(host, ca=ca)
    for blob in image.blobs:
        registry.upload(repository, blob)
    registry.put_manifest(repository, tag, image.root)
    registry.close()


@pytest.fixture
def awm(capsys: pytest.CaptureFixture[str]) -> commands.Awm:
    return commands.Awm(capsys)


@pytest.fixture
def catalogue(shop: Shop, awm: commands.Awm, tmp_path: Path) -> Path:
    """Built from images alone."""
    references = [f"registry:{shop.host}/awm/{name}:3" for name in shop.images]
    awm.done("catalog", "build", *references, "--out", tmp_path / "catalogue")
    return tmp_path / "catalogue"


def _row(catalogue: Path, name: str) -> model.Entry:
    return snapshots.load(catalogue).entry(name)


def test_images_become_rows_with_their_digests_and_all_that_is_said_of_their_bundles(
    shop: Shop, catalogue: Path
) -> None:
    row = _row(catalogue, "shop")
    assert (row.image, row.generation) == (f"{shop.host}/awm/shop@{shop.images['shop'].digest}", 3)
    assert (row.tier, row.folder) == (None, None)
    snapshot = snapshots.load(catalogue)
    assert snapshot.faults == ()
    assert [tool["name"] for tool in snapshot.tools(row)][:2] == ["list_items", "rename_item"]


def test_bundles_and_the_images_that_hold_them_become_one_row_each(
    shop: Shop, awm: commands.Awm, tmp_path: Path
) -> None:
    image = f"registry:{shop.host}/awm/shop:3"
    built = awm.done("catalog", "build", shop.bundles, image, "--out", tmp_path / "out", "--json").document()
    assert [each["name"] for each in built["scenarios"]] == ["bakery", "shop"]
    row = _row(tmp_path / "out", "shop")
    assert (row.tier, row.folder, row.image) == (
        "gold",
        str(shop.bundles / "shop"),
        f"{shop.host}/awm/shop@{shop.images['shop'].digest}",
    )


def test_an_image_that_cannot_be_read_is_left_out_by_name(shop: Shop, awm: commands.Awm, tmp_path: Path) -> None:
    lying = shop.images["shop"].manifests[0]
    config = json.loads(json.dumps(lying.config))
    config["config"]["Labels"][assembly.BUNDLE] = "sha256:" + "0" * 64
    _push(shop.host, "awm/lying", images.Image((images.Manifest(config, lying.layers),)))
    _push(shop.host, "awm/base", base_images.make())
    wanted = [f"registry:{shop.host}/awm/{name}:3" for name in ("shop", "lying", "base", "nowhere")]
    ended = awm("catalog", "build", *wanted, "--out", tmp_path / "out", "--json")
    document = json.loads(ended.out)
    assert (ended.status, [each["name"] for each in document["scenarios"]]) == (3, ["shop"])
    reasons = {each["path"].split("/")[-1]: each["reason"] for each in document["refused"]}
    assert "another bundle" in reasons["lying:3"]
    assert "no scenario's image" in reasons["base:3"]
    assert "has no image 3" in reasons["nowhere:3"]
    below = awm("catalog", "build", f"registry:{shop.host}/awm", "--out", tmp_path / "all", "--json")
    assert below.status == 3
    assert _row(tmp_path / "all", "bakery").image == f"{shop.host}/awm/bakery@{shop.images['bakery'].digest}"
    assert {each["name"] for each in json.loads(below.out)["scenarios"]} == {"bakery", "shop"}
    for place in ("oci:nowhere", "docker:awm/shop:3"):
        assert "images that others can pull" in awm("catalog", "build", place, "--out", tmp_path / "out").err


@pytest.mark.parametrize("place", ["registry:{host}/awm/catalogue:2026-11", "oci:{folder}/layout:catalogue"])
def test_a_catalogue_comes_back_from_its_artifact_as_it_was(
    shop: Shop, awm: commands.Awm, catalogue: Path, tmp_path: Path, place: str
) -> None:
    to = place.format(host=shop.host, folder=tmp_path)
    pushed = awm.done("catalog", "push", catalogue, to, "--json").document()
    assert awm.done("catalog", "push", catalogue, to, "--json").document() == pushed
    shown = awm.done("catalog", "show", pushed["catalogue"], "--json").document()
    assert shown == awm.done("catalog", "show", catalogue, "--json").document()
    into = catalogue_artifacts.pull(catalogue_images.references.parse(to), ACCESS, tmp_path / "pulled")
    for path in catalogue.rglob("*.json"):
        assert (into / path.relative_to(catalogue)).read_bytes() == path.read_bytes()


def test_no_folder_of_this_machine_goes_along_and_every_row_names_an_image(
    shop: Shop, awm: commands.Awm, tmp_path: Path
) -> None:
    awm.done("catalog", "build", shop.bundles, "--out", tmp_path / "out")
    refused = awm("catalog", "push", tmp_path / "out", f"oci:{tmp_path}/layout")
    assert (refused.status, "names no image" in refused.err) == (1, True)
    references = [f"registry:{shop.host}/awm/{name}:3" for name in shop.images]
    awm.done("catalog", "build", shop.bundles, *references, "--out", tmp_path / "out")
    packed = catalogue_artifacts.packed(tmp_path / "out")
    content = b"".join(compression.decompressed(packed.manifests[0].layers[0].chunks()))
    assert str(shop.bundles).encode() not in content
    assert b"seen.json" not in content


def test_an_artifact_of_a_stranger_leads_to_no_folder_of_this_machine(
    catalogue: Path, shop: Shop, tmp_path: Path
) -> None:
    index = json.loads((catalogue / model.INDEX).read_text())
    for row in index["entries"]:
        row["folder"] = str(shop.bundles / row["name"])
    files = {model.INDEX: json.dumps(index).encode()}
    reference = catalogue_images.references.parse(f"oci:{tmp_path}/layout:c")
    layouts.Layout(tmp_path / "layout").add(_artifact(files), "c")
    pulled = catalogue_artifacts.pull(reference, ACCESS, tmp_path / "pulled")
    assert [row.folder for row in snapshots.load(pulled).entries.values()] == [None, None]
    for name, content in (("../evil", b""), ("tools/x.json", b""), (model.INDEX, b"{}")):
        layouts.Layout(tmp_path / "layout").add(_artifact({name: content}), "c")
        with pytest.raises(errors.ImageError, match=r"no scenario's or catalogue's|makes no sense"):
            catalogue_artifacts.pull(reference, ACCESS, tmp_path / "evil")
        assert not (tmp_path / "evil").exists()


def _artifact(files: dict[str, bytes]) -> images.Image:
    plain = layers.tar(files)
    config: dict[str, Any] = {
        "config": {"Labels": {catalogue_artifacts.LABEL: model.FORMAT}},
        "rootfs": {"type": "layers", "diff_ids": [images.digest_of(plain)]},
    }
    return images.Image((images.Manifest(config, (images.Blob.of(compression.compress(plain), images.LAYER),)),))


def test_a_fleet_serves_what_an_artifact_names(shop: Shop, awm: commands.Awm, catalogue: Path, tmp_path: Path) -> None:
    to = f"registry:{shop.host}/awm/catalogue:served"
    awm.done("catalog", "push", catalogue, to)
    with local_fleets.running([], tmp_path / "state", "--catalog", to) as fleet:
        assert sorted(each["name"] for each in fleet.status()["scenarios"]) == ["bakery", "shop"]
        episode = fleet.open("shop", generation=3)
        assert fleet.call(episode["mcp_url"], "list_items").data() == ["first"]
    with local_fleets.running([], tmp_path / "state", "--catalog", str(catalogue)) as again:
        assert again.call(f"{again.url}/e/{episode['id']}/mcp", "list_items").data() == ["first"]


def test_a_fleet_trusts_the_certificate_of_its_catalogues_registry_where_its_ca_is_named(
    shop: Shop, awm: commands.Awm, tmp_path: Path
) -> None:
    certificate = faulty_registry.certificate(tmp_path)
    ca, state = certificate.with_name("cert.pem"), tmp_path / "state"
    with faulty_registry.running(faulty_registry.State(), certificate=certificate) as host:
        _push(host, "awm/shop", shop.images["shop"], ca=ca)
        to = f"registry:{host}/awm/catalogue:1"
        awm.done("catalog", "build", f"registry:{host}/awm/shop:3", "--out", tmp_path / "out", "--ca", ca)
        awm.done("catalog", "push", tmp_path / "out", to, "--ca", ca)
        refused = awm("up", "--catalog", to, "--state", state, "--port", 0)
        assert (refused.status, "name its CA with --ca" in refused.err) == (1, True)
        with local_fleets.running([], state, "--catalog", to, "--ca", str(ca)) as fleet:
            assert [each["name"] for each in fleet.status()["scenarios"]] == ["shop"]


def test_what_a_pushed_catalogue_names_is_not_pruned(shop: Shop, awm: commands.Awm, tmp_path: Path) -> None:
    for generation in ("1", "2", "3"):
        bundle = bundles.make(tmp_path / generation / "shop", bundles.SHOP, generation=int(generation))
        _push(shop.host, "old/shop", assembly.assemble(base_images.make(), layers.build(bundle)), generation)
    place, catalogue = f"registry:{shop.host}/old", f"registry:{shop.host}/old/catalogue:1"
    awm.done("catalog", "build", f"{place}/shop:1", "--out", tmp_path / "out")
    awm.done("catalog", "push", tmp_path / "out", catalogue)
    for needed in (catalogue, tmp_path / "out", tmp_path / "out" / model.INDEX):
        pruned = awm.done("image", "prune", place, "--keep", 1, "--needed_by", needed, "--dry_run", "--json")
        assert [each["name"] for each in pruned.document()["removed"]] == ["old/shop:2"]
    missing = awm("image", "prune", place, "--needed_by", f"{place}/nowhere:1")
    assert (missing.status, "has no image 1" in missing.err) == (1, True)
    awm.done("image", "prune", place, "--keep", 1, "--needed_by", catalogue)
    left = awm.done("image", "prune", place, "--keep", 1, "--dry_run", "--json").document()
    assert [each["name"] for each in left["removed"]] == ["old/shop:1"]
