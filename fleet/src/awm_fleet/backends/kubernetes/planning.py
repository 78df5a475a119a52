"""What to do about an environment, from what is wanted and what is seen. Pure: all reading and writing is elsewhere.

A revision takes new episodes ("serves") once enough of its pods are ready and were seen to list the right tools. Until
then the revision before it serves on. Older revisions are drained, and removed when no episode is open in them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from awm_fleet.backends.kubernetes import conditions, drift, model, moments, objects


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a fleet is run.

    Attributes:
        pods: What pods have in common.
        drain_deadline_s: After so long a revision is removed with the episodes that are still open in it.
        url: Where the router is; `{team}` and `{scenario}` are put in.
        teams: The team of each namespace.
    """

    pods: objects.PodOptions = field(default_factory=objects.PodOptions)
    drain_deadline_s: float = 3600.0
    url: str = ""
    teams: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What is seen of an environment.

    Attributes:
        deployments, pods: Those that are its own.
        verified: Pods whose tools were seen since the controller started, beside those that the status remembers.
        mismatches: What pods that are not right answered instead, by UID.
        drained: Pods that take no new episodes and have none open, by UID.
        applied: For each Deployment's name the hash and version of what was last applied to it.
        may_roll: Whether a revision may start beside another now.
        no_room: Why there is no room for its pods, or None.
    """

    deployments: Sequence[model.Deployment] = ()
    pods: Sequence[model.Pod] = ()
    verified: Sequence[model.Verified] = ()
    mismatches: Mapping[str, str] = field(default_factory=dict)
    drained: frozenset[str] = frozenset()
    applied: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    may_roll: bool = True
    no_room: str | None = None


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
class Verify:
    """Ask a pod for its tools."""

    pod: model.Pod
    tools_hash: str


@dataclass(frozen=True, slots=True)
class Drain:
    """Ask a pod to take no new episodes."""

    pod: model.Pod


Action = Apply | Remove | Verify | Drain


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do, and what to say.

    Attributes:
        actions: In this order.
        status: What the status is to be; equal to the present one where nothing is to be written.
        rolling: Whether two revisions are there.
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
    view = _View.of(environment, observed, objects.revision(environment, options.pods))
    actions: list[Action] = []
    if view.awake:
        actions += _grow(view, wanted)
        actions += [Verify(pod, environment.tools_hash) for pod in view.unverified]
    leaving = view.others if view.takes_over else view.all if not view.awake else ()
    since = (environment.status.draining_since or now) if leaving else None
    overdue = since is not None and moments.between(since, now) >= options.drain_deadline_s
    for deployment in leaving:
        actions += _shrink(view, deployment, overdue=overdue)
    said = conditions.Facts(
        environment=environment,
        revision=view.revision,
        serving=view.serving,
        deployments=view.all,
        pods=observed.pods,
        verified=view.verified,
        mismatches=observed.mismatches,
        draining_since=since,
        waits="other environments are rolled out first" if view.waits else observed.no_room,
        url=options.url.format(team=options.teams.get(environment.namespace, ""), scenario=environment.scenario),
    )
    return Plan(actions=tuple(actions), status=conditions.status(said, now=now), rolling=view.rolling)


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """What is seen, sorted by revision."""

    awake: bool
    revision: str
    current: model.Deployment | None
    others: tuple[model.Deployment, ...]
    ready: tuple[model.Pod, ...]
    verified: tuple[model.Verified, ...]
    serving: str | None
    takes_over: bool
    observed: Observed
    replicas: int

    @classmethod
    def of(cls, environment: model.Environment, observed: Observed, revision: str) -> "_View":
        alive = [each for each in observed.deployments if not each.deleting]
        pods = {each.uid for each in observed.pods}
        remembered = {each.pod: each for each in (*environment.status.verified, *observed.verified)}
        kept = tuple(sorted((each for each in remembered.values() if each.pod in pods), key=lambda each: each.pod))
        ready = tuple(each for each in observed.pods if each.ready and not each.deleting)
        right = {each.pod for each in kept if each.tools_hash == environment.tools_hash}
        good = [each for each in ready if each.revision == revision and each.uid in right]
        replicas = environment.replicas
        takes_over = replicas > 0 and len(good) >= replicas
        before = environment.status.serving
        still = any(each.revision == before for each in alive)
        return cls(
            awake=replicas > 0,
            revision=revision,
            current=next((each for each in alive if each.revision == revision), None),
            others=tuple(each for each in alive if each.revision != revision),
            ready=tuple(each for each in ready if each.revision == revision),
            verified=kept,
            serving=revision if takes_over else before if still and replicas > 0 else None,
            takes_over=takes_over,
            observed=observed,
            replicas=replicas,
        )

    @property
    def all(self) -> tuple[model.Deployment, ...]:
        return (self.current, *self.others) if self.current else self.others

    @property
    def rolling(self) -> bool:
        return self.awake and self.current is not None and bool(self.others)

    @property
    def waits(self) -> bool:
        """Whether the revision has to wait for its turn: only one that has another beside it does."""
        return self.awake and self.current is None and bool(self.others) and not self.observed.may_roll

    @property
    def unverified(self) -> list[model.Pod]:
        seen = {each.pod for each in self.verified}
        return [each for each in self.ready if each.uid not in seen]


def _grow(view: _View, wanted: Mapping[str, Any]) -> list[Action]:
    """Makes the newest revision what it should be, unless it is, or has to wait."""
    live = view.current
    if live is None:
        return [] if view.waits or view.observed.no_room else [Apply(wanted, view.revision)]
    if live.replicas != view.replicas:
        return _resize(view, live, wanted)
    applied = view.observed.applied.get(live.name)
    if applied == (view.revision, live.version) or not drift.differs(wanted["spec"], live.spec):
        return []
    return [Apply(wanted, view.revision)]


def _resize(view: _View, live: model.Deployment, wanted: Mapping[str, Any]) -> list[Action]:
    """More pods at once where there is room; fewer when enough of them are drained, which are removed first."""
    if live.replicas < view.replicas:
        return [] if view.observed.no_room else [Apply(wanted, view.revision)]
    spare = live.replicas - view.replicas
    candidates = sorted(
        (each for each in view.observed.pods if each.revision == live.revision and not each.deleting),
        key=lambda each: (each.uid not in view.observed.drained, each.ready, each.uid),
    )[:spare]
    busy = [each for each in candidates if each.ready and each.uid not in view.observed.drained]
    return [Drain(each) for each in busy] if busy else [Apply(wanted, view.revision)]


def _shrink(view: _View, deployment: model.Deployment, *, overdue: bool) -> list[Action]:
    """Removes a revision when nothing is open in it any more. A pod that is not ready has no episode to lose."""
    busy = [
        each
        for each in view.observed.pods
        if each.revision == deployment.revision
        and each.ready
        and not each.deleting
        and each.uid not in view.observed.drained
    ]
    if busy and not overdue:
        return [Drain(each) for each in busy]
    return [Remove(deployment.name)]
