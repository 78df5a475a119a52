"""What a call leaves behind, and when an episode answers no more."""

import asyncio
from pathlib import Path
from typing import cast

import orjson
import pytest

from awm_runtime.bundle import database, reading
from awm_runtime.contract import episodes as contract
from awm_runtime.server import calls, episodes, inflight, metrics, runners, scenarios, settings, tools

LIBRARY = Path(__file__).resolve().parents[3] / "fleet" / "src" / "awm_fleet" / "examples" / "library"
LIMIT = 100_000


@pytest.fixture
def store(tmp_path: Path) -> episodes.EpisodeStore:
    bundle = reading.read(LIBRARY)
    seed = tmp_path / "seed.db"
    database.build(bundle.schema_sql, bundle.seed_sql, bundle.clock, seed, "on")
    world = episodes.World(seed=seed, seed_hash="sha256:0", clock=bundle.clock, foreign_keys=True, tasks=frozenset())
    return episodes.EpisodeStore(tmp_path / "episodes", world, settings.Settings(episode_bytes=LIMIT))


@pytest.fixture
def host(store: episodes.EpisodeStore, tmp_path: Path) -> calls.Calls:
    """The calls of a scenario without a tool."""
    scenario = scenarios.LoadingScenario()
    scenario.succeed(scenarios.Loaded(tools.ToolSet({}, [], []), cast(runners.Runner, None)))
    return calls.Calls(
        reading.read(LIBRARY),
        store,
        scenario,
        in_flight=inflight.InFlightTable(tmp_path / "inflight"),
        limits=settings.Settings(episode_bytes=LIMIT),
        meter=metrics.Metrics(lambda: 0),
    )


def test_an_episode_whose_log_used_up_its_room_answers_no_more_until_it_is_reset(
    host: calls.Calls, store: episodes.EpisodeStore
) -> None:
    episode = store.open(contract.EpisodeSpec(), ttl_s=100, retain_s=100)

    def call(text: str) -> str:
        return asyncio.run(host.call(episode.id, "no_such_tool", {"text": text})).text

    for _ in range(3):
        assert call("x" * 40_000).startswith("Unknown tool")
    assert call("short") == "This episode has used up the room for its call log."
    assert len(episode.trace.read_bytes().splitlines()) == episode.tally.calls == 3
    assert episode.tally.log_bytes == episode.trace.stat().st_size
    store.reset(episode, seed=None)
    assert call("short").startswith("Unknown tool")


def test_huge_arguments_leave_a_note_in_the_log(host: calls.Calls, store: episodes.EpisodeStore) -> None:
    episode = store.open(contract.EpisodeSpec(), ttl_s=100, retain_s=100)
    asyncio.run(host.call(episode.id, "no_such_tool", {"text": "x" * 3_000_000}))
    [line] = map(orjson.loads, episode.trace.read_bytes().splitlines())
    assert (line["tool"], list(line["arguments"])) == ("no_such_tool", ["cut"])
    assert episode.tally.log_bytes < 1000
