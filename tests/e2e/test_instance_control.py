"""The control plane of a running instance: episodes from open to close, verdicts, changes, files, who may ask."""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bundles
import httpx
import instances
import pytest

from awm_registry import client
from awm_runtime.bundle import model
from awm_runtime.contract import episodes, problems, verdicts
from awm_runtime.determinism import clock

TOKEN = "a token of the control plane"

RENAMED = """
import sqlite3

def verify_task_completion(initial_db_path, final_db_path, final_answer=None):
    name = sqlite3.connect(final_db_path).execute("SELECT name FROM items WHERE id = 1").fetchone()[0]
    before = sqlite3.connect(initial_db_path).execute("SELECT name FROM items WHERE id = 1").fetchone()[0]
    assert before == "first"
    done = {"renamed": name == "renamed", "answered": final_answer == "done"}
    score = sum(done.values()) / 2
    return {"result": "complete" if score == 1 else "others", "score": score, "checks": done, "name": name}
"""
CRASHING = "def verify_task_completion(initial, final, answer=None):\n    raise RuntimeError('SELECT 1 FROM nowhere')\n"
EVIDENCE = "def verify_task(initial, final):\n    return {'rows': 1}\n"
_IDS = ("rename", "crash", "none")
TASKS = [model.Task(id=id, instruction=f"Do {id}.", answer="secret", split="test") for id in _IDS]
VERIFIERS: dict[tuple[str, verdicts.Mode], str] = {
    ("rename", "code"): RENAMED,
    ("rename", "sql"): EVIDENCE,
    ("crash", "code"): CRASHING,
}
LIMITS = {"episodes": 40, "calls_per_episode": 5, "request_bytes": 64 * 1024}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundles.make(tmp_path_factory.mktemp("control") / "shop", bundles.SHOP, tasks=TASKS, verifiers=VERIFIERS)


@pytest.fixture(scope="module")
def served(bundle: Path) -> Iterator[instances.Running]:
    with instances.running(bundle, bundle.parent / "state", token=TOKEN, **LIMITS) as instance:
        yield instance


@pytest.fixture
def shop(served: instances.Running) -> Iterator[instances.Running]:
    """The instance, without the episodes of earlier tests."""
    yield served
    for episode in _listed(served):
        served.control.close(episode["id"])


def _listed(shop: instances.Running) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = _ask(shop, "GET", "/v1/episodes").json()["episodes"]
    return listed


def _ask(shop: instances.Running, method: str, path: str, **options: Any) -> httpx.Response:
    return shop.http.request(method, path, **{"headers": {"Authorization": f"Bearer {TOKEN}"}, **options})


def _problem(action: Callable[[], object]) -> problems.ProblemError:
    with pytest.raises(problems.ProblemError) as caught:
        action()
    return caught.value


# Episodes


def test_an_opened_episode_says_what_an_agent_needs(shop: instances.Running) -> None:
    episode = shop.open(task="rename", seed=7, group="g1")
    assert (episode.scenario, episode.task, episode.seed, episode.group) == ("shop", "rename", 7, "g1")
    assert (episode.instruction, episode.state, episode.calls) == ("Do rename.", "open", 0)
    assert episode.mcp_url == f"{shop.address.agent_url}/e/{episode.id}/mcp"
    assert "secret" not in episode.model_dump_json()
    assert shop.control.get(episode.id) == episode
    assert episode.id in [each["id"] for each in _listed(shop)]


def test_a_batch_opens_what_it_can_and_names_the_rest(shop: instances.Running) -> None:
    specs = [
        episodes.EpisodeSpec(task="rename", count=3, seed=1),
        episodes.EpisodeSpec(task="no such task"),
        episodes.EpisodeSpec(source="ep_forged"),
        episodes.EpisodeSpec(),
    ]
    answer = shop.control.open_batch(episodes.OpenRequest(episodes=specs))
    assert [each.task for each in answer.episodes] == ["rename", "rename", "rename", None]
    assert len({each.id for each in answer.episodes}) == 4
    assert [(each.index, each.error.code) for each in answer.rejected] == [(1, "bad_request"), (2, "unknown_episode")]


def test_more_episodes_than_allowed_are_refused_with_a_time_to_come_back(shop: instances.Running) -> None:
    answer = shop.control.open_batch(episodes.OpenRequest(episodes=[episodes.EpisodeSpec(count=41)]))
    assert len(answer.episodes) == 40
    [rejection] = answer.rejected
    assert (rejection.error.code, rejection.error.blame, rejection.error.status) == (
        "at_capacity",
        "infrastructure",
        429,
    )
    assert rejection.error.retry_after_s
    shop.control.close(answer.episodes[0].id)
    assert shop.open().state == "open"


