"""What the control plane does when two of its callers meet, when a caller goes, and when a database is spoiled."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from starlette.types import ASGIApp, Message

from awm_runtime.bundle import database, reading
from awm_runtime.contract import episodes as contract
from awm_runtime.contract import problems, verdicts
from awm_runtime.server import (
    admission,
    configuration,
    control_plane,
    episodes,
    hosts,
    judging,
    metrics,
    runners,
    scenarios,
    settings,
    tools,
)
from awm_runtime.server import control as controls
from awm_runtime.verification import sandbox

LIBRARY = Path(__file__).resolve().parents[3] / "fleet" / "src" / "awm_fleet" / "examples" / "library"


@pytest.fixture
def control(tmp_path: Path) -> controls.Control:
    """The control plane of an instance whose code is still being loaded."""
    bundle = reading.read(LIBRARY)
    seed = tmp_path / "seed.db"
    database.build(bundle.schema_sql, bundle.seed_sql, bundle.clock, seed, "on")
    tasks = frozenset(task.id for task in bundle.tasks)
    world = episodes.World(seed=seed, seed_hash="sha256:0", clock=bundle.clock, foreign_keys=True, tasks=tasks)
    store = episodes.EpisodeStore(tmp_path / "episodes", world, settings.Settings())
    judge = cast(sandbox.Judge, None)  # nothing that can be read is judged here
    return controls.Control(
        bundle,
        store,
        scenarios.LoadingScenario(),
        judging.Judging(bundle, store, judge, scratch=tmp_path, limits=settings.Settings()),
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


# A database that scenario code has spoiled


def _spoiled(control: controls.Control, *, is_open: bool) -> str:
    """An episode with a database that is none any more."""
    task = control.bundle.tasks[0].id
    episode = control.store.open(contract.EpisodeSpec(task=task), ttl_s=100, retain_s=100)
    if is_open:
        episode.connections.release(episode.connections.acquire())
    episode.database.write_bytes(b"no database" * 1000)
    episode.hashed = None
    return episode.id


@pytest.mark.parametrize("is_open", [True, False])
def test_a_verdict_on_a_spoiled_database_abstains_and_blames_the_environment(
    control: controls.Control, is_open: bool
) -> None:
    id = _spoiled(control, is_open=is_open)
    verdict = asyncio.run(control.verify(id, verdicts.VerifyRequest()))
    assert (verdict.outcome, verdict.reward, verdict.mask, verdict.blame) == ("abstained", None, True, "environment")


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("what", ["look", "diff"])
def test_a_spoiled_database_is_a_problem_of_the_environment(
    control: controls.Control, what: str, is_open: bool
) -> None:
    id = _spoiled(control, is_open=is_open)
    with pytest.raises(problems.ProblemError) as caught:
        asyncio.run(getattr(control, what)(id))
    assert (caught.value.code, caught.value.blame) == ("internal", "environment")


@pytest.mark.parametrize("is_open", [True, False])
def test_the_fork_of_a_spoiled_database_is_refused_alone(control: controls.Control, is_open: bool) -> None:
    id = _spoiled(control, is_open=is_open)
    specs = [contract.EpisodeSpec(), contract.EpisodeSpec(source=id), contract.EpisodeSpec()]
    answer = asyncio.run(control.open(contract.OpenRequest(episodes=specs)))
    assert len(answer.episodes) == 2
    assert [(each.index, each.error.code, each.error.blame) for each in answer.rejected] == [
        (1, "internal", "environment")
    ]
    listed = {each.id for each in control.store}
    assert listed == {id, *(each.id for each in answer.episodes)}


def test_a_snapshot_of_a_spoiled_database_is_a_problem_of_the_environment(control: controls.Control) -> None:
    async def snapshot(id: str) -> None:
        async with control.snapshot(id, "current"):
            pass

    with pytest.raises(problems.ProblemError) as caught:
        asyncio.run(snapshot(_spoiled(control, is_open=False)))
    assert (caught.value.code, caught.value.blame) == ("internal", "environment")


# Over HTTP


@pytest.fixture
def app(control: controls.Control) -> ASGIApp:
    return control_plane.create(
        control,
        admitted=admission.Admission(configuration.InstanceConfig(bundle="", state="", agent_url=""), "small"),
        guard=hosts.guard(),
        request_bytes=1000,
    )


def _get(app: ASGIApp, path: str) -> httpx.Response:
    return _send(app, "GET", path)


def _send(app: ASGIApp, method: str, path: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, path)

    return asyncio.run(ask())


def test_an_instance_is_ready_once_its_code_is_loaded_and_while_its_seed_can_be_read(
    control: controls.Control, app: ASGIApp
) -> None:
    assert _get(app, "/readyz").status_code == 503
    control.scenario.succeed(scenarios.Loaded(tools.ToolSet({}, [], []), cast(runners.Runner, None)))
    assert _get(app, "/readyz").status_code == 200
    seed = control.store.world.seed
    reasons = []
    for spoil in (lambda: seed.write_bytes(b"no database" * 100), seed.unlink):
        spoil()
        response = _get(app, "/readyz")
        assert response.status_code == 503
        assert str(seed.parent) not in response.text
        reasons.append(response.json()["reason"].partition(": ")[2])
    assert reasons == ["file is not a database", "unable to open database file"]


def test_half_a_request_resets_nothing(control: controls.Control, app: ASGIApp) -> None:
    episode = control.store.open(contract.EpisodeSpec(), ttl_s=100, retain_s=100)
    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": f"/v1/episodes/{episode.id}/reset",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), (b"content-length", b"100")],
    }
    halves: list[Message] = [
        {"type": "http.disconnect"},
        {"type": "http.request", "body": b"", "more_body": True},
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        return halves.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(cast(Any, app)(scope, receive, send))
    assert (episode.meta.attempt, sent) == (0, [])


def test_an_instance_is_drained_when_its_last_episode_is_closed_and_opens_no_more(
    control: controls.Control, app: ASGIApp
) -> None:
    control.scenario.succeed(scenarios.Loaded(tools.ToolSet({}, [], []), cast(runners.Runner, None)))
    episode = control.store.open(contract.EpisodeSpec(), ttl_s=100, retain_s=100)
    refused = _send(app, "POST", "/v1/drain")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert _get(app, "/readyz").status_code == 200
    control.store.close(episode)
    assert [_send(app, "POST", "/v1/drain").status_code for _ in range(2)] == [204, 204]
    assert _get(app, "/readyz").json() == {"status": "draining"}
    wanted = [contract.EpisodeSpec(), contract.EpisodeSpec(source=episode.id)]
    answer = asyncio.run(control.open(contract.OpenRequest(episodes=wanted)))
    assert [each.error.code for each in answer.rejected] == [problems.Code.AT_CAPACITY] * 2
    assert _get(app, f"/v1/episodes/{episode.id}").json()["state"] == "closed"


def test_neither_a_lease_that_ran_out_nor_a_default_episode_holds_up_a_drain(control: controls.Control) -> None:
    control.store.open(contract.EpisodeSpec(), ttl_s=0, retain_s=100)
    control.store.default()
    control.drain()
    assert control.is_drained
