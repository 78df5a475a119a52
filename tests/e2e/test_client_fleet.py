"""The fleet client before a real instance, and alone in an environment of its own."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.lowlevel
import instances
import pytest

from awm_fleet import examples
from awm_registry import client
from awm_runtime.contract import problems

ROOT = Path(__file__).resolve().parents[2]
LIGHT = {
    *("awm-registry", "awm-runtime", "httpx", "anyio", "certifi", "h11", "httpcore", "idna"),
    *("pydantic", "pydantic-core", "annotated-types", "typing-extensions", "typing-inspection"),
}
"""Ours, httpx, pydantic, and what they need."""
FILM = "Fourteen Days of Rain"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[instances.Running]:
    with instances.running(examples.path("library"), tmp_path_factory.mktemp("state"), episodes=40) as running:
        yield running


def example() -> str:
    [code] = re.findall(
        r"```python\n(.*?)```", (ROOT / "registry" / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    return str(code)


def test_an_episode_is_played_judged_reset_and_closed(library: instances.Running) -> None:
    async def story() -> None:
        async with client.Fleet(library.address.control_url) as fleet:
            async with await fleet.open("Library", task="rain-hold", seed=7) as episode:
                before = episode.view.state_hash
                assert "place_hold" in {tool["name"] for tool in await episode.tools()}
                found = await episode.call("search_titles", {"q": FILM})
                await episode.call("place_hold", {"title_id": found.data()["items"][0]["id"]})
                assert (await episode.verify()).reward == 1.0
                assert list(await episode.diff()) == ["holds"]
                assert [call["tool"] for call in await episode.trace()] == ["search_titles", "place_hold"]
                assert (await episode.snapshot())[:6] == b"SQLite"
                assert (await episode.look()).calls == 2
                await episode.reset()
                assert (episode.view.state_hash, await episode.diff()) == (before, {})
                refused = await episode.call("place_hold", {"title_id": 0})
                assert refused.is_error
            with pytest.raises(problems.ProblemError) as caught:
                await episode.call("get_me")
            assert caught.value.code is problems.Code.EPISODE_CLOSED
            with pytest.raises(client.UnknownScenario, match="library is served here, not 'clinic'"):
                await fleet.open("clinic")

    anyio.run(story)


def test_a_batch_that_has_no_room_at_once_is_opened_when_others_end(library: instances.Running) -> None:
    async def story() -> None:
        async with client.Fleet(library.address.control_url, patience_s=30) as fleet:
            first = await fleet.open_batch([{"task": "rain-hold", "count": 30}])
            async with anyio.create_task_group() as group:
                group.start_soon(close_later, fleet, first)
                async with await fleet.open_batch([{"task": "next-due", "count": 20, "group": "g1"}]) as second:
                    assert len({each.id for each in second.episodes}) == 20
                    assert {each.view.group for each in second.episodes} == {"g1"}
            assert {each.state for each in await fleet.listing()} == {"closed"}

    async def close_later(fleet: client.Fleet, batch: client.Batch) -> None:
        """When all the room is taken."""
        with anyio.fail_after(20):
            while sum(each.state == "open" for each in await fleet.listing()) < 40:
                await anyio.lowlevel.checkpoint()
        await batch.close()

    anyio.run(story)


def test_the_sync_face_does_the_same(library: instances.Running) -> None:
    with client.SyncFleet(library.address.control_url) as fleet:
        with fleet.open_batch([{"task": "rain-hold", "count": 2}]) as batch:
            played, other = batch.episodes
            assert played.call("list_branches").data() == other.call("list_branches").data()
            title = played.call("search_titles", {"q": FILM}).data()["items"][0]["id"]
            played.call("place_hold", {"title_id": title})
            assert [each.verify().outcome for each in batch.episodes] == ["completed", "failed"]
            assert fleet.get(played.id).diff() == played.diff()
        assert {each.look().state for each in batch.episodes} == {"closed"}


def test_the_readmes_example_runs(library: instances.Running, capsys: pytest.CaptureFixture[str]) -> None:
    code = example()
    assert "http://127.0.0.1:8080" in code
    exec(compile(code.replace("http://127.0.0.1:8080", library.address.control_url), "README.md", "exec"), {})
    assert capsys.readouterr().out.endswith("completed 1.0\n")


def test_the_client_alone_installs_nothing_of_weight_and_works(
    library: instances.Running, uv: Path, tmp_path: Path
) -> None:
    def run(*command: object) -> str:
        done = subprocess.run([str(each) for each in command], capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    for member in ("awm-runtime", "awm-registry"):
        run(uv, "build", "--quiet", "--wheel", "--package", member, "--out-dir", tmp_path / "wheels", ROOT)
    python = tmp_path / "alone" / "bin" / "python"
    run(uv, "venv", "--quiet", tmp_path / "alone")
    run(uv, "pip", "install", "--quiet", "--python", python, *(tmp_path / "wheels").glob("*.whl"))
    listed = json.loads(run(uv, "pip", "list", "--quiet", "--format", "json", "--python", python))
    assert {package["name"] for package in listed} - LIGHT == set()
    script = tmp_path / "example.py"
    script.write_text(example().replace("http://127.0.0.1:8080", library.address.control_url))
    assert run(python, "-I", script).endswith("completed 1.0\n")
