"""What to do about an environment, from what is wanted and what is seen. Pure: all reading and writing is elsewhere.

A revision takes new episodes ("serves") once enough of its pods are ready and were seen to list the right tools. Until
then the revision before it serves on. Older revisions are drained, and removed when no episode is open in them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from awm_fleet.backends.kubernetes import conditions, drift, model, moments, names, objects

_FULL = re.compile(r"Insufficient |Too many pods")
"""What the scheduler says where nodes would fit if they were empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a fleet is run.

    Attributes:
        pods: What pods have in common.
        drain_deadline_s: After so long a revision is removed with the episodes that are still open in it.
        surge_reserve: Room for so many pods is kept for revisions that start beside others.
        on_no_capacity: What becomes of a revision without room beside the one before: it waits, or that one is
            drained and removed first.
        url: Where the router is; `{team}` and `{scenario}` are put in.
        teams: The team of each namespace.
    """

    pods: objects.PodOptions = field(default_factory=objects.PodOptions)
    drain_deadline_s: float = 3600.0
    surge_reserve: int = 0
    on_no_capacity: Literal["wait", "recreate"] = "wait"
    url: str = ""
    teams: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What is seen of an environment.

    Attributes:
        deployments, pods: Those that are its own.
        tool_lists: What pods listed since the controller started, beside those that the status remembers.
        faults: What became of asking the others, by UID.
        last_words: The end of the log of pods that do not start, by UID. Hostile text.
        applied: The version of each Deployment, by name, after it was last applied.
        may_roll: Whether a revision may start beside another now.
        no_room: Why there is no room for its pods, or None.
        room_instead: Whether there would be room without those that it has now.
    """

    deployments: Sequence[model.Deployment] = ()
    pods: Sequence[model.Pod] = ()
    tool_lists: Sequence[model.ToolList] = ()
    faults: Mapping[str, conditions.Fault] = field(default_factory=dict)
    last_words: Mapping[str, str] = field(default_factory=dict)
    applied: Mapping[str, int] = field(default_factory=dict)
    may_roll: bool = True
    no_room: str | None = None
    room_instead: bool = False


@dataclass(frozen=True, slots=True)
class Apply:
    """Write this Deployment."""

    deployment: Mapping[str, Any] = field(repr=False)
    revision: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete this Deployment."""

    name: str


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask a pod for its tools."""

    pod: model.Pod


@dataclass(frozen=True, slots=True)
class Drain:
    """Ask a pod to open no more episodes, and label it when it agrees."""

    pod: model.Pod


@dataclass(frozen=True, slots=True)
class Replace:
    """Delete a pod that is needed but drained; its Deployment makes another."""

    pod: model.Pod


Action = Apply | Remove | Ask | Drain | Replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do, and what to say.

    Attributes:
        actions: In this order.
        status: What the status is to be; equal to the present one where nothing is to be written.
        rolling: Whether a revision starts beside the one that serves.
    """

    actions: tuple[Action, ...]
    status: model.Status
    rolling: bool


def plan(environment: model.Environment, observed: Observed, options: Options, *, now: str) -> Plan:
    """The next steps for an environment that is not being deleted.

    Args:
        now: The time, as RFC 3339.
    """
    wanted = objects.deployment(environment, options.pods)
    view = _View.of(environment, observed, wanted["metadata"]["labels"][names.REVISION], options)
    since = (environment.status.draining_since or now) if view.leaving else None
    overdue = since is not None and moments.between(since, now) >= options.drain_deadline_s
    actions = [*_grow(view, wanted), *_asked(view)] if view.awake else []
    for deployment in view.leaving:
        actions += _shrink(view, deployment, overdue=overdue)
    facts = conditions.Facts(
        environment=environment,
        revision=view.revision,
        serving=view.serving,
        deployments=view.deployments,
        pods=observed.pods,
        tool_lists=view.tool_lists,
        faults=observed.faults,
        last_words=observed.last_words,
        draining_since=since,
        waits=view.has_to_wait,
        lacks=observed.no_room if view.awake and view.current is None else None,
        url=options.url.format(team=options.teams.get(environment.namespace, ""), scenario=environment.scenario),
    )
    return Plan(actions=tuple(actions), status=conditions.status(facts, now=now), rolling=view.rolling)


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """What is seen, sorted by revision.

    Attributes:
        current: The newest revision's Deployment.
        serving: The revision that new episodes are opened on.
        makes_room: Whether the one that serves is to go first.
        leaving: The Deployments that are neither of the two, or that make room.
    """

    awake: bool
    replicas: int
    revision: str
    deployments: tuple[model.Deployment, ...]
    current: model.Deployment | None
    serving: str | None
    makes_room: bool
    leaving: tuple[model.Deployment, ...]
    tool_lists: tuple[model.ToolList, ...]
    observed: Observed

    @classmethod
    def of(cls, environment: model.Environment, observed: Observed, revision: str, options: Options) -> "_View":
        alive = tuple(each for each in observed.deployments if not each.deleting)
        lists = _remembered(environment, observed)
        right = {each.pod for each in lists if each.tools_hash == environment.tools_hash}
        good = [each for each in observed.pods if _usable(each) and each.revision == revision and each.uid in right]
        awake = environment.replicas > 0
        serving = None
        if awake and len(good) >= environment.replicas:
            serving = revision
        elif awake and any(each.revision == environment.status.serving for each in alive):
            serving = environment.status.serving
        current = next((each for each in alive if each.revision == revision), None)
        cramped = serving not in (None, revision) and _is_cramped(current, observed)
        makes_room = cramped and options.on_no_capacity == "recreate" and observed.may_roll
        needed = {revision, None if makes_room else serving} if awake else set()
        return cls(
            awake=awake,
            replicas=environment.replicas,
            revision=revision,
            deployments=alive,
            current=current,
            serving=serving,
            makes_room=makes_room,
            leaving=tuple(each for each in alive if each.revision not in needed),
            tool_lists=lists,
            observed=observed,
        )

    @property
    def rolling(self) -> bool:
        return self.makes_room or (self.current is not None and self.serving not in (None, self.revision))

    @property
    def has_to_wait(self) -> bool:
        """Whether it is not the revision's turn: only one that has another beside it waits."""
        return self.current is None and self.serving not in (None, self.revision) and not self.observed.may_roll

    def pods(self, revision: str) -> list[model.Pod]:
        """A revision's pods."""
        return [each for each in self.observed.pods if each.revision == revision and not each.deleting]


