"""A catalogue from its bundles to what is answered from it."""

import asyncio
import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import catalogues
import hypothesis
import instances
import jsonschema
import pytest
from hypothesis import strategies as st

from awm_registry import errors
from awm_registry.catalogue import model, paging, snapshots, sources
from awm_runtime.bundle import digest, reading
from awm_runtime.contract import problems

DOCS = Path(__file__).resolve().parents[3] / "docs"
SCENARIOS: dict[str, dict[str, Any]] = {
    "rover": {
        "description": "Pets and their sitters.",
        "tags": ("pets",),
        "tier": "gold",
        "tasks": [
            catalogues.task("walk", instruction="Book a walk for Rex.", difficulty="easy"),
            catalogues.task("sit", split="test", difficulty="hard"),
        ],
    },
    "etsy_shop": {"tier": "silver", "tasks": [catalogues.task("list"), catalogues.task("ship", split="test")]},
    "archive": {"description": "Old pets."},
}


@pytest.fixture
def snapshot(tmp_path: Path) -> snapshots.Snapshot:
    return catalogues.catalogue(tmp_path, SCENARIOS)


def rewrite(tmp_path: Path, change: Callable[[list[Any]], object]) -> Path:
    index = tmp_path / "catalogue" / "index.json"
    value = json.loads(index.read_bytes())
    change(value["entries"])
    index.write_text(json.dumps(value))
    return index


def scenario_names(page: paging.Page[snapshots.Card]) -> list[str]:
    return [card.entry.name for card in page.items]


def task_ids(page: paging.Page[tuple[snapshots.Card, model.Task]]) -> list[str]:
    return [task.id for _, task in page.items]


def test_a_row_says_what_its_bundle_is(tmp_path: Path, snapshot: snapshots.Snapshot) -> None:
    folder = tmp_path / "bundles" / "rover"
    bundle = reading.read(folder)
    row = snapshot.entry("rover")
    assert row.published_at is not None
    assert row == model.Entry(
        name="rover",
        generation=1,
        tier="gold",
        folder=str(folder),
        bundle=digest.digest(bundle),
        tools_hash=digest.tools_hash(bundle.tools),
        published_at=row.published_at,
    )
    assert list(snapshot.tools(row) or ()) == list(bundle.tools)


def test_the_metadata_says_what_anybody_may_know_and_no_more(tmp_path: Path, snapshot: snapshots.Snapshot) -> None:
    described = snapshot.metadata(snapshot.entry("rover"))
    assert [task.model_dump() for task in described.tasks] == [
        {"id": "walk", "instruction": "Book a walk for Rex.", "split": "train", "difficulty": "easy"},
        {"id": "sit", "instruction": "Do sit.", "split": "test", "difficulty": "hard"},
    ]
    everything = "".join(path.read_text() for path in (tmp_path / "catalogue").rglob("*.json"))
    assert "Book a walk for Rex." in everything
    assert [word for word in catalogues.SECRET_WORDS if word in everything] == []


def test_the_files_are_what_the_published_schema_says(tmp_path: Path, snapshot: snapshots.Snapshot) -> None:
    schema = json.loads((DOCS / "catalogue.schema.json").read_text())
    files = [tmp_path / "catalogue" / "index.json", *(tmp_path / "catalogue" / "metadata").iterdir()]
    assert len(files) == 1 + len(SCENARIOS)
    for path in files:
        jsonschema.validate(json.loads(path.read_bytes()), schema)


def test_the_published_schema_is_what_the_models_say() -> None:
    page = runpy.run_path(str(DOCS / "generate_catalogue_schema.py"))["page"]()
    assert (DOCS / "catalogue.schema.json").read_text(encoding="utf-8") == page, "run docs/generate_catalogue_schema.py"


@pytest.mark.parametrize("spelling", ["etsy_shop", "Etsy Shop", "ETSY-shop!"])
def test_a_scenario_is_found_by_any_spelling(snapshot: snapshots.Snapshot, spelling: str) -> None:
    assert snapshot.entry(spelling).name == "etsy_shop"


def test_an_unknown_name_is_answered_with_close_ones(snapshot: snapshots.Snapshot) -> None:
    with pytest.raises(problems.ProblemError, match=r"no scenario 'rovr'; did you mean rover\?") as caught:
        snapshot.entry("rovr")
    assert caught.value.code is problems.Code.UNKNOWN_SCENARIO
    with pytest.raises(problems.ProblemError, match="3 others are served here"):
        snapshot.entry("zzzzzz")


