"""The next steps for an environment: from what is seen, without a cluster."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import pytest

from awm_fleet.backends.kubernetes import conditions, model, names, objects, planning

NOW = "2026-03-01T12:00:00Z"
LATER = "2026-03-01T14:00:00Z"
TOOLS = f"sha256:{'2' * 64}"
WRONG = f"sha256:{'3' * 64}"
OPTIONS = planning.Options(drain_deadline_s=3600, url="http://router/t/{team}/s/{scenario}/mcp", teams={"ns": "red"})


def environment(*, generation: int = 1, replicas: int = 1, **status: Any) -> model.Environment:
    """The environment of a scenario; its status as the test says."""
    digit = str(generation)
    return model.Environment(
        namespace="ns",
        name="rover",
        uid="uid",
        generation=4,
        deleting=False,
        scenario="rover",
        bundle_generation=generation,
        image=f"registry.example/rover@sha256:{digit * 64}",
        bundle_digest=f"sha256:{digit * 64}",
        tools_hash=TOOLS,
        replicas=replicas,
        idle_s=900,
        catalog_generation=1,
        status=model.Status(**status),
    )


def revision(of: model.Environment) -> str:
    hash_: str = objects.deployment(of, OPTIONS.pods)["metadata"]["labels"][names.REVISION]
    return hash_


def deployment(of: model.Environment, *, replicas: int | None = None, **changed: Any) -> model.Deployment:
    """The Deployment that was made for an environment."""
    document = objects.deployment(of, OPTIONS.pods)
    live = model.deployment({**document, "metadata": {**document["metadata"], "generation": 1}})
    return replace(live, replicas=of.replicas if replicas is None else replicas, **changed)


def pod(of: model.Environment, uid: str = "a", **changed: Any) -> model.Pod:
    """A ready pod of an environment's revision."""
    ready = model.Pod(
        namespace="ns",
        name=f"rover-{uid}",
        uid=uid,
        environment="rover",
        revision=revision(of),
        bundle_generation=of.bundle_generation,
        bundle=of.bundle_digest,
        node="one",
        address="10.0.0.1",
        ready=True,
        drained=False,
        deleting=False,
    )
    return replace(ready, **changed)


def right(*uids: str) -> tuple[model.ToolList, ...]:
    return tuple(model.ToolList(uid, TOOLS, 5) for uid in uids)


def steps(wanted: model.Environment, *, now: str = NOW, options: planning.Options = OPTIONS, **seen: Any) -> list[str]:
    """The actions, in words."""
    actions = planning.plan(wanted, planning.Observed(**seen), options, now=now).actions
    return [_in_words(each) for each in actions]


def _in_words(action: planning.Action) -> str:
    match action:
        case planning.Apply(document):
            return f"apply {document['spec']['replicas']}"
        case planning.Remove(name):
            return f"remove {name}"
        case planning.Ask(pod) | planning.Drain(pod) | planning.Replace(pod):
            return f"{type(action).__name__.lower()} {pod.uid}"


ONE, TWO, ASLEEP = environment(), environment(generation=2), environment(replicas=0)
SERVING = {"serving": revision(ONE), "tool_lists": right("a")}
ROLLING = environment(generation=2, **SERVING)
NAME = names.deployment("rover", revision(ONE))
Seen = dict[str, Any]

