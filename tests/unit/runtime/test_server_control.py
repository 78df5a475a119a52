"""What the control plane does when two of its callers meet."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest

from awm_runtime.bundle import database, reading
from awm_runtime.contract import episodes as contract
from awm_runtime.contract import problems
from awm_runtime.server import control as controls
from awm_runtime.server import episodes, judging, metrics, scenarios, settings

LIBRARY = Path(__file__).resolve().parents[3] / "fleet" / "src" / "awm_fleet" / "examples" / "library"


@pytest.fixture
def control(tmp_path: Path) -> controls.Control:
    """The control plane of an instance whose code is still being loaded."""
    bundle = reading.read(LIBRARY)
    seed = tmp_path / "seed.db"
    database.build(bundle.schema_sql, bundle.seed_sql, bundle.clock, seed, "on")
    world = episodes.World(seed=seed, seed_hash="sha256:0", clock=bundle.clock, foreign_keys=True, tasks=frozenset())
    return controls.Control(
        bundle,
        episodes.EpisodeStore(tmp_path / "episodes", world, settings.Settings()),
        scenarios.LoadingScenario(),
        cast(judging.Judging, None),  # nothing is judged here
        meter=metrics.Metrics(lambda: 0),
        agent_url="http://127.0.0.1:1",
        scratch=tmp_path,
    )


def _while_locked(
    control: controls.Control, waiting: Callable[[str], Awaitable[object]], meanwhile: Callable[[str], object]
) -> object:
    """What comes of a request that waits for an episode while something else happens to it."""

    async def play() -> object:
        answer = await control.open(contract.OpenRequest(episodes=[contract.EpisodeSpec()]))
        id = answer.episodes[0].id
        async with control.store.get(id).lock:
            request = asyncio.ensure_future(waiting(id))
            await asyncio.sleep(0)
            meanwhile(id)
        return await request

    return asyncio.run(play())


def test_an_episode_that_is_closed_while_a_reset_waits_keeps_its_final_state(control: controls.Control) -> None:
    def close(id: str) -> None:
        control.store.close(control.store.get(id))

    with pytest.raises(problems.ProblemError) as caught:
        _while_locked(control, lambda id: control.reset(id, None), close)
    assert caught.value.code == "episode_closed"
    [episode] = control.store
    assert episode.meta.attempt == 0


def test_an_episode_can_be_closed_before_the_code_is_loaded(control: controls.Control) -> None:
    _while_locked(control, control.close, control.store.get)
    [episode] = control.store
    assert episode.meta.state == "closed"


def test_a_source_that_is_forgotten_while_its_fork_waits_is_unknown(control: controls.Control) -> None:
    async def fork(id: str) -> contract.OpenResponse:
        return await control.open(contract.OpenRequest(episodes=[contract.EpisodeSpec(source=id)]))

    answer = _while_locked(control, fork, lambda id: control.store.forget(control.store.get(id)))
    assert isinstance(answer, contract.OpenResponse)
    assert [each.error.code for each in answer.rejected] == ["unknown_episode"]