def test_the_newest_generation_serves_and_others_can_be_named(tmp_path: Path, snapshot: snapshots.Snapshot) -> None:
    def next_generation(rows: list[Any]) -> None:
        rows.insert(0, {**next(row for row in rows if row["name"] == "rover"), "generation": 3})

    newer = snapshots.load(rewrite(tmp_path, next_generation))
    assert len(newer) == len(snapshot)
    assert newer.entry("rover").generation == 3
    assert newer.entry("rover", 1) == snapshot.entry("rover")
    with pytest.raises(problems.ProblemError, match="no generation 2 here; there is 3, 1"):
        newer.entry("rover", 2)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"bundle": "sha256:abc"}, "bundle: String should match pattern"),
        ({"generation": 0}, "generation: Input should be greater than or equal to 1"),
        ({"name": "Rover!"}, "name: Value error, not a scenario name: write 'rover'"),
        ({"tier": "platinum"}, "tier: Input should be 'gold'"),
        ({"image": "registry.example/rover:latest"}, "image: String should match pattern"),
        ({"name": "archive"}, "generation 1 is an earlier row's too"),
    ],
)
def test_a_row_that_makes_no_sense_is_named_and_the_others_are_served(
    tmp_path: Path, snapshot: snapshots.Snapshot, change: dict[str, Any], reason: str
) -> None:
    position = [row.name for row in snapshot.entries.values()].index("rover")
    broken = snapshots.load(rewrite(tmp_path, lambda rows: rows[position].update(change)))
    [fault] = broken.faults
    assert (fault.row, fault.name, fault.served) == (position, change.get("name", "rover"), False)
    assert reason in fault.reason
    assert [card.entry.name for card in broken.cards] == ["archive", "etsy_shop"]


@pytest.mark.parametrize("row", [None, 7, [], "rover"])
def test_a_row_that_is_no_object_is_named(tmp_path: Path, snapshot: snapshots.Snapshot, row: object) -> None:
    broken = snapshots.load(rewrite(tmp_path, lambda rows: rows.append(row)))
    [fault] = broken.faults
    assert str(fault).startswith("row 3 (no name): the whole value: ")
    assert len(broken) == len(snapshot)


def test_a_scenario_without_its_metadata_is_served_by_its_name(tmp_path: Path, snapshot: snapshots.Snapshot) -> None:
    folder = tmp_path / "catalogue"
    model.metadata_path(folder, snapshot.entry("rover").bundle).write_text("{")
    left = snapshots.load(folder)
    [fault] = left.faults
    assert (fault.name, fault.served) == ("rover", True)
    assert (left.card("rover").title, left.metadata(left.entry("rover")).tasks) == ("rover", ())


def test_metadata_of_another_bundle_is_not_believed(tmp_path: Path, snapshot: snapshots.Snapshot) -> None:
    folder = tmp_path / "catalogue"
    other = model.metadata_path(folder, snapshot.entry("archive").bundle).read_bytes()
    model.metadata_path(folder, snapshot.entry("rover").bundle).write_bytes(other)
    [fault] = snapshots.load(folder).faults
    assert "describes archive, generation 1" in fault.reason


def test_a_tool_list_that_is_not_there_is_told_to_be_none(tmp_path: Path, snapshot: snapshots.Snapshot) -> None:
    model.tools_path(tmp_path / "catalogue", snapshot.entry("rover").tools_hash).unlink()
    assert snapshot.tools(snapshot.entry("rover")) is None


