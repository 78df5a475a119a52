"""Seeds that become many scenarios: which are kept, which are not, and when it ends."""

import asyncio
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from awm_generator import errors, seeds
from awm_generator.awm_files import rows
from awm_generator.double import jobs
from awm_generator.model import endpoints, language, scripted
from awm_generator.stages import growing, journals, row_files, running, similarity
from awm_runtime import names


class Notes(running.Unwatched):
    """What a person is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, text: str) -> None:
        self.told.append(text)

    def settled(self, stage: str, entry: journals.Entry) -> None:
        if entry.reason:
            self.told.append(f"{stage}: {entry.scenario}: {entry.reason}")


Ideas = Callable[[jobs.Job, int], Iterable[dict[str, Any]]]


class Local(scripted.ScriptedModel):
    """A model beside which there is none for embeddings."""

    embedding_name = endpoints.LOCAL_EMBEDDINGS


def model(ideas: Ideas, unsuitable: frozenset[str] = frozenset(), *, local: bool = True) -> scripted.ScriptedModel:
    """Thinks up what `ideas` returns for each request, and finds all suitable but some."""
    asked = iter(range(10_000))

    def answer(request: language.Request) -> str:
        job = jobs.recognised([{"role": each.role, "content": each.content} for each in request.messages])
        if job.kind == "grow":
            return json.dumps({"scenarios": list(ideas(job, next(asked)))})
        return json.dumps({"verdicts": [verdict(item, unsuitable) for item in job.items]})

    return (Local if local else scripted.ScriptedModel)(answer)


def verdict(item: dict[str, Any], unsuitable: frozenset[str]) -> dict[str, Any]:
    return {
        "name": item["name"],
        "suitable": item["name"] not in unsuitable,
        "category": item.get("category", "shops"),
        "description": item.get("description") or f"About {item['name']}.",
        "reason": "streams video",
    }


def grown(
    folder: Path, asked: language.LanguageModel, found: Iterable[Any], **settings: Any
) -> tuple[list[dict[str, Any]], Notes]:
    path, notes = folder / "gen_scenario.jsonl", Notes()
    target = running.RowTarget(row_files.opened(path, "gen_scenario.jsonl"), journals.Memory(folder).journal(path))
    growth = growing.Growth(**{"num_parallel_requests": 1, **settings})
    kept = growing.usable_seeds(found, notes)
    asyncio.run(growing.Grower(asked, target, growth, notes).grow(kept))
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines], notes


def seed(*given: str) -> list[dict[str, Any]]:
    return [{"name": name, "description": f"People use {name}."} for name in given]


def numbered(_: jobs.Job, number: int) -> list[dict[str, Any]]:
    words = ("apple", "bridge", "candle", "dolphin", "engine", "forest", "glacier", "hammer", "island", "jungle")
    word = words[number % 10] + words[number // 10 % 10]
    return [{"name": f"{word} {word[::-1]}", "description": f"{word * 3}.", "category": f"trade {number % 7}"}]


def test_seeds_come_first_and_then_what_is_new_until_there_are_enough(tmp_path: Path) -> None:
    found, _ = grown(tmp_path, model(numbered), seed("Bakery", "Ferry"), target_count=9)
    assert [row["name"] for row in found[:2]] == ["Bakery", "Ferry"]
    assert len(found) == len({names.normalise(row["name"]) for row in found}) == 9
    assert all(row["description"] and row["category"] for row in found)


def test_what_does_not_suit_is_left_out_with_the_reason(tmp_path: Path) -> None:
    asked = model(numbered, frozenset({"Video Streaming"}))
    found, notes = grown(tmp_path, asked, seed("Bakery", "Video Streaming"), target_count=2, classify_only=True)
    assert [row["name"] for row in found] == ["Bakery"]
    assert notes.told == ["scenario: video_streaming: does not suit: streams video"]


def test_without_classification_all_are_taken(tmp_path: Path) -> None:
    asked = model(numbered, frozenset({"Video Streaming"}))
    found, _ = grown(tmp_path, asked, seed("Bakery", "Video Streaming"), target_count=2, skip_classification=True)
    assert len(found) == 2
    assert asked.requests == []


def test_near_duplicates_are_refused_and_like_ones_told(tmp_path: Path) -> None:
    text = "Members borrow tools from a shared shed for a week and bring them back clean"
    given = [
        {"name": "Tool Shed", "description": f"{text}."},
        {"name": "Tool Shed Two", "description": f"{text}!"},
        {"name": "Tool Library", "description": f"{text}, paying a deposit for the big ones."},
        {"name": "Ferry", "description": "Passengers book a crossing."},
    ]
    found, notes = grown(
        tmp_path, model(numbered), given, target_count=3, classify_only=True, embedding_warning_threshold=0.5
    )
    assert [row["name"] for row in found] == ["Tool Shed", "Tool Library", "Ferry"]
    assert any(note.startswith("scenario: tool_shed_two: is too much like Tool Shed") for note in notes.told)
    assert any(note.startswith("Tool Library is much like Tool Shed") for note in notes.told)


def test_a_trade_gets_no_more_than_its_share(tmp_path: Path) -> None:
    def shops(_: jobs.Job, number: int) -> list[dict[str, Any]]:
        [idea] = numbered(_, number)
        return [{**idea, "category": "shops" if number % 2 else "travel"}]

    asked = model(shops)
    found, _ = grown(tmp_path, asked, seed("Bakery"), target_count=5, max_per_category=2, max_stall_iterations=4)
    assert sorted(row["category"] for row in found) == ["shops", "shops", "travel", "travel"]
    assert "These trades are full, so think of others: shops, travel" in asked.requests[-2].messages[-1].content


def test_growth_that_stalls_ends_and_says_so(tmp_path: Path) -> None:
    asked = model(lambda _, __: [{"name": "Bakery", "description": "Again.", "category": "shops"}])
    found, notes = grown(tmp_path, asked, seed("Bakery"), target_count=5, max_stall_iterations=3)
    assert len(found) == 1
    assert notes.told[-1].startswith("stopped at 1 of 5 scenarios: 3 rounds brought nothing new")


def test_rounds_have_an_end(tmp_path: Path) -> None:
    _, notes = grown(tmp_path, model(numbered), seed("Bakery"), target_count=50, max_total_iterations=4)
    assert notes.told[-1] == "stopped at 5 of 50 scenarios after 4 rounds (--max_total_iterations)"


def test_seeds_twice_in_other_scripts_or_without_a_name_are_named_and_the_rest_comes_in(tmp_path: Path) -> None:
    given = [*seed("Bakery", "BAKERY", "面包店", "Кафе 24", "x" * 200), {"title": "no name"}, 7]
    found, notes = grown(tmp_path, model(numbered), given, target_count=2, classify_only=True)
    assert [row["name"] for row in found] == ["Bakery", "Кафе 24"]
    assert len(notes.told) == 5
    assert "seed 'BAKERY' is there twice; the first counts" in notes.told
    assert any(note.startswith("seed '面包店' is left out: names have a Latin letter") for note in notes.told)


def test_nothing_to_grow_from_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(errors.GenerationError, match="no seed suits"):
        grown(tmp_path, model(numbered, frozenset({"Bakery"})), seed("Bakery"), target_count=2)


def test_a_started_run_goes_on_where_it_ended(tmp_path: Path) -> None:
    asked = model(numbered)
    first, _ = grown(tmp_path, asked, seed("Bakery", "Ferry"), target_count=4)
    more, _ = grown(tmp_path, asked, seed("Bakery", "Ferry"), target_count=7)
    assert more[:4] == first
    assert len(more) == 7
    count = len(asked.requests)
    grown(tmp_path, asked, seed("Bakery", "Ferry"), target_count=7)
    assert len(asked.requests) == count


def test_an_endpoints_embeddings_are_used_where_there_are_some(tmp_path: Path) -> None:
    asked = model(numbered, local=False)
    found, notes = grown(tmp_path, asked, seed("Bakery", "Ferry"), target_count=3)
    assert len(found) == 3
    assert notes.told == []


def test_the_shipped_seeds_are_a_hundred_different_services() -> None:
    notes = Notes()
    shipped = growing.usable_seeds(seeds.read(None), notes)
    assert notes.told == []
    assert len({names.normalise(row.scenario) for row in shipped}) == 100
    assert all(30 < len(row.description) < 160 for row in shipped)
    collection = similarity.Collection()
    for row in shipped:
        vector = similarity.local(f"{row.scenario}: {row.description}")
        closest = collection.closest(vector)
        assert closest is None or closest.cosine < 0.75, (row.scenario, closest)
        collection.add(row.scenario, vector)


def test_a_plain_list_of_names_will_do_as_seeds(tmp_path: Path) -> None:
    file = tmp_path / "seeds.txt"
    file.write_text('Bakery\n\n{"name": "Ferry"}\n"Quoted"\n')
    assert list(seeds.read(file)) == [{"name": "Bakery"}, {"name": "Ferry"}, {"name": "Quoted"}]
    with pytest.raises(errors.GenerationError, match="cannot be read"):
        list(seeds.read(tmp_path / "none"))


@pytest.mark.parametrize(
    ("one", "other", "at_least", "below"),
    [
        ("Borrow tools for a week", "borrow TOOLS, for a week!", 0.99, 1.01),
        ("Borrow tools for a week", "Borrow tools for two weeks", 0.5, 0.9),
        ("Borrow tools for a week", "Passengers book a crossing", -0.2, 0.2),
        ("", "anything", -0.01, 0.01),
    ],
)
def test_local_vectors_tell_the_same_words_from_others(one: str, other: str, at_least: float, below: float) -> None:
    cosine = sum(a * b for a, b in zip(similarity.local(one), similarity.local(other), strict=True))
    assert at_least <= cosine <= below


def test_rows_keep_what_seeds_hold_beside(tmp_path: Path) -> None:
    given = [{"name": "Bakery", "description": "Bread.", "region": "north"}]
    found, _ = grown(tmp_path, model(numbered), given, target_count=1)
    assert found == [{"name": "Bakery", "description": "Bread.", "region": "north", "category": "shops"}]
    assert rows.ScenarioRow.model_validate(found[0]).scenario == "Bakery"