def test_a_reset_brings_back_the_seed_in_place(shop: instances.Running) -> None:
    episode = shop.open(task="rename", seed=7)
    shop.call(episode, "rename_item", name="renamed")
    shop.call(episode, "be_refused")
    fresh = shop.control.reset(episode.id)
    assert fresh.model_copy(update={"expires_at": episode.expires_at}) == episode
    assert shop.call(episode, "list_items").data() == ["first"]
    [line] = shop.control.trace(episode.id)
    assert clock.render(clock.parse(line["at"])) == line["at"]
    assert shop.control.reset(episode.id, seed=8).seed == 8


def test_a_fork_goes_on_where_its_source_was(shop: instances.Running) -> None:
    source = shop.open(task="rename", seed=7)
    shop.call(source, "add_item", name="of both")
    fork = shop.open(source=source.id)
    assert (fork.task, fork.seed, fork.calls, fork.source) == ("rename", 7, 1, source.id)
    assert fork.state_hash == shop.control.get(source.id).state_hash
    shop.call(fork, "add_item", name="of the fork")
    assert shop.call(source, "list_items").data() == ["first", "of both"]
    assert shop.call(fork, "list_items").data() == ["first", "of both", "of the fork"]
    assert [line["n"] for line in shop.control.trace(fork.id)] == [1, 2, 3]


def test_a_closed_episode_takes_no_calls_but_can_be_read_and_judged(shop: instances.Running) -> None:
    episode = shop.open(task="rename")
    shop.call(episode, "rename_item", name="renamed")
    shop.control.close(episode.id)
    shop.control.close(episode.id)
    assert _problem(lambda: shop.call(episode, "list_items")).code == "episode_closed"
    assert _problem(lambda: shop.control.reset(episode.id)).code == "episode_closed"
    assert _problem(lambda: shop.control.heartbeat(episode.id)).code == "episode_closed"
    assert shop.control.get(episode.id).state == "closed"
    assert len(shop.control.trace(episode.id)) == 1
    assert shop.control.diff(episode.id)["items"]["changed"][0]["columns"] == {"name": ["first", "renamed"]}
    assert shop.control.verify(episode.id, verdicts.VerifyRequest(answer="done")).outcome == "completed"
    assert len(shop.control.snapshot(episode.id)) > 0


def test_an_episode_whose_lease_ran_out_is_gone_for_agents(shop: instances.Running) -> None:
    wanted = episodes.OpenRequest(episodes=[episodes.EpisodeSpec()], ttl_s=0.001)
    [episode] = shop.control.open_batch(wanted).episodes
    assert _problem(lambda: shop.call(episode, "list_items")).code == "episode_expired"
    assert _problem(lambda: shop.control.heartbeat(episode.id)).code == "episode_expired"
    assert shop.control.get(episode.id).state == "expired"


def test_a_heartbeat_renews_the_lease(shop: instances.Running) -> None:
    episode = shop.open()
    assert shop.control.heartbeat(episode.id).expires_at > episode.expires_at


def test_an_episode_that_is_no_longer_kept_is_unknown(shop: instances.Running) -> None:
    wanted = episodes.OpenRequest(episodes=[episodes.EpisodeSpec()], retain_s=0)
    [episode] = shop.control.open_batch(wanted).episodes
    shop.control.close(episode.id)
    assert instances.wait_for(lambda: _ask(shop, "GET", f"/v1/episodes/{episode.id}").status_code == 404)
    assert not list(shop.state.glob(f"*/episodes/{episode.id}"))


@pytest.mark.parametrize("path", ["", "/trace", "/diff", "/snapshot", "/heartbeat", "/reset", "/verify"])
def test_a_forged_id_is_unknown_everywhere(shop: instances.Running, path: str) -> None:
    method = "POST" if path in ("/heartbeat", "/reset", "/verify") else "GET"
    response = _ask(shop, method, f"/v1/episodes/ep_{'0' * 32}{path}")
    assert (response.status_code, response.json()["code"]) == (404, "unknown_episode")


