"""Images on disk: layouts and archives, whole or broken."""

import io
import json
import tarfile
from pathlib import Path

import disks
import pytest

from awm_generator.images import archives, assembly, errors, layouts, model, pruning, references, sources


def blob_files(folder: Path) -> set[str]:
    return {path.name for path in (folder / "blobs" / "sha256").iterdir()}


def test_a_layout_gives_back_what_was_put_in(tmp_path: Path, image: model.Image, base: model.Image) -> None:
    layout = layouts.Layout(tmp_path / "images")
    assert layout.add(image, "library:1")
    assert layout.add(base, "base:1")
    found = layout.read("library:1")
    assert found.digest == image.digest
    assert [layer.content() for layer in found.manifests[0].layers] == [
        layer.content() for layer in image.manifests[0].layers
    ]
    assert layout.names() == {"base:1": base.digest, "library:1": image.digest}
    assert len(blob_files(tmp_path / "images")) == 6  # two layers, two configurations, two manifests
    assert json.loads((tmp_path / "images" / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}


def test_writing_the_same_again_changes_no_file(tmp_path: Path, image: model.Image) -> None:
    layout = layouts.Layout(tmp_path)
    layout.add(image, "library:1")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"}
    assert not layout.add(image, "library:1")
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"}
    assert before == after


def test_what_was_written_before_an_error_is_kept_and_found(tmp_path: Path, image: model.Image) -> None:
    layout = layouts.Layout(tmp_path)

    def interrupted() -> None:
        with layout.writing() as writer:
            writer.add(image, "library:1")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert layout.read("library:1").digest == image.digest


def test_a_full_disk_leaves_no_half_blob(tmp_path: Path, image: model.Image) -> None:
    layout = layouts.Layout(tmp_path)
    layout.add(image, "library:1")
    for path in (tmp_path / "blobs" / "sha256").iterdir():
        path.unlink()
    with pytest.raises(OSError, match="large"), disks.full(at_bytes=1000):
        layout.add(image, "library:1")
    left = list((tmp_path / "blobs" / "sha256").iterdir())
    assert all(model.digest_of(path.read_bytes()) == f"sha256:{path.name}" for path in left)
    layout.add(image, "library:1")
    assert layout.read().digest == image.digest


def test_blobs_that_were_cut_changed_or_removed_are_named(tmp_path: Path, image: model.Image) -> None:
    layout = layouts.Layout(tmp_path)
    layout.add(image, "library:1")
    path = layouts.blob_path(tmp_path, image.manifests[0].layers[-1].digest)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"!")
    with pytest.raises(errors.ImageError, match=r"is corrupt: .* bytes with another digest"):
        layout.read().manifests[0].layers[-1].content()
    path.write_bytes(content[:-1])
    with pytest.raises(errors.ImageError, match="is corrupt: it has"):
        layout.read()
    path.unlink()
    with pytest.raises(errors.ImageError, match="lacks the blob"):
        layout.read()


def test_an_index_that_points_outside_is_refused(tmp_path: Path, image: model.Image) -> None:
    layouts.Layout(tmp_path).add(image, "library:1")
    index = json.loads((tmp_path / "index.json").read_text())
    index["manifests"][0]["digest"] = "sha256:../../../../etc/passwd"
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(errors.ImageError, match="is no digest"):
        layouts.Layout(tmp_path).read()


def test_names_that_are_missing_or_ambiguous_are_answered_with_those_that_are_there(
    tmp_path: Path, image: model.Image, base: model.Image
) -> None:
    layout = layouts.Layout(tmp_path)
    layout.add(image, "library:1")
    layout.add(base, "base:1")
    with pytest.raises(errors.ImageError, match=r"no image rover:1 \(it has base:1, library:1\)"):
        layout.read("rover:1")
    with pytest.raises(errors.ImageError, match="several images"):
        layout.read()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, image: model.Image) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(errors.ImageError, match="no OCI layout"):
        layouts.Layout(tmp_path).add(image, "library:1")
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_pruning_keeps_the_newest_what_is_needed_and_everything_shared(
    tmp_path: Path, image: model.Image, base: model.Image
) -> None:
    layout = layouts.Layout(tmp_path / "images")
    layout.add(base, "base:1")
    for generation in range(1, 6):
        layout.add(_as_generation(image, generation), f"library:{generation}")
    needed = tmp_path / "catalogue.json"
    needed.write_text(json.dumps({"scenarios": [{"image": f"registry/library@{layout.names()['library:2']}"}]}))
    reference = references.parse(f"oci:{tmp_path / 'images'}")
    with pruning.opened(reference, sources.Access()) as place:
        old = pruning.unneeded(place.entries(), pruning.needed_by([needed]), keep=2)
        assert [entry.name for entry in old] == ["library:1", "library:3"]
        place.remove(old)
    assert sorted(layout.names()) == ["base:1", "library:2", "library:4", "library:5"]
    for name in layout.names():
        assert [blob.content() for blob in layout.read(name).blobs]
    reached = {
        blob.digest for name in layout.names() for blob in (*layout.read(name).blobs, *layout.read(name).documents)
    }
    assert {f"sha256:{name}" for name in blob_files(tmp_path / "images")} == reached


