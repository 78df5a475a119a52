"""What a fleet answers about its scenarios, over HTTP."""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import catalogues
import fastapi
import httpx
import jsonschema
import pytest

from awm_registry import directory
from awm_registry.catalogue import model, snapshots
from awm_registry.discovery import routes, views
from awm_runtime.contract import problems
from awm_runtime.server import problem_responses

URL = "http://fleet.example"
SCENARIOS: dict[str, dict[str, Any]] = {
    "rover": {
        "description": "Pets, their owners and the people who walk them, with bookings, reviews, payments and more "
        * 2,
        "tags": ("pets",),
        "tier": "gold",
        "tasks": [catalogues.task("walk", difficulty="easy"), catalogues.task("sit", split="test")],
    },
    "etsy_shop": {"tasks": [catalogues.task("ship")]},
    "archive": {},
}
STATES: dict[str, directory.State] = {"rover": "ready", "etsy_shop": "starting"}


class Site:
    """The routes on an app, and a client of them."""

    def __init__(self, catalogue: snapshots.Snapshot, *, asks_for_tokens: bool = False) -> None:
        self.catalogue = catalogue
        self.app = fastapi.FastAPI()
        problem_responses.install(self.app)
        self.app.include_router(
            routes.create(
                lambda request: views.Fleet(
                    self.catalogue,
                    state=lambda name: STATES.get(name, "asleep"),
                    url=str(request.base_url).rstrip("/"),
                    asks_for_tokens=asks_for_tokens,
                )
            )
        )

    def get(self, path: str, headers: Mapping[str, str] | None = None, **query: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=URL) as client:
                return await client.get(path, params=query, headers=headers)

        return asyncio.run(ask())


@pytest.fixture
def catalogue(tmp_path: Path) -> snapshots.Snapshot:
    return catalogues.catalogue(tmp_path, SCENARIOS)


@pytest.fixture
def site(catalogue: snapshots.Snapshot) -> Site:
    return Site(catalogue)


def fits(value: Any, kind: str) -> None:
    schema = json.loads(Path(__file__).with_name("mcp_registry.schema.json").read_bytes())
    jsonschema.Draft202012Validator({"$ref": f"#/$defs/{kind}", **schema}).validate(value)


def test_scenarios_are_listed_with_their_states_and_urls(site: Site) -> None:
    listed = site.get("/v1/scenarios").json()
    assert [(each["name"], each["state"], each["mcp_url"]) for each in listed["scenarios"]] == [
        ("archive", "asleep", f"{URL}/s/archive/mcp"),
        ("etsy_shop", "starting", f"{URL}/s/etsy_shop/mcp"),
        ("rover", "ready", f"{URL}/s/rover/mcp"),
    ]
    assert listed["next_cursor"] is None