def test_a_forged_id_is_unknown_to_agents_and_closing_it_is_fine(shop: instances.Running) -> None:
    for path in ("/e/ep_forged/mcp", "/e/ep_forged%00/mcp"):
        with client.ToolClient(f"{shop.address.agent_url}{path}") as tools:
            assert _problem(lambda tools=tools: tools.call("list_items", {})).code == "unknown_episode"
    for path in ("/e/..%2Fep_default/mcp", "/e//mcp", "/e/ep_default", "/"):
        response = shop.http.post(f"{shop.address.agent_url}{path}", json={})
        assert (response.status_code, response.json()["code"]) == (404, "unknown_episode")
    assert _ask(shop, "DELETE", "/v1/episodes/ep_forged").status_code == 204


@pytest.mark.parametrize(("close", "code"), [(True, "episode_closed"), (False, "unknown_episode")])
def test_clients_of_the_newest_protocol_get_the_status_of_an_episode_that_ended(
    shop: instances.Running, close: bool, code: str
) -> None:
    url = shop.open().mcp_url if close else f"{shop.address.agent_url}/e/ep_forged/mcp"
    if close:
        shop.control.close(url.split("/")[-2])
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}
    headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/list"}
    response = shop.http.post(url, json=message, headers=headers)
    assert response.status_code == (410 if close else 404)
    assert response.json()["error"]["data"]["code"] == code


def test_an_episode_that_used_up_its_calls_says_so_and_can_be_reset(shop: instances.Running) -> None:
    episode = shop.open()
    for _ in range(5):
        assert not shop.call(episode, "list_items").is_error
    reply = shop.call(episode, "list_items")
    assert (reply.is_error, reply.text) == (True, "This episode has used up its 5 calls.")
    assert shop.control.get(episode.id).calls == 5
    shop.control.reset(episode.id)
    assert not shop.call(episode, "list_items").is_error


def test_the_default_episode_is_opened_on_first_use_and_anew_after_it_was_closed(shop: instances.Running) -> None:
    tools = shop.tools(shop.address.mcp_url)
    tools.call("add_item", {"name": "added"})
    assert tools.call("list_items", {}).data() == ["first", "added"]
    assert shop.control.get("ep_default").calls == 2
    shop.control.close("ep_default")
    assert tools.call("list_items", {}).data() == ["first"]


# Verdicts


def test_a_verdict_says_completed_partial_or_failed_and_why(shop: instances.Running) -> None:
    episode = shop.open(task="rename")
    failed = shop.control.verify(episode.id)
    assert (failed.outcome, failed.reward, failed.mask) == ("failed", 0.0, False)
    assert failed.checks == {"renamed": False, "answered": False}
    shop.call(episode, "rename_item", name="renamed")
    partial = shop.control.verify(episode.id, verdicts.VerifyRequest(partial_reward=0.3))
    assert (partial.outcome, partial.reward, partial.components) == ("partial", 0.3, {"state": 0.5})
    completed = shop.control.verify(episode.id, verdicts.VerifyRequest(answer="done"))
    assert (completed.outcome, completed.reward, completed.mask) == ("completed", 1.0, False)
    assert completed.evidence == {"name": "renamed"}
    assert completed.verifier is not None
    assert completed.verifier.version == f"sha256:{hashlib.sha256(RENAMED.encode()).hexdigest()}"


def test_asking_for_a_verdict_changes_nothing(shop: instances.Running) -> None:
    episode = shop.open(task="rename")
    shop.call(episode, "rename_item", name="renamed")
    before = shop.control.get(episode.id)
    first, second = (shop.control.verify(episode.id) for _ in range(2))
    assert first.model_copy(update={"verifier": None}) == second.model_copy(update={"verifier": None})
    assert shop.control.get(episode.id) == before
    assert first.state_hash == before.state_hash


def test_a_failure_after_an_environment_error_is_masked_unless_the_caller_wants_it_scored(
    shop: instances.Running,
) -> None:
    episode = shop.open(task="rename")
    shop.call(episode, "list_items")
    shop.call(episode, "break_down")
    masked = shop.control.verify(episode.id)
    assert (masked.outcome, masked.mask, masked.blame, masked.calls_to_blame) == ("failed", True, "environment", [2])
    scored = shop.control.verify(episode.id, verdicts.VerifyRequest(on_environment_error="score"))
    assert (scored.outcome, scored.mask, scored.calls_to_blame) == ("failed", False, [2])
    shop.call(episode, "rename_item", name="renamed")
    completed = shop.control.verify(episode.id, verdicts.VerifyRequest(answer="done"))
    assert (completed.outcome, completed.mask) == ("completed", False)


def test_an_agents_own_errors_mask_nothing(shop: instances.Running) -> None:
    episode = shop.open(task="rename")
    shop.call(episode, "be_refused")
    shop.call(episode, "no_such_tool")
    verdict = shop.control.verify(episode.id)
    assert (verdict.mask, verdict.errors) == (False, verdicts.ErrorCounts(refused=1, malformed=1))


