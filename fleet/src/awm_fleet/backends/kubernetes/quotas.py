"""Whether there is room in a namespace, computed before anything is made.

A ReplicaSet that a quota blocked tries again only after longer and longer waits, long after there is room.
"""

import functools
import json
import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

_FACTORS = {
    "n": Decimal(10) ** -9,
    "u": Decimal(10) ** -6,
    "m": Decimal(10) ** -3,
    "": Decimal(1),
    "k": Decimal(10) ** 3,
    "M": Decimal(10) ** 6,
    "G": Decimal(10) ** 9,
    "T": Decimal(10) ** 12,
    "P": Decimal(10) ** 15,
    "E": Decimal(10) ** 18,
    "Ki": Decimal(2) ** 10,
    "Mi": Decimal(2) ** 20,
    "Gi": Decimal(2) ** 30,
    "Ti": Decimal(2) ** 40,
    "Pi": Decimal(2) ** 50,
    "Ei": Decimal(2) ** 60,
}
_QUANTITY = re.compile(r"^([0-9.]+(?:[eE][+-]?[0-9]+)?)([numkMGTPE]?|[KMGTPE]i)$")

Needs = Mapping[str, Decimal]
"""Amounts by resource, as a ResourceQuota calls it: `pods`, `requests.memory`."""

_NOTHING: Needs = types.MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Quota:
    """A ResourceQuota: what is allowed and what is used, by resource."""

    name: str
    hard: Mapping[str, str]
    used: Mapping[str, str]


def quota(document: Mapping[str, Any]) -> Quota:
    """A ResourceQuota as the API has it."""
    status = document.get("status", {})
    hard = status.get("hard") or document["spec"].get("hard", {})
    return Quota(document["metadata"]["name"], hard, status.get("used", {}))


def needs(pod: Mapping[str, Any]) -> Needs:
    """What a pod takes of each resource that a quota may count.

    Args:
        pod: A pod's `spec`.
    """
    given = [each.get("resources", {}) for each in pod["containers"]]
    counted = [{kind: each[kind] for kind in ("limits", "requests") if kind in each} for each in given]
    return _needs(json.dumps(counted, sort_keys=True))


def lacking(
    limits: Sequence[Quota],
    each: Needs,
    count: int,
    *,
    promised: Needs = _NOTHING,
    leaving: Needs = _NOTHING,
    reserve: int = 0,
) -> str | None:
    """What there is too little of for `count` more pods, in one sentence; None where there is room.

    Args:
        each: What one pod needs.
        promised: What the pods need that were asked for; quotas count them only when they are there.
        leaving: What of that would be given back first.
        reserve: There has to be room for so many pods beside them.
    """
    counted = [(limit, resource) for limit in limits for resource in limit.hard if resource in each]
    for limit, resource in counted:
        hard = limit.hard[resource]
        need, kept, all_ = each[resource] * count, each[resource] * reserve, amount(hard)
        if need > all_:
            return f"quota {limit.name}: {resource} is {hard}, which is less than the {need:f} that are needed"
        taken = max(amount(limit.used.get(resource, "0")), promised.get(resource, Decimal(0)))
        left = all_ - taken + leaving.get(resource, Decimal(0))
        if need + kept > left:
            beside = f"; {kept:f} are kept for changes" if kept else ""
            return f"quota {limit.name}: {resource} has {left:f} of {hard} left, and {need:f} are needed{beside}"
    return None


def amount(quantity: str) -> Decimal:
    """`"512Mi"` as a number."""
    found = _QUANTITY.match(quantity)
    if found is None:
        raise ValueError(f"{quantity!r} is no quantity")
    return Decimal(found[1]) * _FACTORS[found[2]]


@functools.lru_cache(maxsize=256)
def _needs(resources: str) -> Needs:
    found = {"pods": Decimal(1), "count/pods": Decimal(1)}
    for container in json.loads(resources):
        for kind, amounts in container.items():
            for resource, quantity in amounts.items():
                for name in (f"{kind}.{resource}", *([resource] if kind == "requests" else [])):
                    found[name] = found.get(name, Decimal(0)) + amount(quantity)
    return types.MappingProxyType(found)
