"""Whether there is room in a namespace, computed before anything is made.

A ReplicaSet that a quota blocked tries again only after longer and longer waits, long after there is room.
"""

import re
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
    "Ki": Decimal(2) ** 10,
    "Mi": Decimal(2) ** 20,
    "Gi": Decimal(2) ** 30,
    "Ti": Decimal(2) ** 40,
}
_QUANTITY = re.compile(r"^([0-9.]+)([numkMGT]?|[KMGT]i)$")


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


def lacking(quotas: Sequence[Quota], pod: Mapping[str, Any], count: int) -> str | None:
    """What there is too little of for `count` more pods, in one sentence; None where there is room.

    Args:
        pod: A pod's `spec`.
    """
    needs = {name: value * count for name, value in _needs(pod).items()}
    for each in quotas:
        for resource, hard in each.hard.items():
            need = needs.get(resource)
            if need is None:
                continue
            left = amount(hard) - amount(each.used.get(resource, "0"))
            if need > left:
                return f"quota {each.name}: {resource} has {left:f} of {hard} left, and {need:f} are needed"
    return None


def amount(quantity: str) -> Decimal:
    """`"512Mi"` as a number."""
    found = _QUANTITY.match(quantity)
    if found is None:
        raise ValueError(f"{quantity!r} is no quantity")
    return Decimal(found[1]) * _FACTORS[found[2]]


def _needs(pod: Mapping[str, Any]) -> dict[str, Decimal]:
    needs = {"pods": Decimal(1), "count/pods": Decimal(1)}
    for container in pod["containers"]:
        for kind, amounts in container["resources"].items():
            for resource, quantity in amounts.items():
                for name in (f"{kind}.{resource}", *([resource] if kind == "requests" else [])):
                    needs[name] = needs.get(name, Decimal(0)) + amount(quantity)
    return needs