def test_evidence_without_a_judge_is_undecided(shop: instances.Running) -> None:
    verdict = shop.control.verify(shop.open(task="rename").id, verdicts.VerifyRequest(mode="sql"))
    assert (verdict.outcome, verdict.reward, verdict.mask) == ("undecided", None, True)
    assert verdict.evidence == {"rows": 1}


def test_a_verifier_that_crashes_abstains(shop: instances.Running) -> None:
    before = shop.metric('awm_verdicts_total{outcome="abstained"}') if _has_abstained(shop) else 0
    verdict = shop.control.verify(shop.open(task="crash").id)
    assert (verdict.outcome, verdict.reward, verdict.mask, verdict.blame) == ("abstained", None, True, "environment")
    assert shop.metric('awm_verdicts_total{outcome="abstained"}') == before + 1


def _has_abstained(shop: instances.Running) -> bool:
    return 'outcome="abstained"' in shop.http.get("/metrics").text


@pytest.mark.parametrize(
    ("opened", "asked", "says"),
    [
        ({"task": "none"}, {}, "no verifier of mode 'code'"),
        ({"task": "crash"}, {"mode": "sql"}, "no verifier of mode 'sql'"),
        ({}, {}, "without a task"),
        ({"task": "rename"}, {"task": "no such"}, "no task 'no such'"),
    ],
)
def test_a_verdict_without_a_verifier_is_a_bad_request(
    shop: instances.Running, opened: dict[str, Any], asked: dict[str, Any], says: str
) -> None:
    episode = shop.open(**opened)
    problem = _problem(lambda: shop.control.verify(episode.id, verdicts.VerifyRequest(**asked)))
    assert problem.code == "bad_request"
    assert says in problem.detail


def test_a_task_can_be_named_when_the_verdict_is_asked_for(shop: instances.Running) -> None:
    verdict = shop.control.verify(shop.open().id, verdicts.VerifyRequest(task="rename"))
    assert verdict.outcome == "failed"


# What an episode holds


def test_the_diff_names_rows_that_were_added_changed_and_nothing_else(shop: instances.Running) -> None:
    episode = shop.open()
    assert shop.control.diff(episode.id) == {}
    shop.call(episode, "rename_item", name="renamed")
    shop.call(episode, "add_item", name="second")
    assert shop.control.diff(episode.id) == {
        "items": {
            "added": [{"id": 2, "name": "second"}],
            "removed": [],
            "changed": [{"key": {"id": 1}, "columns": {"name": ["first", "renamed"]}}],
        }
    }


def test_a_snapshot_is_one_database_file_with_its_hash(shop: instances.Running, tmp_path: Path) -> None:
    episode = shop.open()
    shop.call(episode, "add_item", name="second")
    for which, names in (("initial", ["first"]), ("current", ["first", "second"])):
        response = _ask(shop, "GET", f"/v1/episodes/{episode.id}/snapshot?which={which}")
        assert response.headers["content-type"] == "application/vnd.sqlite3"
        assert response.headers["etag"] == f'"{hashlib.sha256(response.content).hexdigest()}"'
        (tmp_path / f"{which}.db").write_bytes(response.content)
        opened = sqlite3.connect(f"{(tmp_path / f'{which}.db').as_uri()}?mode=ro&immutable=1", uri=True)
        assert [row[0] for row in opened.execute("SELECT name FROM items ORDER BY id")] == names
        assert opened.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert opened.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        opened.close()
    assert shop.call(episode, "list_items").data() == ["first", "second"]


def test_copies_for_snapshots_diffs_and_verdicts_do_not_stay_behind(shop: instances.Running) -> None:
    episode = shop.open(task="rename")
    shop.control.snapshot(episode.id)
    shop.control.diff(episode.id)
    shop.control.verify(episode.id)
    assert [path.name for path in shop.state.glob("*/scratch/*") if path.is_dir()] == []


# Who may ask, and what for


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}])
def test_the_control_plane_wants_its_token(shop: instances.Running, headers: dict[str, str]) -> None:
    for method, path in (("GET", "/v1/episodes"), ("POST", "/v1/episodes"), ("GET", "/openapi.json")):
        response = _ask(shop, method, path, headers=headers)
        assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")
        assert response.headers["www-authenticate"] == "Bearer"


