"""Bundles on a shelf: found, described once, and read again only when they changed."""

import json
import shutil
from pathlib import Path

import pytest

from awm_fleet import examples, shelves
from awm_registry.catalogue import snapshots
from awm_runtime import errors
from awm_runtime.bundle import digest, reading


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    folder = tmp_path / "bundles"
    for name in examples.names():
        shutil.copytree(examples.path(name), folder / name)
    return folder


def stock(bundles: Path) -> shelves.Shelf:
    return shelves.stock(shelves.folders([bundles]), bundles.parent / "catalogue")


def renamed(folder: Path, **fields: object) -> None:
    scenario = json.loads((folder / "scenario.json").read_text())
    (folder / "scenario.json").write_text(json.dumps({**scenario, **fields}))


def test_a_bundle_and_a_folder_of_bundles_are_both_found_and_none_twice(bundles: Path) -> None:
    assert shelves.folders([bundles / "library", bundles, bundles]) == [bundles / "library", bundles / "clinic"]


@pytest.mark.parametrize(("folder", "says"), [("nowhere", "no such folder"), ("empty", "holds no bundle")])
def test_a_folder_without_bundles_is_refused(tmp_path: Path, folder: str, says: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(errors.BundleError, match=f"{folder}: {says}"):
        shelves.folders([tmp_path / folder])


def test_what_is_on_the_shelf_is_in_the_catalogue_by_its_digest(bundles: Path) -> None:
    shelf = stock(bundles)
    assert {(each.name, each.bundle) for each in shelf.entries} == {
        (name, digest.digest(bundles / name)) for name in examples.names()
    }
    catalogue = snapshots.load(shelf.catalogue)
    assert [card.entry.name for card in catalogue.cards] == list(examples.names())
    assert catalogue.metadata(catalogue.entry("library")).title == reading.read(bundles / "library").scenario.title


def test_a_second_start_reads_no_bundle_that_stayed_as_it_was(bundles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = stock(bundles)
    (bundles / "clinic" / "seed.sql").write_text((bundles / "clinic" / "seed.sql").read_text() + "\n-- another\n")
    read: list[str] = []
    original = reading.read
    monkeypatch.setattr(reading, "read", lambda path: (read.append(path.name), original(path))[1])
    second = stock(bundles)
    assert read == ["clinic"]
    changed = {each.name for each in {*first.entries} ^ {*second.entries}}
    assert changed == {"clinic"}


@pytest.mark.parametrize("spoilt", ["[]", "{", '{"nonsense": 1}'])
def test_what_was_seen_before_may_be_lost_or_nonsense(bundles: Path, spoilt: str) -> None:
    first = stock(bundles)
    (first.catalogue / "seen.json").write_text(spoilt)
    assert stock(bundles).entries == first.entries


def test_a_bundle_that_cannot_be_read_is_left_out_and_named(bundles: Path) -> None:
    (bundles / "clinic" / "tools.json").write_text("{")
    shelf = stock(bundles)
    assert [each.name for each in shelf.entries] == ["library"]
    [fault] = shelf.faults
    assert (fault.folder, "tools.json: broken JSON" in fault.reason) == (bundles / "clinic", True)


def test_a_second_bundle_of_the_same_name_is_left_out_and_another_generation_is_not(bundles: Path) -> None:
    shutil.copytree(bundles / "library", bundles / "twin")
    shutil.copytree(bundles / "library", bundles / "younger")
    renamed(bundles / "younger", generation=2)
    shelf = stock(bundles)
    assert sorted(each.generation for each in shelf.entries if each.name == "library") == [1, 2]
    [fault] = shelf.faults
    assert f"{bundles / 'library'} is library of generation 1 already" in fault.reason


def test_a_changed_bundle_is_renewed_and_the_others_stay(bundles: Path) -> None:
    shelf = stock(bundles)
    library = next(each for each in shelf.entries if each.name == "library")
    assert shelves.renewed(shelf, library) == (shelf, library)
    (bundles / "library" / "environment.py").write_text("# another\n")
    after, entry = shelves.renewed(shelf, library)
    assert entry.bundle == digest.digest(bundles / "library") != library.bundle
    assert {*shelf.entries} ^ {*after.entries} == {library, entry}
    written = snapshots.load(shelf.catalogue).entry("library")
    assert written == entry.model_copy(update={"published_at": written.published_at})
    assert shelves.renewed(after, entry) == (after, entry)


def test_a_bundle_that_broke_or_became_another_is_named(bundles: Path) -> None:
    shelf = stock(bundles)
    library = next(each for each in shelf.entries if each.name == "library")
    renamed(bundles / "library", name="archive")
    with pytest.raises(errors.BundleError, match="holds archive of generation 1 now"):
        shelves.renewed(shelf, library)
    shutil.rmtree(bundles / "library")
    with pytest.raises(errors.BundleError, match="cannot be read: No such file"):
        shelves.renewed(shelf, library)