def _as_generation(image: model.Image, generation: int) -> model.Image:
    [manifest] = image.manifests
    process = manifest.config["config"]
    labels = {**process["Labels"], assembly.GENERATION: str(generation)}
    return model.Image((model.Manifest({**manifest.config, "config": {**process, "Labels": labels}}, manifest.layers),))


def test_an_archive_is_read_by_name_and_holds_shared_layers_once(
    tmp_path: Path, image: model.Image, base: model.Image
) -> None:
    path = tmp_path / "images.tar"
    assert list(archives.write(path, [("awm/library:1", image), ("awm/base:1", base)])) == [
        "awm/library:1",
        "awm/base:1",
    ]
    assert archives.read(path, "awm/library:1").digest == image.digest
    assert archives.read(path, "awm/base:1").digest == base.digest
    with tarfile.open(path) as archive:
        names = archive.getnames()
    assert len(names) == len(set(names))
    assert {"manifest.json", "index.json", "oci-layout"} <= set(names)
    first = path.read_bytes()
    list(archives.write(path, [("awm/library:1", image), ("awm/base:1", base)]))
    assert path.read_bytes() == first


def test_an_archive_without_dockers_file_is_read_as_a_layout(tmp_path: Path, image: model.Image) -> None:
    list(archives.write(tmp_path / "both.tar", [("awm/library:1", image)]))
    with tarfile.open(tmp_path / "both.tar") as source, tarfile.open(tmp_path / "oci.tar", "w") as target:
        for member in source:
            if member.name != "manifest.json":
                target.addfile(member, source.extractfile(member))
    assert archives.read(tmp_path / "oci.tar").digest == image.digest


def test_layers_that_an_engine_wrote_plain_and_as_links_are_the_same_layers(tmp_path: Path, image: model.Image) -> None:
    """What `docker save` of older engines writes."""
    [manifest] = image.manifests
    lowest, upper = (b"".join(archives.compression.decompressed(layer.chunks())) for layer in manifest.layers)
    files = {"aa/layer.tar": lowest, "cc/layer.tar": upper, "config.json": manifest.config_blob.content()}
    entry = {"Config": "config.json", "RepoTags": ["x:1"], "Layers": ["bb/layer.tar", "cc/layer.tar"]}
    files["manifest.json"] = json.dumps([entry]).encode()
    with tarfile.open(tmp_path / "old.tar", "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("bb/layer.tar")
        link.type, link.linkname = tarfile.SYMTYPE, "../aa/layer.tar"
        archive.addfile(link)
    found = archives.read(tmp_path / "old.tar", "x:1")
    assert [layer.digest for layer in found.manifests[0].layers] == [layer.digest for layer in manifest.layers]


@pytest.mark.parametrize("left", [100, 5_000, -20_000])
def test_a_cut_archive_is_corrupt(tmp_path: Path, image: model.Image, left: int) -> None:
    path = tmp_path / "images.tar"
    list(archives.write(path, [("awm/library:1", image)]))
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(errors.ImageError, match=r"corrupt|no whole archive|no archive"):
        archives.read(path).manifests[0].layers[-1].content()


def test_an_archive_that_could_not_be_finished_leaves_the_old_one(tmp_path: Path, image: model.Image) -> None:
    path = tmp_path / "images.tar"
    path.write_text("the old one")
    with pytest.raises(OSError, match="large"), disks.full(at_bytes=2000):
        list(archives.write(path, [("awm/library:1", image)]))
    assert [each.name for each in tmp_path.iterdir()] == ["images.tar"]
    assert path.read_text() == "the old one"


def test_what_is_no_archive_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_text("hello")
    with pytest.raises(errors.ImageError, match="no archive of images"):
        archives.read(tmp_path / "text.tar")
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    with pytest.raises(errors.ImageError, match=r"neither manifest.json nor index.json"):
        archives.read(tmp_path / "empty.tar")
    with pytest.raises(errors.ImageError, match="no such file"):
        archives.read(tmp_path / "missing.tar")
