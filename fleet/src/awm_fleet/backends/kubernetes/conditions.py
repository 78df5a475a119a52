"""What an environment's status says, from what is seen of it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from awm_fleet.backends.kubernetes import model, names
from awm_registry import directory

NO_ROOM, WAITING = "NoRoom", "Waiting"
_MOST_REMEMBERED = 10
_LONGEST_MESSAGE = 1024


class Fault(NamedTuple):
    """What became of asking a pod, in one word and in a sentence."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What there is to tell.

    Attributes:
        revision: The hash of the newest revision.
        serving: The hash of the revision that new episodes are opened on.
        deployments: Those that are not being deleted.
        pods: All of them.
        tool_lists: What those that were asked listed.
        faults: What became of asking the others, by UID.
        last_words: The end of the log of pods that do not start, by UID. Hostile text.
        waits: Whether the newest revision waits for its turn.
        lacks: What there is too little of for its pods, or None.
    """

    environment: model.Environment
    revision: str
    serving: str | None
    deployments: Sequence[model.Deployment]
    pods: Sequence[model.Pod]
    tool_lists: Sequence[model.ToolList]
    faults: Mapping[str, Fault]
    last_words: Mapping[str, str]
    draining_since: str | None
    waits: bool
    lacks: str | None
    url: str

    @property
    def awake(self) -> bool:
        return self.environment.replicas > 0

    @property
    def right(self) -> set[str]:
        """The pods that list the tools that are wanted."""
        return {each.pod for each in self.tool_lists if each.tools_hash == self.environment.tools_hash}

    def ready_pods(self, revision: str | None) -> list[model.Pod]:
        """The pods of a revision that take calls."""
        return [each for each in self.pods if each.revision == revision and each.ready and not each.deleting]


@dataclass(frozen=True, slots=True)
class _Said:
    status: model.Truth
    reason: str
    message: str


def status(facts: Facts, *, now: str) -> model.Status:
    """The status; where nothing changed, it equals the one before."""
    before = facts.environment.status
    serving = next((each for each in facts.deployments if each.revision == facts.serving), None)
    tools = [each.tools for each in facts.tool_lists if each.tools_hash == facts.environment.tools_hash]
    is_new = facts.awake and before.revision_hash != facts.revision and not facts.waits and facts.lacks is None
    said: dict[model.ConditionType, _Said] = {
        "Accepted": _accepted(facts),
        "Available": _available(facts),
        "Verified": _verified(facts),
        "Ready": _ready(facts),
    }
    return replace(
        before,
        state=_state(facts, said),
        url=facts.url or None,
        revision=before.revision + is_new,
        revision_hash=facts.revision if is_new else before.revision_hash,
        serving=facts.serving,
        bundle_generation=serving.bundle_generation if serving else before.bundle_generation,
        catalog_generation=facts.environment.catalog_generation,
        tools=tools[0] if tools else before.tools,
        replicas=len(facts.ready_pods(facts.serving or facts.revision)),
        selector=f"{names.ENVIRONMENT}={facts.environment.name}",
        draining_since=facts.draining_since,
        observed_generation=facts.environment.generation,
        tool_lists=tuple(facts.tool_lists),
        history=_history(facts),
        conditions=tuple(
            _condition(before.condition(kind), kind, each, facts.environment.generation, now)
            for kind, each in said.items()
        ),
    )


def _history(facts: Facts) -> tuple[model.Served, ...]:
    """What served, newest first; a rollback goes to the one before."""
    before = facts.environment.status.history
    if facts.serving != facts.revision:
        return before
    served = facts.environment.wanted
    return before if before[:1] == (served,) else (served, *before)[:_MOST_REMEMBERED]


def _condition(
    before: model.Condition | None, kind: model.ConditionType, said: _Said, generation: int, now: str
) -> model.Condition:
    since = before.since if before is not None and before.status == said.status else now
    return model.Condition(
        type=kind,
        status=said.status,
        reason=said.reason,
        message=shown(said.message),
        generation=generation,
        since=since,
    )


def shown(text: str) -> str:
    """Hostile text as it may be shown: one line of printable characters, at most 1 KB."""
    plain = "".join(each if each.isprintable() else " " for each in text)
    encoded = " ".join(plain.split()).encode()[:_LONGEST_MESSAGE]
    return encoded.decode(errors="ignore")


def _state(facts: Facts, said: Mapping[model.ConditionType, _Said]) -> directory.State:
    if not facts.awake:
        return "draining" if facts.deployments else "asleep"
    if said["Ready"].status == "True":
        return "ready"
    failed = any(each.status == "False" and each.reason in _FAILURES for each in said.values())
    return "failed" if failed or _trouble(facts) else "starting"


_FAILURES = frozenset({"WrongTools", NO_ROOM})


def _accepted(facts: Facts) -> _Said:
    if facts.waits:
        return _Said("Unknown", WAITING, "other environments are rolled out first")
    if facts.lacks is not None:
        return _Said("False", NO_ROOM, facts.lacks)
    for each in facts.deployments:
        if each.revision == facts.revision and each.trouble and not facts.ready_pods(facts.revision):
            return _Said("False", NO_ROOM, each.trouble)
    return _Said("True", "Accepted", f"generation {facts.environment.bundle_generation} is wanted")


def _available(facts: Facts) -> _Said:
    if not facts.awake:
        return _Said("False", "Asleep", "it starts when it is asked for")
    ready = len(facts.ready_pods(facts.revision))
    if ready >= facts.environment.replicas:
        return _Said("True", "PodsReady", f"{ready} of {facts.environment.replicas} pods are ready")
    trouble = _trouble(facts)
    if trouble is not None:
        return _Said("False", _word(trouble[0]), trouble[1])
    return _Said("False", "Starting", f"{ready} of {facts.environment.replicas} pods are ready")


def _verified(facts: Facts) -> _Said:
    if not facts.awake:
        return _Said("Unknown", "Asleep", "nothing runs that could be asked for its tools")
    mine = {each.uid: each for each in facts.pods if each.revision == facts.revision and not each.deleting}
    for listed in facts.tool_lists:
        if listed.pod in mine and listed.pod not in facts.right:
            said = f"{mine[listed.pod].name} lists {listed.tools} tools with the hash {listed.tools_hash}"
            return _Said("False", "WrongTools", f"{said}, not {facts.environment.tools_hash}")
    for uid, fault in facts.faults.items():
        if uid in mine:
            return _Said("False", fault.reason, f"{mine[uid].name}: {fault.message}")
    seen = len(facts.right & mine.keys())
    if seen >= facts.environment.replicas:
        return _Said("True", "ToolsMatch", f"{seen} pods list the tools of {facts.environment.tools_hash}")
    return _Said("Unknown", "Pending", f"{seen} of {facts.environment.replicas} pods were asked for their tools")


def _ready(facts: Facts) -> _Said:
    if not facts.awake:
        return _Said("False", "Asleep", "it starts when it is asked for")
    if facts.serving is None or not facts.ready_pods(facts.serving):
        return _Said("False", "NotServing", "no pod that was verified is ready")
    if facts.serving == facts.revision:
        return _Said("True", "Serving", "new episodes are opened on the newest revision")
    return _Said("True", "ServingOlder", "new episodes are opened on the revision before")


def _trouble(facts: Facts) -> tuple[str, str] | None:
    """What keeps the newest revision from starting, with the last words of its log."""
    for each in facts.pods:
        if each.revision == facts.revision and each.trouble and not each.deleting:
            reason, message = each.trouble
            words = facts.last_words.get(each.uid)
            return reason, f"{message}; its log ends with: {words}" if words else message
    return None


def _word(reason: str) -> str:
    return "".join(each for each in reason if each.isalpha() and each.isascii()) or "Failed"
