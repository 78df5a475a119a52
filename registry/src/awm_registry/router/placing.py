"""Which instance a new episode goes to. Pure functions over what the directory says."""

import hashlib
from collections.abc import Iterable, Sequence

from awm_registry import directory

_ALIVE: tuple[directory.State, ...] = ("ready", "starting", "draining")


_REMEMBERED = 4096


def reachable(instances: Iterable[directory.Instance]) -> list[directory.Instance]:
    """Those that answer for the episodes that they have."""
    return [each for each in instances if each.state in _ALIVE and each.agent_url and each.control_url]


def candidates(
    instances: Sequence[directory.Instance], *, generation: int | None = None, bundle: str | None = None
) -> list[directory.Instance]:
    """Those that a new episode may go to: of the pinned generation and bundle, else of the newest that is ready.

    A newer generation that still starts takes no episodes while an older one is ready, because it may yet turn out to
    be broken.
    """
    fitting = [
        each
        for each in reachable(instances)
        if each.state != "draining" and generation in (None, each.generation) and bundle in (None, each.bundle)
    ]
    best = [each for each in fitting if each.state == "ready"] or fitting
    newest = max((each.generation for each in best), default=0)
    return [each for each in best if each.generation == newest]


def state(instances: Iterable[directory.Instance]) -> directory.State:
    """The state of a scenario: the best of its instances'."""
    states = {each.state for each in instances}
    order: tuple[directory.State, ...] = ("ready", "starting", "draining", "failed")
    return next((each for each in order if each in states), "asleep")


def by_key(instances: Sequence[directory.Instance], key: bytes) -> directory.Instance:
    """The instance that the same key always gives while it is there (rendezvous hashing): however many others come
    and go, only the keys of those that went move."""
    return max(instances, key=lambda each: hashlib.sha256(key + each.id.encode()).digest())


class Given:
    """How many episodes a router gave to each instance, for sharing them out evenly from when an instance came."""

    def __init__(self) -> None:
        self._counts: dict[directory.InstanceId, int] = {}

    def least(self, instances: Sequence[directory.Instance]) -> directory.Instance:
        """The instance that got the fewest, which gets one more now; of equals the one with the smallest id.

        An instance that is new begins where the others are: what they got before may be closed by now.
        """
        known = [self._counts[each.id] for each in instances if each.id in self._counts]
        for each in instances:
            self._counts.setdefault(each.id, min(known, default=0))
        chosen = min(instances, key=lambda each: (self._counts[each.id], each.id))
        self._counts[chosen.id] += 1
        if len(self._counts) > _REMEMBERED:
            self._counts = {each.id: self._counts[each.id] for each in instances}
        return chosen