CASES: dict[str, tuple[model.Environment, Seen, list[str]]] = {
    "nothing is there": (ONE, {}, ["apply 1"]),
    "no room": (ONE, {"no_room": "the quota is full"}, []),
    "refused by a quota, which has room again": (ONE, {"deployments": [deployment(ONE, trouble="exceeded quota")]}, []),
    "refused by a quota, which has none": (
        ONE,
        {"deployments": [deployment(ONE, trouble="exceeded quota")], "no_room": "the quota is full"},
        [f"remove {NAME}"],
    ),
    "a pod starts": (ONE, {"deployments": [deployment(ONE)], "pods": [pod(ONE, ready=False)]}, []),
    "a pod is ready": (ONE, {"deployments": [deployment(ONE)], "pods": [pod(ONE)]}, ["ask a"]),
    "a pod was asked": (ONE, {"deployments": [deployment(ONE)], "pods": [pod(ONE)], "tool_lists": right("a")}, []),
    "asked before a restart": (environment(**SERVING), {"deployments": [deployment(ONE)], "pods": [pod(ONE)]}, []),
    "a pod that ends": (ONE, {"deployments": [deployment(ONE)], "pods": [pod(ONE, deleting=True)]}, []),
    "edited by hand": (ONE, {"deployments": [deployment(ONE, spec={"replicas": 1})]}, ["apply 1"]),
    "what others added": (
        ONE,
        {"deployments": [deployment(ONE, spec=deployment(ONE).spec | {"progressDeadlineSeconds": 600})]},
        [],
    ),
    "applied, and written down in other words": (
        ONE,
        {"deployments": [deployment(ONE, spec={})], "applied": {NAME: 1}},
        [],
    ),
    "edited after it was applied": (
        ONE,
        {"deployments": [deployment(ONE, spec={}, version=2)], "applied": {NAME: 1}},
        ["apply 1"],
    ),
    "asleep": (ASLEEP, {}, []),
    "to fall asleep": (ASLEEP, {"deployments": [deployment(ONE)], "pods": [pod(ONE)]}, ["drain a"]),
    "drained": (ASLEEP, {"deployments": [deployment(ONE)], "pods": [pod(ONE, drained=True)]}, [f"remove {NAME}"]),
    "never started": (ASLEEP, {"deployments": [deployment(ONE)], "pods": [pod(ONE, ready=False)]}, [f"remove {NAME}"]),
    "restarting with episodes": (
        environment(replicas=0, **SERVING),
        {"deployments": [deployment(ONE)], "pods": [pod(ONE, ready=False)]},
        ["drain a"],
    ),
    "being deleted already": (ASLEEP, {"deployments": [deployment(ONE, deleting=True)]}, []),
    "woken while its pod is drained": (
        ONE,
        {"deployments": [deployment(ONE)], "pods": [pod(ONE, drained=True)]},
        ["replace a"],
    ),
    "the next generation": (ROLLING, {"deployments": [deployment(ONE)], "pods": [pod(ONE)]}, ["apply 1"]),
    "not its turn": (ROLLING, {"deployments": [deployment(ONE)], "pods": [pod(ONE)], "may_roll": False}, []),
    "both run": (
        ROLLING,
        {"deployments": [deployment(ONE), deployment(TWO)], "pods": [pod(ONE), pod(TWO, "b")]},
        ["ask b"],
    ),
    "the next has other tools": (
        ROLLING,
        {
            "deployments": [deployment(ONE), deployment(TWO)],
            "pods": [pod(ONE), pod(TWO, "b")],
            "tool_lists": [model.ToolList("b", WRONG, 5)],
        },
        [],
    ),
    "the next is verified": (
        ROLLING,
        {
            "deployments": [deployment(ONE), deployment(TWO)],
            "pods": [pod(ONE), pod(TWO, "b")],
            "tool_lists": right("b"),
        },
        ["drain a"],
    ),
    "the next is verified and the old one drained": (
        ROLLING,
        {
            "deployments": [deployment(ONE), deployment(TWO)],
            "pods": [pod(ONE, drained=True), pod(TWO, "b")],
            "tool_lists": right("b"),
        },
        [f"remove {NAME}"],
    ),
    "more pods": (
        environment(replicas=2, **SERVING),
        {"deployments": [deployment(ONE)], "pods": [pod(ONE)]},
        ["apply 2"],
    ),
    "more pods without room": (
        environment(replicas=2, **SERVING),
        {"deployments": [deployment(ONE)], "pods": [pod(ONE)], "no_room": "full"},
        [],
    ),
    "fewer pods": (
        environment(serving=revision(ONE), tool_lists=right("a", "b")),
        {"deployments": [deployment(ONE, replicas=2)], "pods": [pod(ONE), pod(ONE, "b")]},
        ["drain a"],
    ),
    "fewer pods, one of them drained": (
        environment(serving=revision(ONE), tool_lists=right("a", "b")),
        {"deployments": [deployment(ONE, replicas=2)], "pods": [pod(ONE), pod(ONE, "b", drained=True)]},
        ["apply 1"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_next_steps_when(case: str) -> None:
    wanted, seen, expected = CASES[case]
    assert steps(wanted, **seen) == expected


FULL = ("Unschedulable", "0/3 nodes are available: 2 Insufficient memory, 1 Too many pods.")
ELSEWHERE = ("Unschedulable", "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.")


@pytest.mark.parametrize(
    ("seen", "policy", "expected"),
    [
        ({"no_room": "full", "room_instead": True}, "wait", []),
        ({"no_room": "full", "room_instead": True}, "recreate", ["drain a"]),
        ({"no_room": "full", "room_instead": False}, "recreate", []),
        ({"no_room": "full", "room_instead": True, "may_roll": False}, "recreate", []),
        ({"starting": FULL}, "wait", []),
        ({"starting": FULL}, "recreate", ["drain a"]),
        ({"starting": ELSEWHERE}, "recreate", []),
    ],
)
def test_a_revision_without_room_waits_or_has_the_one_before_make_it(
    seen: Seen, policy: Literal["wait", "recreate"], expected: list[str]
) -> None:
    deployments, pods = [deployment(ONE)], [pod(ONE)]
    if trouble := seen.pop("starting", None):
        deployments.append(deployment(TWO))
        pods.append(pod(TWO, "b", ready=False, trouble=trouble))
    options = replace(OPTIONS, on_no_capacity=policy)
    assert steps(ROLLING, deployments=deployments, pods=pods, options=options, **seen) == expected


def test_a_revision_that_made_room_serves_until_it_is_drained() -> None:
    options = replace(OPTIONS, on_no_capacity="recreate")
    seen = planning.Observed(deployments=[deployment(ONE)], pods=[pod(ONE)], no_room="full", room_instead=True)
    plan = planning.plan(ROLLING, seen, options, now=NOW)
    assert plan.rolling  # as many at a time as others that are rolled out
    assert (plan.status.serving, plan.status.state) == (revision(ONE), "ready")
    assert plan.status.draining_since == NOW


def test_a_revision_is_removed_with_its_episodes_when_the_deadline_has_passed() -> None:
    seen = {
        "deployments": [deployment(ONE), deployment(TWO)],
        "pods": [pod(ONE), pod(TWO, "b")],
        "tool_lists": right("b"),
    }
    begun = planning.plan(ROLLING, planning.Observed(**seen), OPTIONS, now=NOW).status
    assert begun.draining_since == NOW
    assert steps(replace(ROLLING, status=begun), now=NOW, **seen) == ["drain a"]
    assert steps(replace(ROLLING, status=begun), now=LATER, **seen) == [f"remove {NAME}"]


def test_a_second_look_at_the_same_says_the_same() -> None:
    seen = planning.Observed(deployments=[deployment(ONE)], pods=[pod(ONE)], tool_lists=right("a"))
    first = planning.plan(ONE, seen, OPTIONS, now=NOW).status
    again = planning.plan(replace(ONE, status=first), seen, OPTIONS, now=LATER).status
    assert again == first
    assert (first.state, first.tools, first.url) == ("ready", 5, "http://router/t/red/s/rover/mcp")


@pytest.mark.parametrize(
    ("change", "state", "condition", "reason"),
    [
        (lambda: {"no_room": "the quota is full"}, "failed", "Accepted", "NoRoom"),
        (lambda: {"deployments": [deployment(ONE, trouble="exceeded quota")]}, "failed", "Accepted", "NoRoom"),
        (
            lambda: {
                "deployments": [deployment(ONE)],
                "pods": [pod(ONE)],
                "tool_lists": [model.ToolList("a", WRONG, 1)],
            },
            "failed",
            "Verified",
            "WrongTools",
        ),
        (
            lambda: {
                "deployments": [deployment(ONE)],
                "pods": [pod(ONE)],
                "faults": {"a": conditions.Fault("NoAnswer", "it does not answer")},
            },
            "starting",
            "Verified",
            "NoAnswer",
        ),
        (
            lambda: {
                "deployments": [deployment(ONE)],
                "pods": [pod(ONE, ready=False, trouble=("ImagePullBackOff", "no such image"))],
            },
            "failed",
            "Available",
            "ImagePullBackOff",
        ),
        (lambda: {"deployments": [deployment(ONE)]}, "starting", "Available", "Starting"),
    ],
)
def test_the_status_tells_what_is_wrong(
    change: Callable[[], Seen], state: str, condition: model.ConditionType, reason: str
) -> None:
    said = planning.plan(ONE, planning.Observed(**change()), OPTIONS, now=NOW).status
    found = said.condition(condition)
    assert found is not None
    assert (said.state, found.reason) == (state, reason)
    assert found.status != "True"


def test_hostile_last_words_are_cut_and_made_harmless() -> None:
    broken = pod(ONE, ready=False, trouble=("CrashLoopBackOff", "it ended with 1 (Error)"))
    words = {"a": "\x1b[31mred\n" + "é" * 4000}
    seen = planning.Observed(deployments=[deployment(ONE)], pods=[broken], last_words=words)
    available = planning.plan(ONE, seen, OPTIONS, now=NOW).status.condition("Available")
    assert available is not None
    assert available.message.startswith("it ended with 1 (Error); its log ends with: [31mred éé")
    assert len(available.message.encode()) <= 1024
    assert available.message.isprintable()


def test_a_condition_keeps_the_time_of_its_last_change() -> None:
    first = planning.plan(ONE, planning.Observed(), OPTIONS, now=NOW).status
    seen: Sequence[model.Deployment] = [deployment(ONE)]
    later = planning.plan(replace(ONE, status=first), planning.Observed(deployments=seen), OPTIONS, now=LATER).status
    assert {each.since for each in later.conditions} == {NOW}


def test_a_status_survives_the_way_to_the_api_server_and_back() -> None:
    seen = planning.Observed(deployments=[deployment(ONE)], pods=[pod(ONE)], tool_lists=right("a"))
    status = planning.plan(ONE, seen, OPTIONS, now=NOW).status
    document = {
        "metadata": {"namespace": "ns", "name": "rover", "uid": "uid", "generation": 4},
        "spec": {
            "scenario": "rover",
            "bundleGeneration": 1,
            "image": ONE.image,
            "bundleDigest": ONE.bundle_digest,
            "toolsHash": TOOLS,
        },
        "status": status.document(),
    }
    assert model.environment(document).status == status


def test_what_served_is_remembered_newest_first_and_once() -> None:
    seen = planning.Observed(deployments=[deployment(ONE)], pods=[pod(ONE)], tool_lists=right("a"))
    first = planning.plan(ONE, seen, OPTIONS, now=NOW).status
    assert [each.bundle_generation for each in first.history] == [1]
    both = planning.Observed(
        deployments=[deployment(ONE), deployment(TWO)],
        pods=[pod(ONE), pod(TWO, "b")],
        tool_lists=right("a", "b"),
    )
    second = planning.plan(replace(TWO, status=first), both, OPTIONS, now=NOW).status
    again = planning.plan(replace(TWO, status=second), both, OPTIONS, now=NOW).status
    assert [each.bundle_generation for each in again.history] == [2, 1]
