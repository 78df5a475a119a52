"""Replies are kept, and paid for once; a limit on the cost holds."""

import asyncio
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from awm_generator import errors
from awm_generator.model import caching, language, ledger, prices, scripted

ASKED = language.Request(messages=(language.Message("user", "How?"),), stage="db", scenario="rover")
TABLE = prices.Prices({"priced": prices.Price(input=0.0, output=1_000_000.0)})  # a dollar for each token


def test_the_same_request_is_answered_once(tmp_path: Path) -> None:
    inner = scripted.ScriptedModel(lambda _: "so")
    for _ in range(2):  # the second time as a run that was started again
        model = caching.Cached(inner, tmp_path)
        assert asyncio.run(model.complete(ASKED)).text == "so"
    # Whose it is and what for is no part of the question.
    asyncio.run(caching.Cached(inner, tmp_path).complete(dataclasses.replace(ASKED, stage="spec", scenario="x")))
    assert len(inner.requests) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"messages": (language.Message("user", "Why?"),)},
        {"temperature": 1.0},
        {"salt": "generation 2"},
        {"shape": language.Shape("s", {})},
        {"shape": language.Shape("s", {"type": "object"})},
    ],
)
def test_another_request_is_asked(change: dict[str, object], tmp_path: Path) -> None:
    inner = scripted.ScriptedModel(lambda _: "so")
    model = caching.Cached(inner, tmp_path)
    asyncio.run(model.complete(ASKED))
    asyncio.run(model.complete(dataclasses.replace(ASKED, **change)))  # type: ignore[arg-type]
    assert len(inner.requests) == 2


def test_another_model_is_asked(tmp_path: Path) -> None:
    for name in ("one", "two"):
        inner = scripted.ScriptedModel(lambda _: "so", name=name)
        asyncio.run(caching.Cached(inner, tmp_path).complete(ASKED))
        assert len(inner.requests) == 1


def test_a_torn_reply_is_asked_for_again(tmp_path: Path) -> None:
    inner = scripted.ScriptedModel(lambda _: "so")
    asyncio.run(caching.Cached(inner, tmp_path).complete(ASKED))
    [file] = tmp_path.rglob("*.json")
    file.write_text(file.read_text()[:10])
    assert asyncio.run(caching.Cached(inner, tmp_path).complete(ASKED)).text == "so"
    assert len(inner.requests) == 2


def test_only_new_texts_are_embedded(tmp_path: Path) -> None:
    asked: list[str] = []

    class Counting(scripted.ScriptedModel):
        async def embed(self, texts: Sequence[str]) -> language.Embedded:
            asked.extend(texts)
            return await super().embed(texts)

    inner = Counting(lambda _: "")
    model = caching.Cached(inner, tmp_path)
    first = asyncio.run(model.embed(["a", "b"])).vectors
    again = asyncio.run(model.embed(["b", "c", "a"])).vectors
    assert asked == ["a", "b", "c"]
    assert again[0] == pytest.approx(first[1], abs=1e-6)
    assert again[2] == pytest.approx(first[0], abs=1e-6)


def metered(tmp_path: Path, most: float | None, *, name: str = "priced", tokens: int = 1) -> ledger.Metered:
    async def slow(request: language.Request) -> language.Reply:
        await asyncio.sleep(0)
        return language.Reply(text="so", usage=language.Usage(100, tokens))

    inner = scripted.ScriptedModel(lambda _: "", name=name)
    inner.complete = slow  # type: ignore[method-assign]
    return ledger.Metered(inner, ledger.Ledger(tmp_path / "ledger.jsonl"), table=TABLE, most=most)


def test_costs_are_written_down_by_stage_and_scenario(tmp_path: Path) -> None:
    model = metered(tmp_path, None)
    asyncio.run(model.complete(ASKED))
    asyncio.run(model.complete(dataclasses.replace(ASKED, stage="env")))
    again = ledger.Ledger(tmp_path / "ledger.jsonl")
    assert (again.total.replies, again.total.input_tokens, again.total.output_tokens) == (2, 200, 2)
    assert again.total.cost == 2.0
    assert {name: spent.cost for name, spent in again.stages.items()} == {"db": 1.0, "env": 1.0}
    assert json.loads((tmp_path / "ledger.jsonl").read_text().splitlines()[0])["scenario"] == "rover"


def test_an_unknown_price_is_not_guessed(tmp_path: Path) -> None:
    asyncio.run(metered(tmp_path, None, name="unheard-of").complete(ASKED))
    spent = ledger.Ledger(tmp_path / "ledger.jsonl").total
    assert (spent.cost, spent.unpriced) == (0.0, 1)


def test_a_limit_needs_a_price(tmp_path: Path) -> None:
    with pytest.raises(errors.GenerationError, match=r"price of 'unheard-of'.*--prices"):
        metered(tmp_path, 5, name="unheard-of")


def test_a_limit_is_passed_by_one_reply_at_most_however_many_ask(tmp_path: Path) -> None:
    async def work(most: float) -> tuple[float, int]:
        model = metered(tmp_path, most)
        told = await asyncio.gather(*(model.complete(ASKED) for _ in range(64)), return_exceptions=True)
        stopped = [each for each in told if isinstance(each, errors.BudgetSpent)]
        return ledger.Ledger(tmp_path / "ledger.jsonl").total.cost, len(stopped)

    assert asyncio.run(work(10.5)) == (11.0, 64 - 11)
    # And a higher limit goes on from there.
    assert asyncio.run(work(20.0)) == (20.0, 64 - 9)


def test_a_torn_line_of_the_ledger_is_passed_over(tmp_path: Path) -> None:
    asyncio.run(metered(tmp_path, None).complete(ASKED))
    with (tmp_path / "ledger.jsonl").open("a") as file:
        file.write('{"stage": "db", "inp')
    assert ledger.Ledger(tmp_path / "ledger.jsonl").total.replies == 1


def test_prices_of_the_user_come_first(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('["gpt-5"]\ninput = 2\noutput = 4\n["mine"]\ninput = 0\noutput = 0\n')
    table = prices.load(own)
    million = language.Usage(1_000_000, 1_000_000)
    assert table.cost("gpt-5", million) == 6
    assert table.cost("mine", million) == 0
    assert table.cost("gpt-4.1", million) == 10  # the shipped one
    assert table.cost("gpt-4.1-2025-04-14", million) == 10  # a dated name of it
    assert table.cost("other", million) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[x", "no TOML"),
        ('["m"]\ninput = -1\noutput = 2\n', "m.input"),
        ('["m"]\ninput = 1\n', "m.output"),
    ],
)
def test_a_malformed_price_is_named(text: str, said: str, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(text)
    with pytest.raises(errors.GenerationError, match=said):
        prices.load(own)


def test_a_missing_price_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.GenerationError, match=r"none\.toml: cannot be read"):
        prices.load(tmp_path / "none.toml")
