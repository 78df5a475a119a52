"""Makes environments what they should be: looks, plans (`planning`), acts, and says in the status what came of it."""

import dataclasses
import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from awm_fleet.backends.kubernetes import (
    api,
    conditions,
    instances,
    isolation,
    metrics,
    model,
    moments,
    names,
    planning,
    queues,
    teams,
    telling,
)

logger = logging.getLogger(__name__)

_Words = TypeVar("_Words", str, conditions.Fault)

_DRAIN_AGAIN_S = 5.0
_ROOM_AGAIN_S = 30.0
_ROOM_S = 0.5
"""What is freed is often followed by more: those who wait for it look together."""
_LOG_LINES = 5
_MOST_KEPT = 1000
_LOG_BYTES = 4096
_FIRST_REMOVED = {"controller.kubernetes.io/pod-deletion-cost": "-1000"}


class Reconciler:
    """The memory and the hands of the controller.

    Args:
        token: Makes a token that a pod takes.
        max_unavailable: How many environments may start a revision beside another at once.
    """

    def __init__(
        self,
        connection: api.Api,
        asked: instances.Instances,
        isolated: isolation.Isolation,
        views: Mapping[str, teams.TeamView],
        options: planning.Options,
        *,
        queue: queues.Queue[teams.Key],
        token: Callable[[model.Pod], str],
        max_unavailable: int,
        meter: metrics.Metrics,
        suffix: Callable[[], str],
    ) -> None:
        self._api = connection
        self._instances = asked
        self._isolation = isolated
        self._views = views
        self._options = options
        self._queue = queue
        self._token = token
        self._max_unavailable = max_unavailable
        self._meter = meter
        self._suffix = suffix
        self._applied: dict[tuple[str, str], int] = {}
        self._lists: dict[str, model.ToolList] = {}
        self._faults: dict[str, conditions.Fault] = {}
        self._last_words: dict[str, str] = {}
        self._rolling: set[teams.Key] = set()
        self._in_line: dict[teams.Key, None] = {}
        self._without_room: dict[teams.Key, None] = {}

    def recall(self, view: teams.TeamView) -> None:
        """Finds out which of a team's environments are being rolled out already, before anything is done to them."""
        for each in view.environments.items.values():
            if not each.deleting and self._plan(view, each).rolling:
                self._rolling.add(teams.Key(each.namespace, each.name))

    def room_changed(self, namespace: str) -> None:
        """Looks again at what found no room in a namespace."""
        for key in [each for each in self._without_room if each.namespace == namespace]:
            del self._without_room[key]
            self._queue.add_after(key, _ROOM_S)

    async def reconcile(self, key: teams.Key) -> None:
        """One look at an environment, and the next steps for it.

        Raises:
            ApiError, NoAnswer: Something did not work; to be tried again.
        """
        view = self._views[key.namespace]
        environment = view.environments.items.get(key.name)
        if environment is None or environment.deleting:
            self._forget(key)
            return
        plan = self._plan(view, environment)
        if environment.status.state is None:
            # Whoever made it waits to hear that it was accepted. Its pods come after all others that are as new.
            await self._say(view, environment, plan.status)
            return
        done: list[planning.Action] = []
        fault: Exception | None = None
        while fault is None and (steps := [each for each in plan.actions if each not in done]):
            self._take_turn(key, plan)
            if plan.status.serving not in (None, environment.status.serving):
                # Routers hear of it before the revision that served is drained. That often takes no time at all.
                since = environment.status.draining_since
                await self._say(view, environment, dataclasses.replace(plan.status, draining_since=since))
            for step in steps:
                try:
                    await self._act(key, view, step)
                except (api.ApiError, instances.NoAnswer) as exc:
                    fault = exc
            done += steps
            # What was done is in the copy already: go on from there, so that one status tells of it all.
            environment = view.environments.items.get(key.name, environment)
            plan = self._plan(view, environment)
        self._take_turn(key, plan)
        if await self._explain(key, view):
            plan = self._plan(view, environment)
        await self._say(view, environment, plan.status)
        if fault is not None:
            raise fault

    def _plan(self, view: teams.TeamView, environment: model.Environment) -> planning.Plan:
        key = teams.Key(environment.namespace, environment.name)
        pods = view.pods_of(environment.name)
        uids = {each.uid for each in pods}
        deployments = view.deployments_of(environment.name)
        no_room = self._lacks(view, environment)
        observed = planning.Observed(
            deployments=deployments,
            pods=pods,
            tool_lists=[self._lists[uid] for uid in sorted(uids & self._lists.keys())],
            faults={uid: self._faults[uid] for uid in sorted(uids & self._faults.keys())},
            last_words={uid: self._last_words[uid] for uid in uids & self._last_words.keys()},
            applied={
                each.name: self._applied[each.namespace, each.name]
                for each in deployments
                if (each.namespace, each.name) in self._applied
            },
            may_roll=len(self._rolling - {key}) < self._max_unavailable,
            no_room=no_room,
            room_instead=no_room is not None and self._lacks(view, environment, instead=True) is None,
        )
        return planning.plan(environment, observed, self._options, now=moments.now())

    def _lacks(self, view: teams.TeamView, environment: model.Environment, *, instead: bool = False) -> str | None:
        """What there is too little of for the pods that an environment wants."""
        reserve = self._options.surge_reserve
        return view.lacking(environment, self._options.pods, reserve=reserve, instead=instead)

    def _take_turn(self, key: teams.Key, plan: planning.Plan) -> None:
        """Keeps the list of who is being rolled out, and of who waits for a turn or for room."""
        accepted = plan.status.condition("Accepted")
        starts = plan.rolling or (plan.status.serving is not None and _starts(plan))
        if starts:
            self._rolling.add(key)
        elif key in self._rolling:
            self._rolling.discard(key)
            self._next_in_line()
        if accepted is not None and accepted.reason == conditions.WAITING:
            self._in_line[key] = None
        if accepted is not None and accepted.reason == conditions.NO_ROOM:
            self._without_room[key] = None
            self._queue.add_after(key, _ROOM_AGAIN_S)

    def _next_in_line(self) -> None:
        for key in list(self._in_line)[: self._max_unavailable - len(self._rolling)]:
            del self._in_line[key]
            self._queue.add(key)

    async def _act(self, key: teams.Key, view: teams.TeamView, action: planning.Action) -> None:
        match action:
            case planning.Apply(deployment):
                answer = await self._api.apply(api.DEPLOYMENTS, deployment)
                self._applied[key.namespace, answer["metadata"]["name"]] = answer["metadata"]["generation"]
                view.deployments.learn(answer)
            case planning.Remove(name):
                await self._api.delete(api.DEPLOYMENTS, key.namespace, name)
                self._applied.pop((key.namespace, name), None)
                view.deployments.forget(name)
            case planning.Ask(pod):
                await self._ask(key, pod)
            case planning.Drain(pod):
                if not await self._drain(pod):
                    self._queue.add_after(key, _DRAIN_AGAIN_S)
            case planning.Replace(pod):
                await self._api.delete(api.PODS, key.namespace, pod.name)

    async def _ask(self, key: teams.Key, pod: model.Pod) -> None:
        """The handshake; what a pod lists is remembered for as long as it lives."""
        try:
            self._isolation.check(pod)
        except isolation.NotIsolated as exc:
            _keep(self._faults, pod.uid, conditions.Fault(isolation.REASON, str(exc)))
            self._queue.add_after(key, exc.again_s)
            return
        try:
            self._lists[pod.uid] = await self._instances.tools(pod, self._token(pod))
            self._faults.pop(pod.uid, None)
        except instances.NoAnswer as exc:
            _keep(self._faults, pod.uid, conditions.Fault("NoAnswer", conditions.shown(str(exc))))
            raise
        finally:
            self._meter.handshake(answered=pod.uid in self._lists)

    async def _drain(self, pod: model.Pod) -> bool:
        """Asks a pod to open no more episodes, and labels it if it agrees."""
        if pod.address is None or not await self._instances.drain(pod, self._token(pod)):
            return False
        change = {"metadata": {"labels": {names.DRAINED: "true"}, "annotations": _FIRST_REMOVED}}
        answer = await self._api.merge(api.PODS, pod.namespace, pod.name, change)
        self._views[pod.namespace].pods.learn(answer)
        return True

    async def _explain(self, key: teams.Key, view: teams.TeamView) -> bool:
        """Reads the end of the log of pods that crash, once for each; whether there was one."""
        read = False
        for pod in view.pods_of(key.name):
            if pod.trouble and "CrashLoopBackOff" in pod.trouble[0] and pod.uid not in self._last_words:
                text = await self._api.log(key.namespace, pod.name, lines=_LOG_LINES, most_bytes=_LOG_BYTES)
                _keep(self._last_words, pod.uid, conditions.shown(text))
                read = True
        return read

    async def _say(self, view: teams.TeamView, environment: model.Environment, status: model.Status) -> None:
        """Writes the status, unless it says so already."""
        self._meter.state(teams.Key(environment.namespace, environment.name), status.state)
        if not _is_news(environment.status, status):
            return
        answer = await self._api.put_status(
            api.ENVIRONMENTS, environment.namespace, environment.name, status.document()
        )
        view.environments.learn(answer)
        for listed in status.tool_lists:
            self._lists.pop(listed.pod, None)  # the status remembers it from now on
        for said in telling.events(environment.status, status):
            document = telling.document(environment, said, now=moments.now(), suffix=self._suffix())
            await self._event(environment.namespace, document)

    async def tell(self, pod: model.Pod, reason: str, message: str) -> None:
        """Says as an event of a pod's environment what nobody but the controller has seen."""
        environment = self._views[pod.namespace].environments.items.get(pod.environment)
        if environment is not None:
            said = telling.Said("Warning", reason, message)
            document = telling.document(environment, said, now=moments.now(), suffix=self._suffix())
            await self._event(pod.namespace, document)

    async def _event(self, namespace: str, document: dict[str, Any]) -> None:
        try:
            await self._api.create(api.EVENTS, namespace, document)
        except api.ApiError as exc:  # an event less changes nothing
            logger.warning("no event in %s: %s", namespace, exc)

    def _forget(self, key: teams.Key) -> None:
        self._rolling.discard(key)
        self._in_line.pop(key, None)
        self._without_room.pop(key, None)
        self._meter.state(key, None)
        self._next_in_line()


def _keep(memory: dict[str, _Words], uid: str, words: _Words) -> None:
    """Remembers what there is to say of a pod; of pods that are long gone, nothing."""
    memory[uid] = words
    if len(memory) > _MOST_KEPT:
        del memory[next(iter(memory))]


def _is_news(before: model.Status, after: model.Status) -> bool:
    """Whether a status has to be written; that a pod is gone can wait until there is more to say."""
    gone = set(before.tool_lists) >= set(after.tool_lists)
    return after != before and not (gone and dataclasses.replace(after, tool_lists=before.tool_lists) == before)


def _starts(plan: planning.Plan) -> bool:
    """Whether a revision is being started beside the one that serves."""
    return any(isinstance(each, planning.Apply) and each.revision != plan.status.serving for each in plan.actions)
