"""`awm catalog`: what goes in, what is left out, and what it says of broken rows."""

import json
from pathlib import Path
from typing import Any

import catalogues
import commands
import pytest

from awm_registry.catalogue import snapshots


@pytest.fixture
def awm(capsys: pytest.CaptureFixture[str]) -> commands.Awm:
    return commands.Awm(capsys)


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    folder = tmp_path / "bundles"
    catalogues.bundle(folder / "rover", tags=("pets",), tier="gold", tasks=[catalogues.task("walk")])
    catalogues.bundle(folder / "archive")
    return folder


def test_a_folder_of_bundles_becomes_a_catalogue(awm: commands.Awm, bundles: Path, tmp_path: Path) -> None:
    built = awm.done("catalog", "build", bundles, "--out", tmp_path / "out", "--json").document()
    assert [row["name"] for row in built["scenarios"]] == ["archive", "rover"]
    assert snapshots.load(Path(built["index"])).entry("rover").folder == str(bundles / "rover")
    shown = awm.done("catalog", "show", tmp_path / "out", "--tag", "pets", "--json").document()
    assert [(each["name"], each["tags"], each["tier"]) for each in shown["scenarios"]] == [("rover", ["pets"], "gold")]
    assert "2 of 2 scenarios" in awm.done("catalog", "show", tmp_path / "out" / "index.json").out


def test_the_same_bundle_named_twice_counts_once(awm: commands.Awm, bundles: Path, tmp_path: Path) -> None:
    built = awm.done("catalog", "build", bundles, bundles / "rover", "--out", tmp_path / "out", "--json").document()
    assert len(built["scenarios"]) == 2


def test_a_bundle_that_cannot_be_read_is_left_out_and_named(awm: commands.Awm, bundles: Path, tmp_path: Path) -> None:
    (bundles / "rover" / "tasks.jsonl").write_text("{")
    ended = awm("catalog", "build", bundles, "--out", tmp_path / "out", "--json")
    assert ended.status == 3
    assert [row["name"] for row in ended.document()["scenarios"]] == ["archive"]
    [refused] = ended.document()["refused"]
    assert refused["path"] == str(bundles / "rover")
    assert f"error: left out: {bundles / 'rover' / 'tasks.jsonl'}:1: broken JSON" in ended.err


def test_two_bundles_of_one_generation_do_not_both_get_in(awm: commands.Awm, bundles: Path, tmp_path: Path) -> None:
    catalogues.bundle(tmp_path / "more" / "rover", description="another")
    ended = awm("catalog", "build", bundles, tmp_path / "more", "--out", tmp_path / "out")
    assert ended.status == 3
    assert f"{bundles / 'rover'} is rover of generation 1 already" in ended.err


def test_when_nothing_can_be_read_the_earlier_index_stays(awm: commands.Awm, bundles: Path, tmp_path: Path) -> None:
    awm.done("catalog", "build", bundles, "--out", tmp_path / "out")
    for each in bundles.iterdir():
        (each / "schema.sql").unlink()
    ended = awm("catalog", "build", bundles, "--out", tmp_path / "out")
    assert ended.status == 1
    assert ended.err.count("schema.sql: missing") == 2
    assert len(snapshots.load(tmp_path / "out")) == 2


def test_broken_rows_are_named_and_the_others_shown(awm: commands.Awm, bundles: Path, tmp_path: Path) -> None:
    awm.done("catalog", "build", bundles, "--out", tmp_path / "out")
    index = tmp_path / "out" / "index.json"
    value = json.loads(index.read_text())
    value["entries"][0]["generation"] = "two"
    index.write_text(json.dumps(value))
    ended = awm("catalog", "show", index, "--json")
    assert ended.status == 3
    assert [each["name"] for each in ended.document()["scenarios"]] == ["rover"]
    assert "row 0 (archive): generation: Input should be a valid integer" in ended.err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("build {empty} --out {empty}/out", "{empty}: holds no bundle, nor a folder with one"),
        ("show {empty}", "{empty}/index.json: cannot be read: No such file"),
    ],
)
def test_bad_input_is_one_line(awm: commands.Awm, tmp_path: Path, line: str, says: str) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    ended = awm("catalog", *line.format(empty=empty).split())
    assert (ended.status, ended.out) == (1, "")
    assert says.format(empty=empty) in ended.err
    assert ended.err.count("\n") == 1


def test_an_index_for_clusters_names_the_images_that_were_pushed(
    awm: commands.Awm, bundles: Path, tmp_path: Path
) -> None:
    digests = {each["name"]: each["bundle"] for each in _built(awm, bundles, tmp_path / "before")}
    image = f"registry.example:5000/awm/rover@sha256:{'1' * 64}"
    rows = [
        {"path": "rover", "bundle": digests["rover"], "image": f"registry:{image}", "digest": f"sha256:{'1' * 64}"},
        {"path": "broken", "error": "no seed"},
    ]
    (tmp_path / "images.json").write_text(json.dumps({"images": rows}))
    ended = awm("catalog", "build", bundles, "--images", tmp_path / "images.json", "--out", tmp_path / "out")
    assert ended.status == 3
    assert f"{bundles / 'archive'}: no image of this bundle was built" in ended.err
    told = snapshots.load(tmp_path / "out")
    assert [(each.name, each.image, each.folder) for each in told.entries.values()] == [("rover", image, None)]
    assert [task.id for task in told.metadata(told.entry("rover")).tasks] == ["walk"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"images": [{"bundle": "b", "digest": "d", "image": "docker:awm/rover:1"}]}', "in no image registry"),
        ('{"images": [{"digest": "d"}]}', "not what `awm image build --json` prints"),
        ("[]", "not what `awm image build --json` prints"),
        ("", "not what `awm image build --json` prints"),
    ],
)
def test_a_list_of_images_that_is_none_is_named(
    awm: commands.Awm, bundles: Path, tmp_path: Path, content: str, said: str
) -> None:
    (tmp_path / "images.json").write_text(content)
    ended = awm("catalog", "build", bundles, "--images", tmp_path / "images.json", "--out", tmp_path / "out")
    assert ended.status == 1
    assert f"{tmp_path}/images.json" in ended.err
    assert said in ended.err
    assert not (tmp_path / "out" / "index.json").exists()


def _built(awm: commands.Awm, bundles: Path, out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = awm.done("catalog", "build", bundles, "--out", out, "--json").document()["scenarios"]
    return rows
