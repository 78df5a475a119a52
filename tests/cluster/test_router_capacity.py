"""A team whose quota is full, seen through the router: it is told so at once, and the other team notices nothing."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cluster import fleets, releases, stubs
from cluster.testbed import clusters

ROOM_S = 5.0
"""A wake is accepted within this time of there being room; what starts then takes its own time."""

LONG_S = 90.0


class Trainer:
    """Somebody of a team who opens episodes, and does not ask twice.

    Attributes:
        took_s: How long the last answer took.
    """

    def __init__(self, router: releases.Router, team: str) -> None:
        self._url = f"{router.control}/t/{team}/v1"
        self._agent = f"{router.agent}/t/{team}"
        self._headers = {"Authorization": f"Bearer {router.token(team)}"}
        self.took_s = 0.0

    def opened(self, scenario: str) -> str:
        """Opens an episode; "open", or the code of the refusal."""
        answer = self._ask("POST", f"{self._url}/episodes", json={"episodes": [{"scenario": scenario}]})
        told = answer.json()
        [each] = [*told.get("episodes", ()), *told.get("rejected", ())]
        return str(each["state"] if "state" in each else each["error"]["code"])

    def resolved(self, scenario: str) -> httpx.Response:
        """Asks for a scenario to be woken."""
        return self._ask("GET", f"{self._url}/resolve/{scenario}", params={"wake": "true", "wait_s": "30"})

    def called(self, scenario: str) -> httpx.Response:
        """Calls a tool of a scenario's default episode, as an agent does."""
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "look", "arguments": {}}}
        accepted = {"Accept": "application/json, text/event-stream"}
        return self._ask("POST", f"{self._agent}/s/{scenario}/mcp", json=message, headers=self._headers | accepted)

    def _ask(self, method: str, url: str, **request: Any) -> httpx.Response:
        begun = time.monotonic()
        answer = httpx.request(method, url, **({"headers": self._headers, "timeout": LONG_S} | request))
        self.took_s = time.monotonic() - begun
        return answer


@pytest.fixture
def release(cluster: clusters.Cluster, programs: Path, stub: stubs.Stub, tmp_path: Path) -> Iterator[releases.Release]:
    """Two teams whose scenarios sleep; the first has room for one pod."""
    made = releases.Release(cluster, programs / "helm4", tmp_path)
    made.teams[0] |= {"warm": 0, "quota": {"pods": 1}}
    made.index(fleets.entry(), fleets.entry("farm"), fleets.entry("zebra"))
    cluster.kubectl("delete", "crd", "environments.awm.dev", "--ignore-not-found", "--wait=true")
    yield made
    cluster.kubectl("delete", "crd", "environments.awm.dev", "--ignore-not-found", "--wait=true")
    for each in (made.namespace, *(team["namespace"] for team in made.teams)):
        cluster.kubectl("delete", "namespace", each, "--ignore-not-found", "--wait=false")


def test_a_full_team_is_told_so_at_once_and_served_when_there_is_room_and_the_other_team_goes_on(
    release: releases.Release,
) -> None:
    release.helm("install", "--create-namespace")
    with release.controller(), release.router() as router:
        red, blue = Trainer(router, "red"), Trainer(router, "blue")
        _asleep(release)
        assert red.opened("rover") == "open"
        _wait_for_use(release, "1")

        answer, refusals = red.resolved("farm"), {"resolve": red.took_s}
        assert (answer.status_code, answer.json()["code"]) == (429, "at_capacity"), answer.text
        assert float(answer.headers["Retry-After"]) > 0
        said, refusals["an agent's call"] = red.called("farm").json()["error"]["data"], red.took_s
        assert (said["code"], said["class"]) == ("at_capacity", "infrastructure")
        assert red.opened("farm") == "at_capacity"
        refusals["an episode"] = red.took_s
        assert release.states(0) == {"rover": "ready", "farm": "asleep", "zebra": "asleep"}

        for scenario in ("rover", "farm", "zebra"):
            assert blue.opened(scenario) == "open"
        assert set(release.states(1).values()) == {"ready"}
        assert red.called("rover").is_success

        quota = '--patch={"spec":{"hard":{"pods":"2"}}}'
        release.cluster.kubectl("patch", "resourcequota", "awm-fleet", "--type=merge", quota, _space(release))
        freed = time.monotonic()
        accepted_s = _accepted(red, "farm") - freed
        assert red.opened("farm") == "open"
        served_s = time.monotonic() - freed
        print("refused after", {what: f"{each:.3f} s" for what, each in refusals.items()})
        print(f"accepted {accepted_s:.2f} s and served {served_s:.2f} s after there was room")


def test_a_wake_into_room_that_another_takes_is_told_so_and_does_not_wait(release: releases.Release) -> None:
    release.helm("install", "--create-namespace")
    with release.controller(), release.router() as router:
        _asleep(release)
        came: dict[str, tuple[str, float]] = {}

        def wake(scenario: str) -> None:
            trainer = Trainer(router, "red")
            came[scenario] = (trainer.opened(scenario), trainer.took_s)

        threads = [threading.Thread(target=wake, args=[each]) for each in ("rover", "farm", "zebra")]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        print(came)
    assert sorted(code for code, _ in came.values()) == ["at_capacity", "at_capacity", "open"]


def _accepted(trainer: Trainer, scenario: str) -> float:
    """When a wake was sent that is not refused any more."""
    deadline = time.monotonic() + ROOM_S
    while (answer := trainer.resolved(scenario)).status_code == httpx.codes.TOO_MANY_REQUESTS:
        assert time.monotonic() < deadline, f"still refused after {ROOM_S} s: {answer.text}"
        time.sleep(0.1)
    return time.monotonic() - trainer.took_s


def _asleep(release: releases.Release) -> None:
    asleep = dict.fromkeys(("rover", "farm", "zebra"), "asleep")
    release.cluster.wait("both teams", lambda: release.states(0) == release.states(1) == asleep)


def _wait_for_use(release: releases.Release, pods: str) -> None:
    """Waits until the first team's quota counts its pods."""

    def used() -> bool:
        [quota] = release.get("resourcequotas", str(release.teams[0]["namespace"]))
        return bool(quota.get("status", {}).get("used", {}).get("pods") == pods)

    release.cluster.wait("the quota's count", used)


def _space(release: releases.Release) -> str:
    return f"--namespace={release.teams[0]['namespace']}"
