"""The same bundles to all four places, read back by programs that share no code with us."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from awm_fleet import examples
from awm_generator.awm_files import importing, rows

PREFIX = f"awm-tests-{os.getpid()}"


@pytest.fixture(scope="module")
def scenarios(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real scenarios, imported."""
    folder = tmp_path_factory.mktemp("bundles")
    selected = importing.select(rows.load(sample), [])
    assert all(each.bundle is not None for each in importing.run(selected, folder))
    return folder


@pytest.fixture(scope="module")
def layout(scenarios: Path, runtime_base: str, awm: Callable[..., Any]) -> dict[str, Any]:
    """What `awm image build` says of the scenarios in an OCI layout, by name."""
    place = scenarios.parent / "images"
    built = awm("image", "build", scenarios, "--all", "--base", runtime_base, "--output", f"oci:{place}")
    return {each["scenario"]: each for each in built["images"]}


@pytest.fixture(autouse=True, scope="module")
def _removed() -> Iterator[None]:
    yield
    listed = subprocess.run(
        ["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"], capture_output=True, text=True
    )
    ours = [name for name in listed.stdout.split() if name.startswith((f"{PREFIX}/", "127.0.0.1:"))]
    if ours:
        subprocess.run(["docker", "image", "rm", "-f", *ours], capture_output=True, check=True)


def test_skopeo_reads_the_layout(layout: dict[str, Any], skopeo: Callable[..., Any]) -> None:
    assert len(layout) >= 4
    for built in layout.values():
        said = skopeo(built["image"])
        assert said["Digest"] == built["digest"]
        assert said["Labels"]["dev.awm.bundle"] == built["bundle"]


def test_a_second_run_and_another_path_give_the_same_digests(
    layout: dict[str, Any], scenarios: Path, runtime_base: str, awm: Callable[..., Any], tmp_path: Path
) -> None:
    again = awm(
        "image", "build", scenarios, "--all", "--base", runtime_base, "--output", f"oci:{scenarios.parent}/images"
    )
    assert {each["state"] for each in again["images"]} == {"unchanged"}
    moved = shutil.copytree(scenarios, tmp_path / "another" / "path")
    elsewhere = awm("image", "build", moved, "--all", "--base", runtime_base, "--output", f"oci:{tmp_path}/images")
    for each in (*again["images"], *elsewhere["images"]):
        assert each["digest"] == layout[each["scenario"]]["digest"]


def test_docker_loads_the_archive_and_skopeo_reads_it(
    layout: dict[str, Any],
    scenarios: Path,
    runtime_base: str,
    awm: Callable[..., Any],
    skopeo: Callable[..., Any],
    tmp_path: Path,
) -> None:
    archive = tmp_path / "scenarios.tar"
    built = awm("image", "build", scenarios, "--all", "--base", runtime_base, "--output", f"archive:{archive}")[
        "images"
    ]
    assert {each["digest"] for each in built} == {each["digest"] for each in layout.values()}
    loaded = subprocess.run(["docker", "load", "-i", archive], capture_output=True, text=True, check=True).stdout
    names = [each["image"].removeprefix(f"archive:{archive}:") for each in built]
    assert all(name in loaded for name in names)
    for each, name in zip(built, names, strict=True):
        assert skopeo(f"docker-archive:{archive}:{name}")["Labels"]["dev.awm.bundle"] == each["bundle"]
        assert awm("image", "verify", each["image"])["ok"]
    subprocess.run(["docker", "image", "rm", "-f", *names], capture_output=True, check=True)


def test_the_engine_takes_them_and_they_verify_there(
    layout: dict[str, Any], scenarios: Path, runtime_base: str, awm: Callable[..., Any]
) -> None:
    arguments = ("image", "build", scenarios, "--all", "--base", runtime_base, "--output", f"docker:{PREFIX}")
    built = awm(*arguments)["images"]
    for each in built:
        assert awm("image", "verify", each["image"])["ok"]
        assert awm("image", "inspect", each["image"])["labels"]["dev.awm.seed"] == layout[each["scenario"]]["seed"]
    assert {each["state"] for each in awm(*arguments)["images"]} == {"unchanged"}


def test_docker_pulls_what_was_pushed_by_the_very_digest(
    layout: dict[str, Any],
    scenarios: Path,
    runtime_base: str,
    awm: Callable[..., Any],
    skopeo: Callable[..., Any],
    image_registry: str,
) -> None:
    arguments = (
        "image",
        "build",
        scenarios,
        "--all",
        "--base",
        runtime_base,
        "--output",
        f"registry:{image_registry}/team/awm",
    )
    built = awm(*arguments)["images"]
    assert {each["state"] for each in awm(*arguments)["images"]} == {"unchanged"}
    for each in built:
        name = each["image"].removeprefix("registry:")
        assert each["digest"] == layout[each["scenario"]]["digest"]
        assert skopeo(f"docker://{name}", "--tls-verify=false")["Digest"] == each["digest"]
        assert awm("image", "verify", each["image"])["ok"]
        subprocess.run(["docker", "pull", "--quiet", name], capture_output=True, check=True)
        subprocess.run(["docker", "image", "rm", "-f", name], capture_output=True, check=True)


def test_a_base_out_of_the_registry_gives_the_same_images(
    layout: dict[str, Any],
    scenarios: Path,
    runtime_base: str,
    awm: Callable[..., Any],
    image_registry: str,
    tmp_path: Path,
) -> None:
    folder, _, tag = runtime_base.removeprefix("oci:"), ":", "base"
    copy = [
        "skopeo",
        "copy",
        "--quiet",
        "--dest-tls-verify=false",
        f"oci:{folder}",
        f"docker://{image_registry}/bases/runtime:{tag}",
    ]
    subprocess.run(copy, check=True, capture_output=True)
    built = awm("image", "build", scenarios, "--all", "--base", f"registry:{image_registry}/bases/runtime:{tag}",
                "--output", f"registry:{image_registry}/one", "--single-repository")["images"]  # fmt: skip
    assert {each["digest"] for each in built} == {each["digest"] for each in layout.values()}


def test_pruning_a_real_registry_leaves_the_newest(
    runtime_base: str, awm: Callable[..., Any], image_registry: str, tmp_path: Path
) -> None:
    place = f"registry:{image_registry}/pruned"
    for generation in (1, 2, 3):
        bundle = shutil.copytree(examples.path("library"), tmp_path / str(generation))
        scenario = json.loads((bundle / "scenario.json").read_text())
        (bundle / "scenario.json").write_text(json.dumps(scenario | {"generation": generation, "digest": None}))
        awm("image", "build", bundle, "--base", runtime_base, "--output", place)
    assert [each["name"] for each in awm("image", "prune", place, "--keep", 2, "--dry-run")["removed"]] == [
        "pruned/library:1"
    ]
    awm("image", "prune", place, "--keep", 2)
    assert awm("image", "prune", place, "--keep", 1, "--dry-run")["removed"][0]["name"] == "pruned/library:2"
    awm("image", "verify", f"{place}/library:3")
    awm_failed = subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", f"docker://{image_registry}/pruned/library:1"], capture_output=True
    )
    assert awm_failed.returncode != 0
