"""Events that a person reads in `kubectl describe`, from how a status changed. Pure."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from awm_fleet.backends.kubernetes import conditions, model, names

_WORTH_TELLING = {
    ("Verified", "WrongTools"): "Warning",
    ("Accepted", conditions.NO_ROOM): "Warning",
    ("Ready", "Serving"): "Normal",
}


class Said(NamedTuple):
    """An event: Normal or Warning, a word, a sentence."""

    type: str
    reason: str
    message: str


def events(before: model.Status, after: model.Status) -> Iterator[Said]:
    """What is worth telling about a change of status."""
    for condition in after.conditions:
        earlier = before.condition(condition.type)
        kind = _WORTH_TELLING.get((condition.type, condition.reason))
        new = earlier is None or earlier.reason != condition.reason
        if kind is not None and new:
            yield Said(kind, condition.reason, condition.message)
    if after.state == "failed" and before.state != "failed":
        available = after.condition("Available")
        if available is not None and available.status == "False":
            yield Said("Warning", available.reason, available.message)


def document(environment: model.Environment, said: Said, *, now: str, suffix: str) -> dict[str, Any]:
    """The event as the API has it."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{environment.name}.{suffix}", "namespace": environment.namespace},
        "involvedObject": {
            "apiVersion": f"{names.GROUP}/{names.VERSION}",
            "kind": names.KIND,
            "name": environment.name,
            "namespace": environment.namespace,
            "uid": environment.uid,
        },
        "type": said.type,
        "reason": said.reason,
        "message": said.message,
        "source": {"component": "awm-controller"},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
