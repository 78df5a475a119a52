"""`awm image`, as a person uses it, on an OCI layout with a small base."""

import json
import shutil
from pathlib import Path

import base_images
import pytest

from awm_fleet import examples
from awm_fleet.cli import main
from awm_generator.images import layouts


@pytest.fixture
def base(tmp_path: Path) -> str:
    layouts.Layout(tmp_path / "base").add(base_images.make("linux/amd64", "linux/arm64"), "awm-runtime:0.1.0")
    return f"oci:{tmp_path}/base"


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    for name in examples.names():
        shutil.copytree(examples.path(name), tmp_path / "bundles" / name)
    return tmp_path / "bundles"


def awm(*arguments: object, status: int = 0) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main([str(each) for each in arguments])
    assert ended.value.code == status


def test_all_bundles_of_a_folder_are_built_inspected_and_verified(
    base: str, bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = f"oci:{tmp_path}/images"
    awm("image", "build", bundles, "--all", "--base", base, "--output", place, "--json")
    built = json.loads(capsys.readouterr().out)["images"]
    assert [(each["scenario"], each["state"]) for each in built] == [("clinic", "written"), ("library", "written")]
    for each in built:
        awm("image", "inspect", each["image"], "--json")
        card = json.loads(capsys.readouterr().out)
        assert card["digest"] == each["digest"]
        assert card["labels"]["dev.awm.bundle"] == each["bundle"]
        assert card["platforms"] == ["linux/amd64", "linux/arm64"]
        awm("image", "verify", each["image"])
        assert capsys.readouterr().out == f"{each['image']}: ok\n"
    awm("image", "build", bundles, "--all", "--base", base, "--output", place)
    assert capsys.readouterr().out.count("unchanged") == 2


def test_one_platform_of_the_base_can_be_chosen(base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    awm("image", "build", "library", "--base", base, "--platform", "linux/arm64", "-o", f"archive:{tmp_path}/one.tar")
    awm("image", "inspect", f"archive:{tmp_path}/one.tar")
    assert "platforms  linux/arm64\n" in capsys.readouterr().out


@pytest.mark.parametrize("place", ["oci:{tmp}/x", "archive:{tmp}/x.tar", "docker:", "registry:127.0.0.1:1/x"])
def test_a_base_of_another_architecture_is_refused_before_its_place_is_looked_at(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    wanted = ("--platform", "linux/s390x", "-o", place.format(tmp=tmp_path))
    awm("image", "build", "library", "--base", base, *wanted, status=1)
    assert capsys.readouterr().err == (
        f"error: {base}: it is for linux/amd64, linux/arm64, and linux/s390x is wanted\n"
    )
    assert {each.name for each in tmp_path.iterdir()} == {"base"}


def test_a_broken_bundle_is_named_and_stops_no_other(
    base: str, bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (bundles / "clinic" / "seed.sql").write_text("INSERT INTO nowhere VALUES (1);")
    arguments = ("image", "build", bundles, "--all", "--base", base, "--output", f"oci:{tmp_path}/images", "--json")
    awm(*arguments, status=3)
    said = capsys.readouterr()
    assert "clinic/seed.sql: statement 1: no such table: nowhere" in said.err
    [broken, done] = json.loads(said.out)["images"]
    assert "no such table" in broken["error"]
    assert done["state"] == "written"
    shutil.rmtree(bundles / "library")
    awm(*arguments, status=1)


def test_an_image_that_lies_does_not_verify(base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    awm("image", "build", "library", "--base", base, "--output", f"oci:{tmp_path}/images")
    layout = layouts.Layout(tmp_path / "images")
    image = layout.read("library:1")
    shutil.copytree(examples.path("library"), tmp_path / "library")
    (tmp_path / "library" / "seed.sql").write_text("")
    awm("image", "build", tmp_path / "library", "--base", base, "--output", f"oci:{tmp_path}/others")
    other = layouts.Layout(tmp_path / "others").read("library:1")
    manifests = tuple(
        type(each)(each.config, other.manifests[number].layers) for number, each in enumerate(image.manifests)
    )
    layout.add(type(image)(manifests, has_index=True), "library:1")
    capsys.readouterr()
    awm("image", "verify", f"oci:{tmp_path}/images:library:1", status=1)
    said = capsys.readouterr().out
    assert "the label dev.awm.bundle says" in said
    assert "it would not start" in said


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("build", "library", "--base", "python:3.13", "--output", "docker:"), 2, "does not say where the image is"),
        (("build", "library", "--base", "oci:{tmp}/none", "--output", "oci:x"), 1, "holds no image"),
        (("build", "nothing", "--base", "{base}", "--output", "oci:x"), 1, "no bundle 'nothing'"),
        (("build", "library", "--base", "{base}", "--output", "archive:{tmp}/no/such/x.tar"), 1, "there is no folder"),
        (("build", "library", "--base", "{base}", "--output", "registry:h.example/a:1"), 1, "leave out the tag"),
        (("verify", "{base}"), 1, "it is no scenario's image"),
        (("inspect", "archive:{tmp}/none.tar"), 1, "no such file"),
        (("prune", "archive:{tmp}/none.tar"), 1, "an archive is not pruned"),
        (("prune", "oci:{tmp}/base", "--needed-by", "{tmp}/none.json"), 1, "cannot be read"),
    ],
)
def test_what_is_wrong_is_one_line(
    arguments: tuple[str, ...], status: int, message: str, base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    awm("image", *(each.format(tmp=tmp_path, base=base) for each in arguments), status=status)
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("error: ")
    assert "Traceback" not in said


def test_pruning_says_what_it_would_remove_and_then_removes_it(
    base: str, bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bundles / "library" / "scenario.json"
    scenario = json.loads(path.read_text())
    first = tmp_path / "first"
    for generation in (1, 2, 3):
        path.write_text(json.dumps({**scenario, "generation": generation, "digest": None}))
        awm("image", "build", bundles / "library", "--base", base, "--output", f"oci:{tmp_path}/images")
        if generation == 1:
            shutil.copytree(bundles / "library", first)
    capsys.readouterr()
    awm("image", "prune", f"oci:{tmp_path}/images", "--keep", 2, "--dry-run")
    assert capsys.readouterr().out.startswith("would remove library:1  sha256:")
    awm("catalog", "build", first, "--out", tmp_path / "catalogue")
    capsys.readouterr()
    awm("image", "prune", f"oci:{tmp_path}/images", "--keep", 2, "--needed-by", tmp_path / "catalogue")
    assert capsys.readouterr().out == "0 of 3 image(s) were not needed\n"
    awm("image", "prune", f"oci:{tmp_path}/images", "--keep", 2, "--json")
    assert [each["name"] for each in json.loads(capsys.readouterr().out)["removed"]] == ["library:1"]
    awm("image", "prune", f"oci:{tmp_path}/images", "--keep", 2)
    assert capsys.readouterr().out == "0 of 2 image(s) were not needed\n"


def test_many_bundles_are_built_by_several_processes(
    base: str, bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = json.loads((bundles / "library" / "scenario.json").read_text())
    for number in range(8):
        folder = shutil.copytree(bundles / "library", tmp_path / "many" / str(number))
        (folder / "scenario.json").write_text(json.dumps({**scenario, "name": f"library_{number}", "digest": None}))
    awm("image", "build", tmp_path / "many", "--all", "--base", base, "--output", f"oci:{tmp_path}/images", "--json")
    built = json.loads(capsys.readouterr().out)["images"]
    assert [each["scenario"] for each in built] == [f"library_{number}" for number in range(8)]
    assert len({each["digest"] for each in built}) == 8