def test_probes_and_metrics_need_no_token(shop: instances.Running) -> None:
    paths = ("/livez", "/readyz", "/health", "/metrics")
    assert {path: shop.http.get(path).status_code for path in paths} == dict.fromkeys(paths, 200)
    assert shop.http.get("/readyz").json() == {"status": "ok", "scenario": "shop"}
    assert shop.metric("awm_episodes_open") == len([each for each in _listed(shop) if each["state"] == "open"])


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}])
def test_names_of_others_are_refused_on_both_planes(shop: instances.Running, headers: dict[str, str]) -> None:
    agent = shop.http.post(shop.address.mcp_url, json={}, headers=headers)
    control = _ask(shop, "GET", "/v1/episodes", headers={"Authorization": f"Bearer {TOKEN}", **headers})
    assert (agent.status_code, agent.json()["code"]) == (403, "not_permitted")
    assert (control.status_code, control.json()["code"]) == (403, "not_permitted")


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "code"),
    [
        ("POST", "/v1/episodes", b"{", 400, "bad_request"),
        ("POST", "/v1/episodes", b"\xff\xfe", 400, "bad_request"),
        ("POST", "/v1/episodes", b"[" * 20_000, 400, "bad_request"),
        ("POST", "/v1/episodes", b"{}", 400, "bad_request"),
        ("POST", "/v1/episodes", b'{"episodes": []}', 400, "bad_request"),
        ("POST", "/v1/episodes", b'{"episodes": [{"count": 0}]}', 400, "bad_request"),
        ("POST", "/v1/episodes", b'{"episodes": [{"seed": "x"}]}', 400, "bad_request"),
        ("POST", "/v1/episodes", b'{"episodes": [{"unasked": 1}]}', 400, "bad_request"),
        ("POST", "/v1/episodes", b'{"episodes": [{}], "ttl_s": -1}', 400, "bad_request"),
        ("POST", "/v1/episodes", b" " * 65_537, 413, "too_large"),
        ("GET", "/v1/nowhere", b"", 404, "bad_request"),
        ("PUT", "/v1/episodes", b"", 405, "bad_request"),
    ],
)
def test_what_cannot_be_understood_is_a_problem_with_a_code(
    shop: instances.Running, method: str, path: str, content: bytes, status: int, code: str
) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    response = _ask(shop, method, path, content=content, headers=headers)
    assert response.headers["content-type"] == problems.MEDIA_TYPE
    document = response.json()
    assert (response.status_code, document["status"], document["code"]) == (status, status, code)
    assert document["class"] == "agent"


def test_the_largest_seed_is_kept_and_a_larger_one_refused(shop: instances.Running) -> None:
    seed = episodes.SEEDS - 1
    episode = shop.open(seed=seed)
    assert not shop.call(episode, "list_items").is_error
    assert shop.control.get(episode.id).seed == seed
    refused = _ask(shop, "POST", "/v1/episodes", json={"episodes": [{"seed": seed + 1}]})
    assert (refused.status_code, refused.json()["code"]) == (400, "bad_request")


def test_pins_that_fit_are_served_and_others_refused(shop: instances.Running) -> None:
    served = shop.open().generation
    items = [{"generation": served}, {"generation": served + 1}, {"bundle": "sha256:0"}]
    answer = _ask(shop, "POST", "/v1/episodes", json={"episodes": items, "wait": "ready"}).json()
    [opened] = answer["episodes"]
    assert opened["generation"] == served
    assert opened["direct_url"] == opened["mcp_url"]
    assert [(each["index"], each["error"]["code"]) for each in answer["rejected"]] == [(1, "conflict"), (2, "conflict")]
    assert None not in answer["rejected"][0]["error"].values()


def test_a_failure_of_the_instance_tells_nothing_but_the_log(shop: instances.Running) -> None:
    episode = shop.open()
    shop.call(episode, "list_items")
    [trace] = shop.state.glob(f"*/episodes/{episode.id}/*.jsonl")
    trace.unlink()
    trace.mkdir()
    response = _ask(shop, "GET", f"/v1/episodes/{episode.id}/trace")
    trace.rmdir()
    assert (response.status_code, response.json()["code"]) == (500, "internal")
    assert response.json()["class"] == "infrastructure"
    assert str(shop.state) not in response.text
    instances.wait_for(lambda: "IsADirectoryError" in shop.log())


def test_nothing_of_tasks_beyond_their_instruction_is_told(shop: instances.Running) -> None:
    episode = shop.open(task="rename")
    told = json.dumps([_listed(shop), shop.control.get(episode.id).model_dump(mode="json")])
    assert "verify_task_completion" not in told
    assert "secret" not in told
