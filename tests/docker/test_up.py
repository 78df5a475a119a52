"""`awm up --backend docker`: a fleet of containers behind one port."""

import asyncio
import contextlib
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import instances
import mcp
import psutil
import pytest

from awm_fleet import examples
from awm_fleet.backends.docker import plans
from awm_fleet.backends.process import states
from awm_registry import client
from awm_runtime.contract import problems

AWM = [sys.executable, "-m", "awm_fleet"]


def run(*command: object) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def labelled(kind: str, *options: str) -> list[str]:
    return run(
        "docker", kind, "ls", *options, "--filter", f"label={plans.FLEET}", "--format", "{{json .}}"
    ).splitlines()


def _prefix(state: Path) -> str:
    return f"awm-{hashlib.sha256(bytes(state.resolve())).hexdigest()[:8]}-"


def _container(state: Path, wanted: str) -> str:
    """What the engine says of the one container of a fleet."""
    [container] = run("docker", "ps", "-q", "--filter", f"name={_prefix(state)}").splitlines()
    return run("docker", "inspect", "--format", wanted, container)


@contextlib.contextmanager
def ended_after(state: Path, *images: str) -> Iterator[None]:
    """Ends a fleet, and removes its volumes and some images."""
    volumes = set(labelled("volume"))
    try:
        yield
    finally:
        run(*AWM, "down", "--state", state)
        for each in set(labelled("volume")) - volumes:
            run("docker", "volume", "rm", json.loads(each)["Name"])
        run("docker", "image", "rm", "-f", *images)


@pytest.fixture
def fleet(tmp_path: Path, runtime_base: str) -> Iterator[dict[str, Any]]:
    """A fleet with both examples; what `awm status` says of it."""
    state = tmp_path / "state"
    bundles = [option for name in examples.names() for option in ("--bundles", examples.path(name))]
    run(*AWM, "up", *bundles, "--state", state, "--port", 0, "--backend", "docker", "--base", runtime_base, "--detach")
    with ended_after(state, "awm/clinic:1", "awm/library:1"):
        yield {**json.loads(run(*AWM, "status", "--json", "--state", state)), "state": state}
        run(*AWM, "down", "--state", state)
        assert not [
            each for each in labelled("container", "-a") if json.loads(each)["Names"].startswith(_prefix(state))
        ]


def test_a_container_reached_directly_asks_for_the_episodes_token(tmp_path: Path, runtime_base: str) -> None:
    state, folder = tmp_path / "state", tmp_path / "keys"
    run(*AWM, "token", "rotate", "--keys", folder)
    token = run(*AWM, "token", "create", "--keys", folder, "--scope", "control")
    up = ["up", "--bundles", examples.path("library"), "--state", state, "--port", 0, "--backend", "docker"]
    with ended_after(state, "awm/library:1"):
        run(*AWM, *up, "--base", runtime_base, "--keys", folder, "--detach")
        url = json.loads(run(*AWM, "status", "--json", "--state", state))["url"]
        with client.SyncFleet(url, token=token) as trainer, trainer.open("library", task="next-due") as episode:
            direct = str(episode.view.direct_url)
            with client.ToolClient(direct, token=episode.token) as agent:
                assert agent.call("get_me", {}).is_error is False
            with client.ToolClient(direct) as nobody, pytest.raises(problems.ProblemError) as caught:
                nobody.tools()
            assert caught.value.code is problems.Code.UNAUTHENTICATED
            assert episode.verify("x").outcome == "failed"


def test_containers_are_the_images_that_a_catalogue_names(
    tmp_path: Path, runtime_base: str, image_registry: str, awm: Callable[..., Any]
) -> None:
    place, state = f"registry:{image_registry}/served", tmp_path / "state"
    [built] = awm("image", "build", "library", "--base", runtime_base, "--output", place)["images"]
    awm("catalog", "build", place, "--out", tmp_path / "catalogue")
    awm("catalog", "push", tmp_path / "catalogue", f"{place}/catalogue:1")
    name = built["image"].removeprefix("registry:")
    up = ["up", "--catalog", f"{place}/catalogue:1", "--state", state, "--port", 0, "--backend", "docker", "--detach"]
    with ended_after(state, name):
        run(*AWM, *up, "--base", "docker:awm-tests-no-such-base")  # so that nothing could be built here
        with client.SyncFleet(awm("status", "--state", state)["url"]) as trainer:
            with trainer.open("library", task="next-due") as episode:
                assert episode.verify("x").outcome == "failed"
            assert _container(state, "{{.Image}}") == run("docker", "image", "inspect", "--format", "{{.Id}}", name)


def test_the_containers_of_a_killed_fleet_serve_the_next_one_untouched(
    tmp_path: Path, runtime_base: str, awm: Callable[..., Any]
) -> None:
    state = tmp_path / "state"
    up = ["up", "--bundles", examples.path("library"), "--state", state, "--port", 0, "--backend", "docker"]
    with ended_after(state, "awm/library:1"):
        run(*AWM, *up, "--base", runtime_base, "--detach")
        seen = awm("status", "--state", state)
        [episode] = awm("episode", "open", "library", "--url", seen["url"])["episodes"]
        before = _container(state, "{{.Id}} {{.State.StartedAt}}")
        psutil.Process(seen["pid"]).kill()
        instances.wait_for(lambda: not states.is_held(state))
        run(*AWM, *up, "--base", runtime_base, "--detach")
        again = awm("status", "--state", state)["url"]
        assert awm("episode", "get", episode["id"], "--url", again)["state"] == "open"
        assert _container(state, "{{.Id}} {{.State.StartedAt}}") == before


async def tools_of(url: str) -> list[str]:
    async with mcp.Client(url) as tools:
        return [tool.name for tool in (await tools.list_tools()).tools]


def test_an_mcp_client_works_through_it_and_an_episode_is_judged(fleet: dict[str, Any]) -> None:
    assert {each["state"] for each in fleet["scenarios"]} == {"asleep"}
    assert "list_my_loans" in asyncio.run(asyncio.wait_for(tools_of(f"{fleet['url']}/s/library/mcp"), 60))
    with client.SyncFleet(fleet["url"]) as trainer, trainer.open("library", task="next-due") as episode:
        with client.ToolClient(episode.mcp_url) as tools:
            loans = tools.call("list_my_loans", {}).data()["items"]
        verdict = episode.verify(f"{loans[0]['title']}, by {loans[0]['due_on']}")
    assert verdict.outcome == "completed"
    seen = json.loads(run(*AWM, "status", "--json", "--state", fleet["state"]))
    states = {each["name"]: each["state"] for each in seen["scenarios"]}
    assert states == {"library": "ready", "clinic": "asleep"}
