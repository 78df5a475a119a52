"""What becomes an event, and what is remembered of what served."""

import dataclasses

import pytest

from awm_fleet.backends.kubernetes import model, telling

NOW = "2026-03-01T12:00:00Z"


def status(state: str, **reasons: str) -> model.Status:
    """A status whose conditions have these reasons; those that end in `ing` hold."""
    conditions = tuple(
        model.Condition(
            type=kind,  # type: ignore[arg-type]
            status="True" if reason.endswith("ing") else "False",
            reason=reason,
            message=f"{reason} it is",
            generation=1,
            since=NOW,
        )
        for kind, reason in reasons.items()
    )
    return model.Status(state=state, conditions=conditions)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (status("starting"), status("ready", Ready="Serving"), [("Normal", "Serving")]),
        (status("ready", Ready="Serving"), status("ready", Ready="Serving"), []),
        (status("ready", Ready="Serving"), status("ready", Ready="ServingOlder"), []),
        (status("ready"), status("ready", Verified="WrongTools"), [("Warning", "WrongTools")]),
        (status("starting"), status("failed", Accepted="NoRoom"), [("Warning", "NoRoom")]),
        (status("starting"), status("failed", Available="CrashLoopBackOff"), [("Warning", "CrashLoopBackOff")]),
        (status("failed"), status("failed", Available="CrashLoopBackOff"), []),
        (status("ready", Ready="Serving"), status("asleep", Ready="Asleep"), []),
    ],
)
def test_an_event_is_told_once_when_something_becomes_so(
    before: model.Status, after: model.Status, told: list[tuple[str, str]]
) -> None:
    assert [(each.type, each.reason) for each in telling.events(before, after)] == told


def test_what_served_is_what_a_spec_needs() -> None:
    served = model.Served(3, "registry.example/rover@sha256:1", "sha256:2", "sha256:3")
    assert served.spec() == {
        "bundleGeneration": 3,
        "image": "registry.example/rover@sha256:1",
        "bundleDigest": "sha256:2",
        "toolsHash": "sha256:3",
    }
    document = dataclasses.replace(model.Status(), history=(served,)).document()
    assert document["history"] == [served.spec()]