def test_pages_are_followed_by_their_cursor(site: Site) -> None:
    names, query = [], {"limit": 2}
    while True:
        page = site.get("/v1/scenarios", **query).json()
        names.append([each["name"] for each in page["scenarios"]])
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert names == [["archive", "etsy_shop"], ["rover"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [({"tier": "gold"}, ["rover"]), ({"tag": "pets"}, ["rover"]), ({"search": "shop"}, ["etsy_shop"])],
)
def test_scenarios_are_filtered(site: Site, query: dict[str, str], found: list[str]) -> None:
    assert [each["name"] for each in site.get("/v1/scenarios", **query).json()["scenarios"]] == found


def test_a_sleeping_scenario_is_described_with_its_tools(site: Site) -> None:
    told = site.get("/v1/scenarios/Archive").json()
    assert (told["name"], told["state"], told["generations"]) == ("archive", "asleep", [1])
    assert told["tools"] == list(catalogues.TOOLS)
    assert told["clock"] == "2026-01-15T09:00:00Z"


def test_no_answer_holds_an_oracle_an_answer_or_a_verifier(site: Site) -> None:
    for path in ("/v1/scenarios", "/v1/scenarios/rover", "/v1/scenarios/rover/tasks", "/v1/tasks", "/v0.1/servers"):
        text = site.get(path).text
        assert [word for word in catalogues.SECRET_WORDS if word in text] == [], path
    assert [task["instruction"] for task in site.get("/v1/tasks").json()["tasks"]] == [
        "Do ship.",
        "Do walk.",
        "Do sit.",
    ]


@pytest.mark.parametrize(
    ("path", "query", "found"),
    [
        ("/v1/tasks", {}, [("etsy_shop", "ship"), ("rover", "walk"), ("rover", "sit")]),
        ("/v1/tasks", {"split": "test"}, [("rover", "sit")]),
        ("/v1/tasks", {"difficulty": "easy"}, [("rover", "walk")]),
        ("/v1/tasks", {"search": "rover", "limit": 1}, [("rover", "walk")]),
        ("/v1/scenarios/rover/tasks", {}, [("rover", "walk"), ("rover", "sit")]),
        ("/v1/scenarios/rover/tasks", {"split": "train"}, [("rover", "walk")]),
    ],
)
def test_tasks_are_listed(site: Site, path: str, query: dict[str, Any], found: list[tuple[str, str]]) -> None:
    assert [(task["scenario"], task["id"]) for task in site.get(path, **query).json()["tasks"]] == found


@pytest.mark.parametrize("path", ["/v1/scenarios", "/v1/scenarios/rover", "/v1/tasks", "/v1/mcp.json", "/v0.1/servers"])
def test_an_answer_that_the_caller_has_is_not_sent_again_until_it_changes(
    site: Site, tmp_path: Path, path: str
) -> None:
    etag = site.get(path).headers["etag"]
    same = site.get(path, {"If-None-Match": f'"other", W/{etag}'})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    site.catalogue = catalogues.catalogue(tmp_path / "later", {"rover": {"generation": 2}})
    assert site.get(path, {"If-None-Match": etag}).status_code == 200


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("/v1/scenarios/rovr", {}, problems.Code.UNKNOWN_SCENARIO),
        ("/v1/scenarios/rovr/tasks", {}, problems.Code.UNKNOWN_SCENARIO),
        ("/v1/scenarios/..%2F..%2Fetc/tasks", {}, problems.Code.BAD_REQUEST),
        ("/v1/scenarios/%00", {}, problems.Code.UNKNOWN_SCENARIO),
        ("/v1/scenarios", {"cursor": "ZZZ"}, problems.Code.BAD_REQUEST),
        ("/v1/scenarios", {"limit": 0}, problems.Code.BAD_REQUEST),
        ("/v1/scenarios", {"tier": "platinum"}, problems.Code.BAD_REQUEST),
        ("/v1/tasks", {"split": "all"}, problems.Code.BAD_REQUEST),
        ("/v0.1/servers/dev.awm%2Frovr/versions", {}, problems.Code.UNKNOWN_SCENARIO),
        ("/v0.1/servers/com.example%2Frover/versions", {}, problems.Code.UNKNOWN_SCENARIO),
        ("/v0.1/servers/dev.awm%2Frover/versions/2.0.0", {}, problems.Code.UNKNOWN_SCENARIO),
        ("/v0.1/servers/dev.awm%2Frover/versions/1.0.1", {}, problems.Code.UNKNOWN_SCENARIO),
    ],
)
def test_bad_requests_are_problems(site: Site, path: str, query: dict[str, Any], code: problems.Code) -> None:
    answer = site.get(path, **query)
    assert answer.headers["content-type"] == problems.MEDIA_TYPE
    assert answer.json()["code"] == code
    assert 400 <= answer.status_code < 500