def _is_cramped(current: model.Deployment | None, observed: Observed) -> bool:
    """Whether the newest revision would start if the one before were gone: a quota or the nodes are full."""
    if current is None:
        return observed.no_room is not None and observed.room_instead
    troubles = [each.trouble for each in observed.pods if each.revision == current.revision and each.trouble]
    return any(reason == "Unschedulable" and _FULL.search(message) for reason, message in troubles)


def _usable(pod: model.Pod) -> bool:
    return pod.ready and not pod.deleting and not pod.drained


def _remembered(environment: model.Environment, observed: Observed) -> tuple[model.ToolList, ...]:
    """What the pods that are still there listed."""
    there = {each.uid for each in observed.pods}
    lists = {each.pod: each for each in (*environment.status.tool_lists, *observed.tool_lists) if each.pod in there}
    return tuple(lists[uid] for uid in sorted(lists))


def _grow(view: _View, wanted: Mapping[str, Any]) -> list[Action]:
    """Makes the newest revision what it should be, unless it is, or cannot be now."""
    live = view.current
    if live is not None and live.trouble and view.observed.no_room and not view.pods(view.revision):
        return [Remove(live.name)]  # a ReplicaSet that a quota refused tries again long after there is room
    if live is None or live.replicas < view.replicas:
        return [] if view.has_to_wait or view.observed.no_room else [Apply(wanted, view.revision)]
    if live.replicas > view.replicas:
        return _fewer(view, live, wanted)
    actions: list[Action] = [Replace(each) for each in view.pods(view.revision) if each.drained]
    if view.observed.applied.get(live.name) != live.version and drift.differs(wanted["spec"], live.spec):
        actions.append(Apply(wanted, view.revision))
    return actions


def _fewer(view: _View, live: model.Deployment, wanted: Mapping[str, Any]) -> list[Action]:
    """Drains as many pods as are too many; drained ones are the first that their ReplicaSet removes."""
    pods = sorted(view.pods(live.revision), key=lambda each: (not each.drained, each.ready, each.uid))
    busy = [each for each in pods[: live.replicas - view.replicas] if _usable(each)]
    return [Drain(each) for each in busy] or [Apply(wanted, view.revision)]


def _asked(view: _View) -> list[Action]:
    known = {each.pod for each in view.tool_lists}
    return [Ask(each) for each in view.pods(view.revision) if _usable(each) and each.uid not in known]


def _shrink(view: _View, deployment: model.Deployment, *, overdue: bool) -> list[Action]:
    """Removes a revision when nothing is open in it any more. A pod that never served has no episode to lose."""
    served = {each.pod for each in view.tool_lists}
    pods = [each for each in view.pods(deployment.revision) if not each.drained]
    busy = [each for each in pods if each.ready or each.uid in served]
    if busy and not overdue:
        return [Drain(each) for each in busy]
    return [Remove(deployment.name)]