def test_a_tool_list_that_was_changed_is_not_answered(tmp_path: Path, snapshot: snapshots.Snapshot) -> None:
    model.tools_path(tmp_path / "catalogue", snapshot.entry("rover").tools_hash).write_text("[]")
    with pytest.raises(problems.ProblemError, match="tool list of rover cannot be read"):
        snapshot.tools(snapshot.entry("rover"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read: No such file"),
        ("{", "broken JSON"),
        ("[]", "format: must be 'awm-catalogue/1', not 'list'"),
        ('{"format": "awm-catalogue/2", "entries": []}', "not 'awm-catalogue/2'"),
        ('{"format": "awm-catalogue/1", "entries": {}}', "entries: must be a list"),
    ],
)
def test_a_file_that_is_no_index_is_refused_by_name(tmp_path: Path, content: str | None, reason: str) -> None:
    index = tmp_path / "index.json"
    if content is not None:
        index.write_text(content)
    with pytest.raises(errors.CatalogueError, match=reason) as caught:
        snapshots.load(index)
    assert str(index) in str(caught.value)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, ["archive", "etsy_shop", "rover"]),
        ({"search": "PETS"}, ["archive", "rover"]),
        ({"search": "old pets"}, ["archive"]),
        ({"tier": "silver"}, ["etsy_shop"]),
        ({"tag": "pets"}, ["rover"]),
        ({"split": "test"}, ["etsy_shop", "rover"]),
        ({"split": "train", "difficulty": "hard"}, []),
        ({"split": "test", "difficulty": "hard"}, ["rover"]),
    ],
)
def test_scenarios_are_filtered(snapshot: snapshots.Snapshot, wanted: dict[str, Any], found: list[str]) -> None:
    assert scenario_names(paging.scenarios(snapshot, paging.Filter(**wanted))) == found


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, ["list", "ship", "walk", "sit"]),
        ({"split": "test"}, ["ship", "sit"]),
        ({"difficulty": "easy"}, ["walk"]),
        ({"search": "rex"}, ["walk"]),
        ({"search": "rover do"}, ["sit"]),
        ({"tier": "gold"}, ["walk", "sit"]),
    ],
)
def test_tasks_are_filtered(snapshot: snapshots.Snapshot, wanted: dict[str, Any], found: list[str]) -> None:
    assert task_ids(paging.tasks(snapshot, paging.Filter(**wanted))) == found


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
def test_pages_make_the_whole_list(snapshot: snapshots.Snapshot, limit: int) -> None:
    whole, cursor, pages = [], None, 0
    while pages == 0 or cursor is not None:
        page = paging.tasks(snapshot, paging.Filter(), limit=limit, cursor=cursor)
        whole += task_ids(page)
        cursor, pages = page.next_cursor, pages + 1
    assert whole == ["list", "ship", "walk", "sit"]
    assert pages == -(-4 // limit)


def test_a_cursor_outlives_a_reload(tmp_path: Path, snapshot: snapshots.Snapshot) -> None:
    first = paging.scenarios(snapshot, paging.Filter(), limit=2)
    assert scenario_names(first) == ["archive", "etsy_shop"]
    smaller = snapshots.load(rewrite(tmp_path, lambda rows: rows.__delitem__(slice(0, 2))))
    rest = paging.scenarios(smaller, paging.Filter(), limit=2, cursor=first.next_cursor)
    assert scenario_names(rest) == ["rover"]


@hypothesis.given(
    cursor=st.text(max_size=40).filter(lambda text: re.fullmatch("[a-z0-9_]+(:[0-9]+)?", text) is None)
    | st.sampled_from(["shop:", ":1", "shop:-1", "shop:1:2", "shop\n", "shop:1234567890", "x" * 201])
)
def test_a_strange_cursor_is_a_bad_request(cursor: str) -> None:
    empty = snapshots.Snapshot([], {}, [], Path("nowhere"))
    with pytest.raises(problems.ProblemError) as caught:
        paging.scenarios(empty, paging.Filter(), cursor=cursor)
    assert caught.value.code is problems.Code.BAD_REQUEST


def test_a_reload_exchanges_the_catalogue_and_leaves_readers_alone(
    tmp_path: Path, snapshot: snapshots.Snapshot
) -> None:
    served = sources.Catalogues(tmp_path / "catalogue")
    before = served.current
    rewrite(tmp_path, lambda rows: rows.pop(0))
    served.reload()
    assert (len(before), len(served.current)) == (3, 2)
    (tmp_path / "catalogue" / "index.json").write_text("{")
    with pytest.raises(errors.CatalogueError):
        served.reload()
    assert len(served.current) == 2


def test_an_exchanged_index_is_noticed_and_a_broken_one_is_passed_over(
    tmp_path: Path, snapshot: snapshots.Snapshot, caplog: pytest.LogCaptureFixture
) -> None:
    index = tmp_path / "catalogue" / "index.json"
    served = sources.Catalogues(index)

    async def story() -> None:
        whole = index.read_text()
        following = asyncio.create_task(served.follow(every_s=0.005))
        index.write_text("{")
        await asyncio.to_thread(instances.wait_for, lambda: "stays as it was" in caplog.text)
        assert len(served.current) == 3
        index.write_text(whole)
        rewrite(tmp_path, lambda rows: rows.pop(0))
        await asyncio.to_thread(instances.wait_for, lambda: len(served.current) == 2)
        following.cancel()

    asyncio.run(story())
    assert caplog.text.count("stays as it was") == 1