def test_the_configuration_of_an_mcp_client_names_every_scenario(site: Site, catalogue: snapshots.Snapshot) -> None:
    servers = site.get("/v1/mcp.json").json()["mcpServers"]
    assert servers["rover"] == {"type": "http", "url": f"{URL}/s/rover/mcp", "headers": {}}
    assert len(servers) == len(SCENARIOS)
    guarded = Site(catalogue, asks_for_tokens=True).get("/v1/mcp.json", tag="pets").json()["mcpServers"]
    assert guarded == {"rover": {**servers["rover"], "headers": {"Authorization": "Bearer ${AWM_TOKEN}"}}}


@pytest.mark.parametrize("asks_for_tokens", [False, True])
def test_the_mcp_registrys_answers_are_what_its_schema_says(
    catalogue: snapshots.Snapshot, asks_for_tokens: bool
) -> None:
    site = Site(catalogue, asks_for_tokens=asks_for_tokens)
    listed = site.get("/v0.1/servers", limit=2).json()
    fits(listed, "ServerList")
    assert listed["metadata"]["count"] == 2
    rest = site.get("/v0.1/servers", limit=2, cursor=listed["metadata"]["nextCursor"]).json()
    fits(rest, "ServerList")
    assert "nextCursor" not in rest["metadata"]
    found = [each["server"] for each in (*listed["servers"], *rest["servers"])]
    assert [each["name"] for each in found] == ["dev.awm/archive", "dev.awm/etsy_shop", "dev.awm/rover"]
    assert found[2]["remotes"][0]["url"] == f"{URL}/s/rover/mcp"
    for path in ("versions/latest", "versions/1.0.0"):
        one = site.get(f"/v0.1/servers/dev.awm%2Frover/{path}").json()
        fits(one, "ServerResponse")
        assert one["server"] == found[2]
    fits(site.get("/v0.1/servers/dev.awm%2Frover/versions").json(), "ServerList")


def test_a_version_was_published_when_its_bundle_first_stood_in_the_index(tmp_path: Path) -> None:
    site = Site(catalogues.catalogue(tmp_path, SCENARIOS))
    index = tmp_path / "catalogue" / model.INDEX
    rows = json.loads(index.read_text())
    for row in rows["entries"]:
        row["published_at"] = "2026-02-01T00:00:00Z"
    del rows["entries"][0]["published_at"]
    index.write_text(json.dumps(rows))
    began = datetime.now(UTC).replace(microsecond=0)
    site.catalogue = catalogues.catalogue(tmp_path, SCENARIOS)
    official = "io.modelcontextprotocol.registry/official"
    listed = site.get("/v0.1/servers").json()
    fits(listed, "ServerList")
    times = [each["_meta"][official] for each in listed["servers"]]
    assert [datetime.fromisoformat(each["publishedAt"]) >= began for each in times] == [True, False, False]
    assert [each["publishedAt"] for each in times[1:]] == ["2026-02-01T00:00:00Z"] * 2
    assert all(each["updatedAt"] == each["statusChangedAt"] == each["publishedAt"] for each in times)
    for since, found in (("2026-02-01T00:00:00Z", 3), ("2026-02-01T01:00:01+01:00", 1), ("2126-01-01T00:00:00Z", 0)):
        assert site.get("/v0.1/servers", updated_since=since).json()["metadata"]["count"] == found
    for strange in ("2026-02-01T00:00:00", "2026-02-01", "0.5", "yesterday"):
        assert site.get("/v0.1/servers", updated_since=strange).status_code == 400


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"search": "SHOP"}, ["dev.awm/etsy_shop"]),
        ({"search": "dev.awm/rov"}, ["dev.awm/rover"]),
        ({"version": "latest", "search": "arch"}, ["dev.awm/archive"]),
        ({"version": "2.0.0"}, []),
    ],
)
def test_servers_are_searched_by_name(site: Site, query: dict[str, str], found: list[str]) -> None:
    assert [each["server"]["name"] for each in site.get("/v0.1/servers", **query).json()["servers"]] == found
